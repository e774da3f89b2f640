"""A predicted mask against the reference mask that a user brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from busi_unet.errors import UnreadableImageError
from busi_unet.imaging.scores import hd95, segmentation_scores
from busi_unet.io.decode import ImageSource
from busi_unet.io.masks import read_mask


@dataclass(frozen=True)
class Reference:
    """A mask to compare with.

    Attributes:
        mask: bool (H, W).
        remark: how an unusual mask was read, else empty.
    """

    mask: np.ndarray
    remark: str = ""


@dataclass(frozen=True)
class Agreement:
    """How well two masks agree; a score that is undefined is None, and `remark` says why.

    Attributes:
        dice, iou: from 0 to 1.
        hd95_px: 95th percentile Hausdorff distance; the image's diagonal where a lesion was missed.
        hd95_mm: the same in millimetres; None where the size of a pixel is unknown.
        predicted_area_px, reference_area_px: of the masks.
        remark: one sentence where a mask is empty, else empty.
    """

    dice: float | None
    iou: float | None
    hd95_px: float | None
    hd95_mm: float | None
    predicted_area_px: int
    reference_area_px: int
    remark: str

    def to_dict(self) -> dict[str, Any]:
        """Return the scores, JSON-ready."""
        return asdict(self)


def decode_reference(sources: Sequence[ImageSource], shape: tuple[int, int]) -> Reference:
    """Read the reference masks of an image, often one per lesion, and unite them.

    Args:
        sources: at least one.
        shape: (H, W) of the image.

    Raises:
        UnreadableImageError: a mask that cannot be read, or has another size than the image.
    """
    united, remarks = np.zeros(shape, dtype=bool), []
    for number, source in enumerate(sources, start=1):
        name = "The reference mask" if len(sources) == 1 else f"Reference mask {number}"
        if hasattr(source, "read"):
            source = source.read()
        read = read_mask(source, name=name)
        mask = read.pixels
        if mask.shape != tuple(shape):
            (height, width), (rows, columns) = shape, mask.shape
            raise UnreadableImageError(
                f"{name} is {columns} × {rows} pixels and the image {width} × {height}.",
                "Use a mask drawn on this image, of the same size.",
            )
        united |= mask
        if read.remark:
            remarks.append(f"{name} has {read.remark}.")
    return Reference(united, " ".join(remarks))


def compare_masks(
    predicted: np.ndarray, reference: np.ndarray, *, spacing_mm: tuple[float, float] | None = None
) -> Agreement:
    """Compare bool (H, W) masks of one size by Dice, IoU and HD95; empty masks as in `SegmentationScores`.

    Args:
        predicted: bool (H, W).
        reference: bool (H, W).
        spacing_mm: (between rows, between columns), or None.

    Raises:
        UsageError: the masks differ in size or are not boolean.
    """
    scores = segmentation_scores(predicted, reference)
    in_mm = None
    if spacing_mm is not None and scores.hd95_px is not None:
        height, width = predicted.shape
        in_mm = hd95(predicted, reference, spacing=spacing_mm)
        if in_mm is None:
            in_mm = float(np.hypot(height * spacing_mm[0], width * spacing_mm[1]))
    return Agreement(
        dice=scores.dice,
        iou=scores.iou,
        hd95_px=scores.hd95_px,
        hd95_mm=in_mm,
        predicted_area_px=scores.predicted_area_px,
        reference_area_px=scores.target_area_px,
        remark=_remark(scores.predicted_area_px, scores.target_area_px),
    )


def _remark(predicted: int, reference: int) -> str:
    if reference and not predicted:
        return "Nothing was outlined, but the reference has a lesion: HD95 is the image's diagonal."
    if predicted and not reference:
        return "The reference has no lesion, so Dice, IoU and HD95 are not defined; the outline is false."
    if not predicted:
        return "Both masks are empty: they agree, but Dice, IoU and HD95 are not defined."
    return ""
