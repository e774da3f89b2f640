"""`Predictor`: a picture in, a `Prediction` out."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from busi_unet.config import BoundaryBand, ModelConfig, Thresholds
from busi_unet.errors import HubAccessError, UsageError
from busi_unet.hub import fetch_model
from busi_unet.imaging.measure import Lesion, measure_lesions
from busi_unet.inference.calibration import calibrated_probabilities, map_peak
from busi_unet.inference.conformal import boundary_band, prediction_set
from busi_unet.inference.postprocess import mask_from_probability
from busi_unet.inference.preprocess import Preprocessor, resize_map
from busi_unet.io.decode import ImageSource, read_image
from busi_unet.models.ood import OodDetector
from busi_unet.models.pretrained import load_model
from busi_unet.models.unet import UNet

EMBEDDED = Path(__file__).parents[1] / "weights"


@dataclass(frozen=True)
class RawOutput:
    """What the network says of one frame, before calibration and thresholds; small, whatever the frame.

    Attributes:
        probability: float32 (S, S) in [0, 1], lesion probability at the network's resolution.
        class_logits: float32 (3,), in the order of `config.class_names`.
        class_activation_maps: float32 (3, s, s), their means over places are `class_logits`.
        features: float32 (D,), what the encoder makes of the picture, averaged over it.
    """

    probability: np.ndarray
    class_logits: np.ndarray
    class_activation_maps: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class Prediction:
    """What `Predictor.predict` returns; all arrays have the size of the input picture.

    Attributes:
        mask: bool (H, W), the lesions.
        probability: float32 (H, W) in [0, 1], lesion probability per pixel.
        probabilities: of normal, benign and malignant; they sum to 1.
        label: the most probable class.
        refused: whether the picture should not be trusted to this network.
        reasons: why it was refused, one sentence each; empty when it was not.
        measurements: one entry per lesion of the mask, largest first.
        coarse_activation_map: float32 (h, w), that of `label` less the mean of the others; see
            `class_activation_map`.
        prediction_set: the classes that cannot be excluded, most probable first; None where the weights are
            not calibrated for it.
        coverage: share of pictures whose class is in the set, as the weights state it.
        boundary_band: how far from the outline the true boundary is stated to lie, or None; see `inner`.
        flagged: whether the probability of malignant reaches the model's operating point, whatever the
            label.
        calibrated: whether the probabilities were fitted to mean what they say.
    """

    mask: np.ndarray
    probability: np.ndarray
    probabilities: dict[str, float]
    label: str
    refused: bool
    reasons: tuple[str, ...]
    measurements: tuple[Lesion, ...]
    coarse_activation_map: np.ndarray
    prediction_set: tuple[str, ...] | None = None
    coverage: float | None = None
    boundary_band: BoundaryBand | None = None
    flagged: bool = False
    calibrated: bool = False

    @property
    def inner(self) -> np.ndarray | None:
        """bool (H, W), of the outline further in: between it and `outer` lies the edge, or None."""
        return None if self._band is None else self._band[0]

    @property
    def outer(self) -> np.ndarray | None:
        """bool (H, W), of the outline further out, or None."""
        return None if self._band is None else self._band[1]

    @property
    def uncertainty(self) -> np.ndarray:
        """float32 (H, W) in [0, 1]: entropy of the lesion probability of each pixel, in bits."""
        p = np.clip(self.probability, 1e-7, 1 - 1e-7)
        return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))

    @property
    def class_activation_map(self) -> np.ndarray:
        """`coarse_activation_map` stretched to the image, float32 (H, W), in units of logits."""
        return resize_map(self.coarse_activation_map, self.mask.shape)

    @functools.cached_property
    def _band(self) -> tuple[np.ndarray, np.ndarray] | None:
        # Takes as long as the network, and few ask for it.
        return self.boundary_band and boundary_band(
            self.mask, self.boundary_band.inner, self.boundary_band.outer
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready summary without the arrays."""
        height, width = self.mask.shape
        return {
            "label": self.label,
            "flagged": self.flagged,
            "probabilities": self.probabilities and dict(self.probabilities),
            "calibrated": self.calibrated,
            "prediction_set": self.prediction_set and list(self.prediction_set),
            "coverage": self.coverage,
            "refused": self.refused,
            "reasons": list(self.reasons),
            "height": height,
            "width": width,
            "lesion_area_px": int(self.mask.sum()),
            "measurements": [lesion.to_dict() for lesion in self.measurements],
        }


