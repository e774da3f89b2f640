from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from busi_unet.app.analysis import (
    MEASUREMENT_HEADERS,
    MEASUREMENT_WIDTHS,
    VIEWS,
    Look,
    draw,
    legend,
    measurement_rows,
)
from busi_unet.config import BoundaryBand
from busi_unet.errors import UsageError
from busi_unet.imaging.measure import measure_lesions
from busi_unet.inference.prediction import Prediction

FRAME = np.full((60, 100), 100, dtype=np.uint8)


@pytest.fixture
def prediction() -> Prediction:
    mask = np.zeros((60, 100), dtype=bool)
    mask[20:40, 30:70] = True
    return Prediction(
        image=np.full(mask.shape, 100, dtype=np.uint8),
        mask=mask,
        probability=np.where(mask, 0.9, 0.2).astype(np.float32),
        probabilities={"normal": 0.1, "benign": 0.7, "malignant": 0.2},
        label="benign",
        refused=False,
        reasons=(),
        measurements=measure_lesions(mask),
        coarse_activation_map=np.linspace(-1, 1, 4, dtype=np.float32).reshape(2, 2),
    )


def _changed(prediction: Prediction, **look: object) -> np.ndarray:
    """Where the drawing differs from the frame."""
    drawn = np.asarray(draw(FRAME, prediction, Look(**look))).astype(int)
    return (drawn != 100).any(axis=2)


def test_outline_and_tint_stay_within_the_mask(prediction: Prediction) -> None:
    both, line, tint = (_changed(prediction, view=view) for view in VIEWS[:3])

    assert not (both | line | tint)[~prediction.mask].any()
    assert both[prediction.mask].all() and tint[prediction.mask].all()
    assert not line[25:35, 40:60].any(), "an outline leaves the lesion itself to be seen"
    assert line.any()


@pytest.mark.parametrize("view", ["Uncertainty", "Lesion probability", "Class activation map"])
def test_maps_cover_the_image_and_have_a_legend(prediction: Prediction, view: str) -> None:
    assert _changed(prediction, view=view, opacity=0.5).mean() > 0.95
    assert "dark violet to yellow" in legend(prediction, view)


def test_the_edge_range_where_there_is_one_and_where_not(prediction: Prediction) -> None:
    assert (_changed(prediction, view="Edge range") == _changed(prediction, view="Outline and tint")).all()
    assert "No range" in legend(prediction, "Edge range")

    band = replace(prediction, boundary_band=BoundaryBand(coverage=0.9, inner=0.2, outer=0.5))
    changed = _changed(band, view="Edge range")
    assert changed[~prediction.mask & band.outer].all()
    assert not changed[~band.outer].any()
    assert "lies 90% of" in legend(band, "Edge range")


def test_diameters_are_drawn_when_asked_for(prediction: Prediction) -> None:
    plain, drawn = (_changed(prediction, view="Outline", diameters=shown) for shown in (False, True))

    assert drawn.sum() > plain.sum()


def test_a_look_that_does_not_exist(prediction: Prediction) -> None:
    with pytest.raises(UsageError, match="magenta"):
        draw(FRAME, prediction, Look(color="magenta"))
    with pytest.raises(UsageError, match="opacity"):
        draw(FRAME, prediction, Look(opacity=2))


def test_every_measurement_names_its_unit(prediction: Prediction) -> None:
    (row,) = measurement_rows(prediction.measurements)
    in_mm = measurement_rows(measure_lesions(prediction.mask, spacing_mm=(0.1, 0.2)))[0]

    assert len(row) == len(MEASUREMENT_HEADERS) == len(MEASUREMENT_WIDTHS)
    assert row[:2] == [1, "800 px"]
    assert row[4] == "40 × 20 px"
    assert row[5] == "no (0.50)"
    assert row[7] == "30, 20 – 70, 40 px"
    assert in_mm[1] == "16.0 mm²"
    assert in_mm[4] == "8.0 × 2.0 mm"
