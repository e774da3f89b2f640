"""`Predictor`: an image in, a `Prediction` out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from busi_unet.config import ModelConfig, Thresholds
from busi_unet.errors import HubAccessError, UsageError
from busi_unet.imaging.measure import measure_image
from busi_unet.inference.calibration import calibrated_probabilities, map_peak, prediction_set
from busi_unet.inference.prediction import Prediction, RawOutput
from busi_unet.inference.preprocess import Preprocessor, mask_from_probability
from busi_unet.inference.runtime import Runtime, load_runtime
from busi_unet.io.decode import DecodedImage, ImageSource, read_frames, read_image
from busi_unet.models.ood import OodDetector

EMBEDDED = Path(__file__).parents[1] / "weights"

OUT_OF_DISTRIBUTION = (
    "This image is unlike the breast ultrasound the model was trained on (out of distribution)."
)
BLANK = "This image is blank: it has no contrast."


class Predictor:
    """Weights and config, bound once; safe to share between threads.

    Args:
        runtime: runs the network.
        config: its preprocessing, thresholds and calibration are used.
        ood: detects images out of distribution; None refuses blank images alone.
        source: where the weights came from, for people to read.
        folder: the local model folder they were read from, if any.
    """

    def __init__(
        self,
        runtime: Runtime,
        config: ModelConfig,
        ood: OodDetector | None = None,
        *,
        source: str = "memory",
        folder: Path | None = None,
    ) -> None:
        self.runtime = runtime
        self.config = config
        self.ood = ood
        self.source = source
        self.folder = folder
        self._preprocess = Preprocessor(config.preprocess)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike | None = None,
        *,
        revision: str | None = None,
        device: str = "auto",
        runtime: str = "auto",
    ) -> Predictor:
        """Load a model.

        Args:
            source: a model folder, or a Hub id USER/NAME; None for the weights embedded in the package. Only
                a Hub id touches the network.
            revision: branch, tag or commit of a Hub model.
            device, runtime: as for `inference.runtime.load_runtime`.

        Raises:
            UsageError: `source` is neither a folder nor a Hub id, or the device cannot be used.
            HubAccessError: the Hub cannot be reached or refuses.
            IncompatibleModelError: the folder does not hold a model of this package, or a stale `model.onnx`.
            MissingDependencyError: PyTorch is needed and not installed.
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
                f"{source} is not a model folder.", "Name an existing folder, or a Hub id USER/NAME."
            )
        return cls(*load_runtime(folder, runtime, device), source=name, folder=folder)

    def predict(
        self,
        image: ImageSource | DecodedImage,
        *,
        spacing_mm: tuple[float, float] | None = None,
        anyway: bool = False,
    ) -> Prediction:
        """Segment and classify one image.

        An image that is blank or out of distribution is refused: it has no class, no probabilities and no
        mask, and `reasons` says why.

        Args:
            image: PIL image, array, path, encoded bytes or open file; see `io.decode.read_image`. Or what it
                returns.
            spacing_mm: size of a pixel (between rows, between columns), so that lesions are measured in
                millimetres too; by default what a DICOM file says of itself.
            anyway: analyse also an image that is refused; it stays `refused`.

        Raises:
            UnreadableImageError: not an image, or too small or large.
            UsageError: a spacing that is not two numbers from 0.001 to 10 mm.
        """
        return self.predict_batch([image], spacing_mm=spacing_mm, anyway=anyway)[0]

    def predict_batch(
        self,
        images: Iterable[ImageSource | DecodedImage],
        *,
        batch_size: int = 8,
        spacing_mm: tuple[float, float] | None = None,
        anyway: bool = False,
    ) -> list[Prediction]:
        """Predict many images of any sizes, `batch_size` at a time, in their order; see `predict`."""
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; it must be 1 or more.")
        images = list(images)
        predictions = []
        for start in range(0, len(images), batch_size):
            decoded = [
                image if isinstance(image, DecodedImage) else read_image(image)
                for image in images[start : start + batch_size]
            ]
            raw_outputs = self.run([image.pixels for image in decoded])
            for image, raw in zip(decoded, raw_outputs, strict=True):
                predictions.append(self.interpret(image, raw, spacing_mm=spacing_mm, anyway=anyway))
        return predictions

    def predict_clip(
        self,
        source: ImageSource,
        *,
        name: str | None = None,
        spacing_mm: tuple[float, float] | None = None,
        anyway: bool = False,
    ) -> Iterator[Prediction]:
        """Predict all frames of a DICOM clip, an animation or a TIFF, of which one at a time is in memory.

        Args:
            source, name: as for `io.decode.read_frames`.
            spacing_mm, anyway: as for `predict`.

        Yields:
            The predictions of frame 1 to the last; one that cannot be read is `refused`.
            `inference.clip.Clip` gathers what they show.

        Raises:
            UnreadableImageError: the first frame cannot be read.
            UsageError: more than 1,000 frames, or a spacing as for `predict`.
        """
        for index, frame in enumerate(read_frames(source, name=name)):
            if isinstance(frame, DecodedImage):
                last = self.predict(frame, spacing_mm=spacing_mm, anyway=anyway)
            else:
                nothing = DecodedImage(np.zeros_like(last.image), frames=last.frames, index=index)
                last = _refused(nothing, (str(frame),))
            yield last

    def run(self, images: Sequence[np.ndarray]) -> list[RawOutput]:
        """Return what the network says of images uint8 (H, W), all of them at once."""
        batch = np.stack([self._preprocess(image) for image in images])
        if not self.config.preprocess.mirror:
            return self.runtime.run(batch)
        # Each beside its mirror image.
        outputs = self.runtime.run(np.stack([batch, batch[..., ::-1]], axis=1).reshape(-1, *batch.shape[1:]))
        return [_mean_with_mirrored(*pair) for pair in zip(outputs[::2], outputs[1::2], strict=True)]

    def restore(self, raw: RawOutput, shape: tuple[int, int]) -> np.ndarray:
        """Return the lesion probability of a raw output at the size (H, W) of its image, float32."""
        return self._preprocess.restore(raw.probability, shape)

    def interpret(
        self,
        image: np.ndarray | DecodedImage,
        raw: RawOutput,
        *,
        spacing_mm: tuple[float, float] | None = None,
        thresholds: Thresholds | None = None,
        anyway: bool = False,
    ) -> Prediction:
        """Apply calibration, thresholds and measurements to a raw output, without running the network.

        Args:
            image: uint8 (H, W), or with what its file says.
            raw: what `run` gave for it.
            spacing_mm, anyway: as for `predict`.
            thresholds: others than those of the model; no boundary band is stated for other outlines.
        """
        decoded = image if isinstance(image, DecodedImage) else DecodedImage(image)
        image = decoded.pixels
        reasons = self._reasons_to_refuse(image, raw)
        if reasons and not anyway:
            return _refused(decoded, reasons)
        own_thresholds, calibration = self.config.thresholds, self.config.calibration
        thresholds = thresholds or own_thresholds
        coarse = self._preprocess.box(image.shape).crop(raw.probability)
        peak = map_peak(coarse)
        classes = calibrated_probabilities(raw.class_logits, peak, calibration.classes)
        names, sets = self.config.class_names, calibration.prediction_sets
        probabilities = dict(zip(names, classes.tolist(), strict=True))
        label = max(probabilities, key=probabilities.__getitem__)
        mask = mask_from_probability(coarse, 1 - probabilities["normal"], thresholds, image.shape)
        measurements, remarks = measure_image(mask, decoded, spacing_mm)
        own = names.index(label)
        others = np.delete(raw.class_activation_maps, own, axis=0)
        # Fitted to outlines at the model's own thresholds.
        outlined_as_fitted = replace(thresholds, malignant=own_thresholds.malignant) == own_thresholds
        return Prediction(
            image=image,
            mask=mask,
            coarse_probability=coarse,
            probabilities=probabilities,
            label=label,
            flagged=probabilities["malignant"] >= thresholds.malignant,
            refused=bool(reasons),
            reasons=reasons,
            measurements=measurements,
            coarse_activation_map=self._preprocess.crop_map(
                raw.class_activation_maps[own] - others.mean(axis=0), image.shape
            ),
            prediction_set=sets and tuple(names[index] for index in prediction_set(classes, sets.threshold)),
            coverage=sets and sets.coverage,
            boundary_band=calibration.boundary_band if outlined_as_fitted else None,
            calibrated=calibration.fitted,
            remarks=decoded.remarks + remarks,
            frame=decoded.index + 1,
            frames=decoded.frames,
        )

    def map_peak(self, raw: RawOutput, shape: tuple[int, int]) -> float:
        """Return the peak of a raw output's map (see `calibration.map_peak`), for an image of that shape."""
        return map_peak(self._preprocess.box(shape).crop(raw.probability))

    def _reasons_to_refuse(self, image: np.ndarray, raw: RawOutput) -> tuple[str, ...]:
        if int(image.max()) - int(image.min()) < 8:
            return (BLANK,)
        threshold = self.config.calibration.ood_threshold
        if self.ood is None or threshold is None or self.ood.distance(raw.features) <= threshold:
            return ()
        return (OUT_OF_DISTRIBUTION,)


