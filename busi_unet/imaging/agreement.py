"""One mask against its reference, at native resolution: Dice, IoU, Hausdorff distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from busi_unet.errors import UnreadableImageError, UsageError
from busi_unet.imaging.regions import bounding_box
from busi_unet.io.decode import ImageSource
from busi_unet.io.masks import Mask, read_mask

# By whether the predicted mask and the reference hold anything.
_REMARKS = {
    (True, True): "",
    (True, False): "The outline is false: the reference has no lesion. Dice, IoU and HD95 are not defined.",
    (False, True): "Nothing was outlined, but the reference has a lesion: HD95 is the image's diagonal.",
    (False, False): "Both masks are empty: they agree, but Dice, IoU and HD95 are not defined.",
}


@dataclass(frozen=True)
class Agreement:
    """How well a predicted mask agrees with its reference; None where a score is undefined.

    | reference | prediction | dice, iou | recall  | precision | hd95               |
    |-----------|------------|-----------|---------|-----------|--------------------|
    | lesion    | a mask     | counted   | counted | counted   | counted            |
    | lesion    | empty      | 0         | 0       | None      | the image diagonal |
    | empty     | a mask     | None      | None    | 0         | None               |
    | empty     | empty      | None      | None    | None      | None               |

    The diagonal sqrt(H² + W²) is longer than any distance inside the image, so missing a lesion can
    never improve the mean HD95. `hd95_mm` is None, too, where the size of a pixel is unknown. `remark` is a
    sentence where a mask is empty, else empty.
    """

    dice: float | None
    iou: float | None
    hd95_px: float | None
    hd95_mm: float | None
    precision: float | None
    recall: float | None
    predicted_area_px: int
    reference_area_px: int
    remark: str


def dice(prediction: np.ndarray, target: np.ndarray) -> float | None:
    """Return the Dice of two bool (H, W) masks of one size; None for an empty target."""
    if not target.any():
        return None
    overlap = int(np.count_nonzero(prediction & target))
    return 2 * overlap / (int(np.count_nonzero(prediction)) + int(np.count_nonzero(target)))


def compare_masks(
    predicted: np.ndarray, reference: np.ndarray, *, spacing_mm: tuple[float, float] | None = None
) -> Agreement:
    """Compare a predicted mask with its reference, both bool (H, W).

    Args:
        predicted, reference: of one size.
        spacing_mm: (between rows, between columns), where it is known.

    Raises:
        UsageError: the masks differ in size.
    """
    if predicted.shape != reference.shape:
        raise UsageError(
            f"The predicted mask is {predicted.shape}, the reference {reference.shape} (height, width).",
            "Score at the native size of the image: bring the prediction to the reference's size first.",
        )
    found, wanted = int(np.count_nonzero(predicted)), int(np.count_nonzero(reference))
    overlap = int(np.count_nonzero(predicted & reference))

    def distance(spacing: tuple[float, float]) -> float | None:
        if found or not wanted:
            return hd95(predicted, reference, spacing=spacing)
        return float(np.hypot(*np.multiply(reference.shape, spacing)))

    return Agreement(
        dice=dice(predicted, reference),
        iou=overlap / (found + wanted - overlap) if wanted else None,
        hd95_px=distance((1.0, 1.0)),
        hd95_mm=None if spacing_mm is None else distance(spacing_mm),
        precision=overlap / found if found else None,
        recall=overlap / wanted if wanted else None,
        predicted_area_px=found,
        reference_area_px=wanted,
        remark=_REMARKS[found > 0, wanted > 0],
    )


def hd95(
    prediction: np.ndarray, target: np.ndarray, *, spacing: tuple[float, float] = (1.0, 1.0)
) -> float | None:
    """Return the 95th percentile Hausdorff distance of two bool (H, W) masks; None if a mask is empty.

    The larger of the two directed 95th percentiles (linear interpolation) of the Euclidean distance
    from each surface pixel of one mask to the nearest surface pixel of the other: the robust
    Hausdorff distance of Huttenlocher et al. (IEEE TPAMI 15(9), 1993) as recommended in Metrics
    Reloaded (Maier-Hein et al., Nature Methods 21, 2024) and computed by MONAI. MedPy differs:
    it pools both directions before it takes the percentile, which gives lower values. A surface pixel
    is one with a 4-neighbour outside the mask; beyond the image border counts as outside.

    Args:
        prediction, target: of one size.
        spacing: (between rows, between columns); the distance comes in the same unit, by default pixels.
    """
    if not prediction.any() or not target.any():
        return None
    # Both surfaces lie in the box around the union, so distances within the box are exact.
    box = bounding_box(prediction | target)
    first, second = _surface(prediction[box]), _surface(target[box])
    to_second = ndimage.distance_transform_edt(~second, sampling=spacing)[first]
    to_first = ndimage.distance_transform_edt(~first, sampling=spacing)[second]
    return float(max(np.percentile(to_second, 95), np.percentile(to_first, 95)))


def decode_reference(sources: Sequence[ImageSource], shape: tuple[int, int]) -> Mask:
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
        mask = read_mask(source, name=name)
        if mask.pixels.shape != united.shape:
            (height, width), (rows, columns) = shape, mask.pixels.shape
            raise UnreadableImageError(
                f"{name} is {columns} × {rows} pixels and the image {width} × {height}.",
                "Use a mask drawn on this image, of the same size.",
            )
        united |= mask.pixels
        if mask.remark:
            remarks.append(f"{name} has {mask.remark}.")
    return Mask(united, " ".join(remarks))


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask)
