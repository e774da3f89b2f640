from dataclasses import replace

import numpy as np
import pytest
from fakes.predictions import make_prediction

from busi_unet.app import text
from busi_unet.app.analysis import Look, draw
from busi_unet.config import BoundaryBand
from busi_unet.inference.prediction import Prediction


@pytest.fixture
def prediction() -> Prediction:
    return make_prediction()


def _changed(prediction: Prediction, **look: object) -> np.ndarray:
    """Where the drawing differs from the image."""
    drawn = np.asarray(draw(prediction, Look(**look))).astype(int)
    return (drawn != 100).any(axis=2)


def test_outline_and_tint_stay_within_the_mask(prediction):
    both, line, tint = (_changed(prediction, view=view) for view in text.VIEWS[:3])

    assert not (both | line | tint)[~prediction.mask].any()
    assert both[prediction.mask].all() and tint[prediction.mask].all()
    assert not line[25:35, 40:60].any(), "an outline leaves the lesion itself to be seen"
    assert line.any()


@pytest.mark.parametrize("view", ["Uncertainty", "Lesion probability", "Class activation map"])
def test_maps_cover_the_image_and_have_a_legend(prediction, view):
    assert _changed(prediction, view=view, opacity=0.5).mean() > 0.95
    assert "dark violet to yellow" in text.describe_view(prediction, view)


def test_the_boundary_band_where_there_is_one_and_where_not(prediction):
    assert (_changed(prediction, view="Boundary band") == _changed(prediction, view="Outline and tint")).all()
    assert "No boundary band" in text.describe_view(prediction, "Boundary band")

    band = replace(prediction, boundary_band=BoundaryBand(coverage=0.9, inner=0.2, outer=0.5))
    changed = _changed(band, view="Boundary band")
    assert changed[~prediction.mask & band.outer].all()
    assert not changed[~band.outer].any()
    assert "90\u00a0%" in text.describe_view(band, "Boundary band")
