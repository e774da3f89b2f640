"""What the network says of an image, and what `Predictor.predict` makes of it."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from busi_unet.config import BoundaryBand
from busi_unet.imaging.measure import Lesion
from busi_unet.imaging.overlay import annotate_lesions, draw_banner, draw_overlay, side_by_side
from busi_unet.imaging.regions import mask_image
from busi_unet.inference.calibration import boundary_band
from busi_unet.inference.preprocess import resize_map


@dataclass(frozen=True)
class RawOutput:
    """What the network says of one image, before calibration and thresholds; small, whatever the image.

    Attributes:
        probability: float32 (S, S) in [0, 1], lesion probability at the network's resolution.
        class_logits: float32 (3,), in the order of `config.class_names`.
        class_activation_maps: float32 (3, s, s); their means over places are `class_logits`.
        features: float32 (D,), the encoder's channels averaged over the image.
    """

    probability: np.ndarray
    class_logits: np.ndarray
    class_activation_maps: np.ndarray
    features: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """What `Predictor.predict` returns; all arrays but the coarse ones have the size of the image.

    Attributes:
        image: uint8 (H, W), as it was analysed.
        mask: bool (H, W), the lesions; empty for a refused image.
        coarse_probability: float32 (h, w) in [0, 1], lesion probability at the network's resolution; 0 for a
            refused image.
        probabilities: of normal, benign and malignant; they sum to 1. None for a refused image.
        label: the most probable class; None for a refused image.
        refused: whether the image is out of distribution or blank; it stays True with `anyway`.
        reasons: why it was refused, one sentence each; empty when it was not.
        measurements: one entry per lesion of the mask, largest first.
        coarse_activation_map: float32 (h, w), class activation map of `label` less the mean of the others.
        prediction_set: the classes that cannot be excluded, most probable first; None for a refused image and
            where the weights are not calibrated for it.
        coverage: share of images whose class is in the set, as the weights state it.
        boundary_band: how far from the outline the true boundary is stated to lie, or None; see `inner`.
        flagged: whether the malignant probability reaches the model's threshold, whatever the label.
        calibrated: whether the probabilities were calibrated.
        remarks: how the file was read and measured, one sentence each; empty where that was as usual.
        frame: of a clip, from 1.
        frames: how many its file holds.
    """

    image: np.ndarray
    mask: np.ndarray
    coarse_probability: np.ndarray
    probabilities: dict[str, float] | None
    label: str | None
    refused: bool
    reasons: tuple[str, ...]
    measurements: tuple[Lesion, ...]
    coarse_activation_map: np.ndarray
    prediction_set: tuple[str, ...] | None = None
    coverage: float | None = None
    boundary_band: BoundaryBand | None = None
    flagged: bool = False
    calibrated: bool = False
    remarks: tuple[str, ...] = ()
    frame: int = 1
    frames: int = 1

    @property
    def inner(self) -> np.ndarray | None:
        """bool (H, W): the boundary is stated to lie between its outline and that of `outer`; or None."""
        return None if self._band is None else self._band[0]

    @property
    def outer(self) -> np.ndarray | None:
        """bool (H, W), or None; see `inner`."""
        return None if self._band is None else self._band[1]

    @functools.cached_property
    def probability(self) -> np.ndarray:
        """float32 (H, W) in [0, 1]: lesion probability per pixel; 0 for a refused image."""
        return resize_map(self.coarse_probability, self.mask.shape).clip(0, 1)

    @functools.cached_property
    def uncertainty(self) -> np.ndarray:
        """float32 (H, W) in [0, 1]: entropy of the lesion probability of each pixel, in bits."""
        p = np.clip(self.probability, 1e-7, 1 - 1e-7)
        return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))

    @functools.cached_property
    def class_activation_map(self) -> np.ndarray:
        """`coarse_activation_map` stretched to the image, float32 (H, W), in units of logits."""
        return resize_map(self.coarse_activation_map, self.mask.shape)

    @functools.cached_property
    def _band(self) -> tuple[np.ndarray, np.ndarray] | None:
        # Takes as long as the network, and few ask for it.
        band = self.boundary_band
        return band and boundary_band(self.mask, band.inner, band.outer)

    def overlay(self, *, beside: bool = False) -> Image.Image:
        """Return the image with lesions outlined and numbered, RGB of size (W, H).

        Args:
            beside: put the image itself to the left, so that the result is 2 W + 8 wide.
        """
        drawn = annotate_lesions(draw_overlay(self.image, self.mask), self.measurements)
        if self.refused:
            drawn = draw_banner(drawn, "Not analysed" if self.label is None else "Refused, analysed anyway")
        return side_by_side(self.image, drawn) if beside else drawn

    def save(self, folder: str | os.PathLike) -> Path:
        """Write `mask.png` (0 or 255, the image's size), `overlay.png` and `prediction.json` to a folder.

        It is created where missing, and returned. A refused image has no mask file.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if self.label is not None:
            mask_image(self.mask).save(folder / "mask.png")
        self.overlay(beside=True).save(folder / "overlay.png")
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
        (folder / "prediction.json").write_text(text, encoding="utf-8")
        return folder

    def to_dict(self) -> dict[str, Any]:
        """Return a summary without the arrays, JSON-ready; None is what a refused image does not tell."""
        height, width = self.mask.shape
        answered = self.label is not None
        return {
            "label": self.label,
            "flagged": self.flagged if answered else None,
            "probabilities": self.probabilities and dict(self.probabilities),
            "calibrated": self.calibrated,
            "prediction_set": self.prediction_set and list(self.prediction_set),
            "coverage": self.coverage,
            "refused": self.refused,
            "reasons": list(self.reasons),
            "remarks": list(self.remarks),
            "height": height,
            "width": width,
            "frame": self.frame,
            "frames": self.frames,
            "lesion_area_px": int(self.mask.sum()) if answered else None,
            "measurements": [lesion.to_dict() for lesion in self.measurements] if answered else None,
        }

    def __repr__(self) -> str:
        height, width = self.mask.shape
        count = len(self.measurements)
        parts = [f"{width}×{height}", f"{count} lesion{'' if count == 1 else 's'}"]
        if self.label is not None:
            parts.insert(0, f"{self.label} {self.probabilities[self.label]:.2f}")
        parts += ["flagged"] * self.flagged + ["refused"] * self.refused
        return f"<Prediction {', '.join(parts)}>"
