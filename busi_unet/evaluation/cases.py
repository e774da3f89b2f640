"""The worst cases of an evaluation, by kind, cancers first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from busi_unet.evaluation.measures import MISSED_DICE, Table
from busi_unet.imaging.overlay import draw_overlay
from busi_unet.io.decode import decode_image
from busi_unet.io.html import jpeg_uri
from busi_unet.io.masks import decode_mask

if TYPE_CHECKING:
    from datasets import Dataset

    from busi_unet.evaluation.summary import ImageResult

    # A row and its pixels, uint8 (H, W), to the predicted mask, bool (H, W).
    MaskOf = Callable[[ImageResult, np.ndarray], np.ndarray]

SHOWN = 6
_SIDE = 420


@dataclass(frozen=True)
class Case:
    """One image as the report shows it: `image` is a data URI."""

    name: str
    caption: str
    image: str


@dataclass(frozen=True)
class Kind:
    """Cases of one kind: how many there are, and the worst of them."""

    title: str
    count: int
    shown: list[Case]


def rank_cases(rows: Sequence[ImageResult]) -> dict[str, list[int]]:
    """Return row indices by kind of failure, worst first; an image is listed under the first that fits."""
    table = Table(rows)
    dice, area = table.column("dice"), table.column("predicted_area_px")
    missed, malignant = table.column("missed") == 1, table.among("malignant")
    kinds = {
        f"Missed malignant lesions (Dice < {MISSED_DICE})": (malignant & missed, dice),
        "Malignant images not flagged": (
            malignant & (table.column("flagged") == 0),
            table.column("malignancy"),
        ),
        f"Missed lesions, others (Dice < {MISSED_DICE})": (table.among("lesion") & missed, dice),
        "Normal images with a mask": (table.among("no lesion") & (table.column("outlined") == 1), -area),
        "Lesions with the lowest Dice": (table.among("lesion") & (dice < 0.7), dice),
    }
    listed: set[int] = set()
    ranked = {}
    for title, (fits, order) in kinds.items():
        own = [int(index) for index in np.flatnonzero(fits) if index not in listed]
        ranked[title] = sorted(own, key=lambda index: (order[index], rows[index].image_id))
        listed.update(own)
    return {title: indices for title, indices in ranked.items() if indices}


def show_cases(rows: Sequence[ImageResult], split: Dataset, mask_of: MaskOf) -> list[Kind]:
    """Return the worst cases with images.

    Args:
        rows: one per image.
        split: their images, in the same order.
        mask_of: predicts a mask again: that of a few cases costs less than keeping all.
    """

    def case(index: int) -> Case:
        row, item = rows[index], split[index]
        pixels = decode_image(item["image"])
        drawn = draw_overlay(pixels, mask_of(row, pixels), color="orange", opacity=0.0)
        if item["mask"] is not None:
            drawn = draw_overlay(np.asarray(drawn), decode_mask(item["mask"]), color="sky blue", opacity=0.0)
        drawn.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        return Case(row.image_id, _caption(row), jpeg_uri(drawn))

    return [
        Kind(title, len(indices), [case(index) for index in indices[:SHOWN]])
        for title, indices in rank_cases(rows).items()
    ]


def _caption(row: ImageResult) -> str:
    dice = row.scores.get("dice")
    parts = [row.label or "class unknown", *([] if dice is None else [f"Dice {dice:.2f}"])]
    parts += [f"{name} {chance:.2f}" for name, chance in (row.probabilities or {}).items()]
    return ", ".join([*parts, *(["refused"] if row.refused else [])])