class Predictor:
    """Weights, config and device, bound once; safe to share between threads.

    Args:
        model: in evaluation mode.
        config: its preprocessing, thresholds and calibration are used.
        ood: detects images out of distribution; None refuses blank images alone.
        device: a torch device; "auto" takes CUDA, else MPS, else the CPU.
        source: where the weights came from, for people to read.
        folder: the local model folder they were read from, if any.
    """

    def __init__(
        self,
        model: UNet,
        config: ModelConfig,
        ood: OodDetector | None = None,
        *,
        device: str = "auto",
        source: str = "memory",
        folder: Path | None = None,
    ) -> None:
        self.device = _choose_device(device)
        # A fifth faster on CPUs, and made for tensor cores; MPS has had wrong results with it.
        self._layout = torch.contiguous_format if self.device.type == "mps" else torch.channels_last
        self.model = model.to(self.device, memory_format=self._layout).eval()
        self.config = config
        self.ood = ood
        self.source = source
        self.folder = folder
        self._preprocess = Preprocessor(config.preprocess)

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike | None = None, *, revision: str | None = None, device: str = "auto"
    ) -> Predictor:
        """Loads a model.

        Args:
            source: a model folder, or a Hub id USER/NAME; None for the weights embedded in the
                package. A folder and the embedded weights never touch the network.
            revision: branch, tag or commit of a Hub model.
            device: as for the constructor.

        Raises:
            UsageError: `source` is neither a folder nor a Hub id.
            HubAccessError: the Hub refuses or cannot be reached.
            IncompatibleModelError: the folder does not hold a model of this package.
        """
        if revision is not None and (source is None or Path(source).is_dir()):
            raise UsageError("A revision belongs to a Hub model; a local one has none.", "Leave it out.")
        if source is None:
            folder, name = EMBEDDED, "embedded"
        elif Path(source).is_dir():
            folder, name = Path(source), str(source)
        elif isinstance(source, str) and source.count("/") == 1 and not source.startswith((".", "/", "~")):
            folder, name = _fetched(source, revision), f"{source}@{revision}" if revision else source
        else:
            raise UsageError(
                f"{source} is no model folder.", "Name an existing folder, or a Hub id USER/NAME."
            )
        model, config, ood = load_model(folder)
        return cls(model, config, ood, device=device, source=name, folder=folder)

    def predict(
        self,
        image: ImageSource,
        *,
        spacing_mm: tuple[float, float] | None = None,
        anyway: bool = False,
    ) -> Prediction:
        """Segments and classifies one picture.

        Args:
            image: PIL image, array, path, encoded bytes or open file; see `decode_image`.
            spacing_mm: size of a pixel (between rows, between columns), so that lesions are measured in
                millimetres too; by default what a DICOM file says of itself.
            anyway: outline lesions also in a picture that is refused; it stays `refused`.

        Raises:
            UnreadableImageError: not a picture, or too small or large.
            UsageError: a spacing that is not two positive numbers.
        """
        return self.predict_batch([image], spacing_mm=spacing_mm, anyway=anyway)[0]

    def predict_batch(
        self,
        images: Iterable[ImageSource],
        *,
        batch_size: int = 8,
        spacing_mm: tuple[float, float] | None = None,
        anyway: bool = False,
    ) -> list[Prediction]:
        """`predict` for many pictures of any sizes, `batch_size` at a time, in their order."""
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; it must be 1 or more.")
        images = list(images)
        predictions = []
        for start in range(0, len(images), batch_size):
            frames = [read_image(image) for image in images[start : start + batch_size]]
            predictions += [
                self.interpret(
                    frame.pixels,
                    raw,
                    spacing_mm=frame.spacing_mm if spacing_mm is None else spacing_mm,
                    anyway=anyway,
                )
                for frame, raw in zip(frames, self.run([frame.pixels for frame in frames]), strict=True)
            ]
        return predictions

    def run(self, frames: Sequence[np.ndarray]) -> list[RawOutput]:
        """Run the network on images uint8 (H, W), all of them at once, and on their mirror images."""
        batch = torch.from_numpy(np.stack([self._preprocess(frame) for frame in frames]))
        batch = batch.to(self.device, memory_format=self._layout)
        with torch.inference_mode():
            output, activation, features = self.model.explain(batch)
            maps = output.mask_logits.sigmoid()[:, 0]
            parts = [maps, output.class_logits, activation, features]
            if self.config.preprocess.mirror:
                output, activation, features = self.model.explain(batch.flip(-1))
                maps = output.mask_logits.sigmoid()[:, 0]
                mirrored = (maps.flip(-1), output.class_logits, activation.flip(-1), features)
                parts = [(one + other) / 2 for one, other in zip(parts, mirrored, strict=True)]
            arrays = [part.float().cpu().numpy() for part in parts]
        return [RawOutput(*of_one) for of_one in zip(*arrays, strict=True)]

    def restore(self, raw: RawOutput, shape: tuple[int, int]) -> np.ndarray:
        """The lesion probability of a raw output at the size (H, W) of its frame, float32."""
        return self._preprocess.restore(raw.probability, shape)

    def interpret(
        self,
        frame: np.ndarray,
        raw: RawOutput,
        *,
        spacing_mm: tuple[float, float] | None = None,
        thresholds: Thresholds | None = None,
        anyway: bool = False,
    ) -> Prediction:
        """Calibration, thresholds and measurements for a raw output; the network is not asked again.

        Args:
            frame: uint8 (H, W).
            raw: what `run` gave for it.
            spacing_mm, anyway: as for `predict`.
            thresholds: others than those of the model; no range of the edge is stated for other outlines.
        """
        own_thresholds = self.config.thresholds
        thresholds = thresholds or own_thresholds
        probability = self.restore(raw, frame.shape)
        classes = self.class_probabilities(raw, frame.shape)
        probabilities = dict(zip(self.config.class_names, classes.tolist(), strict=True))
        reasons = self._reasons_to_refuse(frame, raw)
        label = max(probabilities, key=probabilities.__getitem__)
        if reasons and not anyway:
            mask = np.zeros(frame.shape, dtype=bool)
        else:
            mask = mask_from_probability(probability, 1 - probabilities["normal"], thresholds)
        sets, names = self.config.calibration.prediction_sets, self.config.class_names
        own = names.index(label)
        others = np.delete(raw.class_activation_maps, own, axis=0)
        return Prediction(
            mask=mask,
            probability=probability,
            probabilities=probabilities,
            label=label,
            flagged=probabilities["malignant"] >= thresholds.malignant,
            refused=bool(reasons),
            reasons=reasons,
            measurements=measure_lesions(mask, frame, spacing_mm=spacing_mm),
            coarse_activation_map=self._preprocess.crop_map(
                raw.class_activation_maps[own] - others.mean(axis=0), frame.shape
            ),
            prediction_set=sets and tuple(names[index] for index in prediction_set(classes, sets.threshold)),
            coverage=sets and sets.coverage,
            # Fitted to outlines at the model's own thresholds.
            boundary_band=self.config.calibration.boundary_band
            if replace(thresholds, malignant=own_thresholds.malignant) == own_thresholds
            else None,
            calibrated=self.config.calibration.fitted,
        )

    def class_probabilities(self, raw: RawOutput, shape: tuple[int, int]) -> np.ndarray:
        """Return the calibrated probabilities (3,) of a raw output, for an image of that shape."""
        peak = self.map_peak(raw, shape)
        return calibrated_probabilities(raw.class_logits, peak, self.config.calibration.classes)

    def map_peak(self, raw: RawOutput, shape: tuple[int, int]) -> float:
        """Return how sure the surest spot of a raw output is, for an image of that shape."""
        return map_peak(self._preprocess.box(shape).crop(raw.probability))

    def _reasons_to_refuse(self, frame: np.ndarray, raw: RawOutput) -> tuple[str, ...]:
        if int(frame.max()) - int(frame.min()) < 8:
            return ("The picture is blank: it has no contrast.",)
        limit = self.config.calibration.ood_threshold
        if self.ood is None or limit is None or self.ood.distance(raw.features) <= limit:
            return ()
        return (
            "This does not look like a breast ultrasound picture: it is too unlike all that were learned.",
        )


def _fetched(source: str, revision: str | None) -> Path:
    """The folder of a model of the Hub; where it may have been meant as a path, the error says so."""
    try:
        return fetch_model(source, revision=revision)
    except HubAccessError as error:
        if Path(source).parent.is_dir():
            error.message = f"There is no folder {source}, and as a model of the Hub: {error.message}"
        raise


def _choose_device(device: str) -> torch.device:
    if device != "auto":
        try:
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            raise UsageError(
                f"The device {device!r} cannot be used on this machine.", "Leave it at auto, or use cpu."
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