def _refused(image: DecodedImage, reasons: tuple[str, ...]) -> Prediction:
    return Prediction(
        image=image.pixels,
        mask=np.zeros(image.pixels.shape, dtype=bool),
        coarse_probability=np.zeros((1, 1), dtype=np.float32),
        probabilities=None,
        label=None,
        refused=True,
        reasons=reasons,
        measurements=(),
        coarse_activation_map=np.zeros((1, 1), dtype=np.float32),
        remarks=image.remarks,
        frame=image.index + 1,
        frames=image.frames,
    )


def _mean_with_mirrored(raw: RawOutput, mirrored: RawOutput) -> RawOutput:
    return RawOutput(
        probability=(raw.probability + mirrored.probability[:, ::-1]) / 2,
        class_logits=(raw.class_logits + mirrored.class_logits) / 2,
        class_activation_maps=(raw.class_activation_maps + mirrored.class_activation_maps[:, :, ::-1]) / 2,
        features=(raw.features + mirrored.features) / 2,
    )


def _fetched(source: str, revision: str | None) -> Path:
    # Local models need no client of the Hub.
    from busi_unet.hub import fetch_model

    try:
        return fetch_model(source, revision=revision)
    except HubAccessError as error:
        # A path may have been meant.
        if Path(source).parent.is_dir():
            error.message = f"There is no folder {source}, and as a model of the Hub: {error.message}"
        raise
