"""The `config.json` of a model folder as frozen pydantic dataclasses with a strict round trip.

Nothing is dropped and nothing is guessed: another preprocessing or threshold would silently give other
predictions.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from busi_unet.errors import IncompatibleModelError

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
# Not needed where PyTorch is: the same network for ONNX Runtime, see `OnnxTwin`.
ONNX_NAME = "model.onnx"
# Not needed to use a model: the summary of busi-unet evaluate for its weights, which the app shows.
EVALUATION_NAME = "evaluation.json"
FORMAT_VERSION = 2
CLASS_NAMES = ("normal", "benign", "malignant")

Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Positive = Annotated[float, Field(gt=0)]
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=_STRICT)
class Architecture:
    """The network to build before its weights are loaded."""

    encoder: str = "efficientnet_lite0"  # a name in `models.encoders.ENCODERS`
    # Channels of the first level, for encoders that leave it free (64 in Ronneberger et al. 2015).
    width: Annotated[int, Field(ge=1, le=256)] | None = None


@dataclass(frozen=True, config=_STRICT)
class Preprocess:
    """How a grey image becomes network input."""

    size: Annotated[int, Field(ge=32, le=2048, multiple_of=32)] = 192  # side of the square input, pixels
    mirror: bool = True  # whether the answer is the mean of those to the image and to its mirror image
    mean: Probability = 127 / 255  # subtracted from grey values in [0, 1]
    std: Positive = 128 / 255  # divides what is left


@dataclass(frozen=True, config=_STRICT)
class Thresholds:
    """When a probability becomes a decision; the first three are chosen on validation images.

    Args:
        mask: lesion probability of a pixel at and above which it belongs to the mask.
        lesion: calibrated lesion probability of the image (1 - normal) below which the mask is empty.
        min_area: smallest share of the image that one connected lesion may cover. The default is a quarter of
            the smallest of 2,410 lesions that were annotated in BUSI, BUS-BRA and BrEaST (0.21 %): what is
            smaller is a speck.
        malignant: calibrated malignant probability at and above which an image is flagged, whatever the most
            probable class: low, because a missed cancer costs more than a second look. Not fitted.
    """

    mask: Probability = 0.5
    lesion: Probability = 0.5
    min_area: Probability = 0.0005
    malignant: Probability = 0.1


@dataclass(frozen=True, config=_STRICT)
class PredictionSets:
    """Sets of classes that hold the true one in a stated share of images; see `inference.calibration`."""

    coverage: Share  # that share
    threshold: Probability  # at and above which a class is in the set
    # By source, the share of its images covered when the sets are fitted to the other sources.
    elsewhere: dict[str, Probability] = field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class BoundaryBand:
    """A band around the outline with a stated share of the true boundary; see `inference.calibration`."""

    coverage: Share  # that share, on average over lesions
    inner: NotNegative  # reach inside of the outline, in radii of a circle of the lesion's area
    outer: NotNegative  # and outside


@dataclass(frozen=True, config=_STRICT)
class ClassCalibration:
    """Class probabilities from what the network says; see `inference.calibration`.

    The default leaves the network's own probabilities as they are.
    """

    # Weights of class head and mask, and bias, in the logit of the lesion probability.
    lesion_head: NotNegative = 1.0
    lesion_map: NotNegative = 0.0
    lesion_bias: float = 0.0
    # Weight and bias in the logit of malignant, given a lesion.
    malignant_head: NotNegative = 1.0
    malignant_bias: float = 0.0


@dataclass(frozen=True, config=_STRICT)
class Calibration:
    """What makes the outputs mean what they say; None where nothing is stated."""

    classes: ClassCalibration = field(default_factory=ClassCalibration)
    prediction_sets: PredictionSets | None = None
    boundary_band: BoundaryBand | None = None
    # Distance (`models.ood`) above which an image is refused as out of distribution.
    ood_threshold: Positive | None = None

    @property
    def fitted(self) -> bool:
        """Whether the class probabilities are calibrated."""
        return self.classes != ClassCalibration() or self.prediction_sets is not None


@dataclass(frozen=True, config=_STRICT)
class OnnxTwin:
    """What busi-unet export says of `model.onnx`, the network of `model.safetensors` for ONNX Runtime."""

    sha256: Sha256  # of `model.onnx`
    weights_sha256: Sha256  # of the `model.safetensors` that it was made from; beside another one it is stale
    difference: NotNegative  # the largest of a lesion probability or a class probability from PyTorch's
    images: Annotated[int, Field(ge=1)]  # on how many images


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """Everything needed to use a set of weights, and `training`: how they came about (free JSON).

    `onnx` is None where there is no `model.onnx`.
    """

    architecture: Architecture = field(default_factory=Architecture)
    preprocess: Preprocess = field(default_factory=Preprocess)
    thresholds: Thresholds = field(default_factory=Thresholds)
    calibration: Calibration = field(default_factory=Calibration)
    class_names: tuple[Literal["normal"], Literal["benign"], Literal["malignant"]] = CLASS_NAMES
    training: dict[str, Any] = field(default_factory=dict)
    onnx: OnnxTwin | None = None
    format_version: Literal[2] = FORMAT_VERSION

    def to_json(self) -> str:
        """Return the text of `config.json`; `from_json` gives back an equal config."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelConfig:
        """Read what `to_json` wrote.

        Raises:
            IncompatibleModelError: not JSON, unknown or missing key, wrong type, value out of range.
        """
        try:
            config = _ADAPTER.validate_json(text)
        except ValidationError as error:
            raise _explained(error) from error
        # Defaults are for code: a file without a key may mean another value than today's default.
        if missing := _missing_key(json.loads(text), dataclasses.asdict(config)):
            raise IncompatibleModelError(f"config.json lacks the key {missing}.", _COPY_AGAIN)
        return config


_ADAPTER = TypeAdapter(ModelConfig)
_COPY_AGAIN = "Copy it again, or ask whoever published it."


def _missing_key(found: dict[str, Any], full: dict[str, Any]) -> str | None:
    for key, value in full.items():
        if key not in found:
            return key
        if isinstance(value, dict) and key != "training" and (inner := _missing_key(found[key], value)):
            return f"{key}.{inner}"
    return None


def _explained(error: ValidationError) -> IncompatibleModelError:
    """Return the first of pydantic's complaints as one line; another format may explain all others."""
    complaints = error.errors(include_url=False)
    first = next((item for item in complaints if item["loc"] == ("format_version",)), complaints[0])
    name, kind = ".".join(map(str, first["loc"])), first["type"]
    if name == "format_version":
        return IncompatibleModelError(
            f"config.json has format_version {first['input']!r}; this package reads {FORMAT_VERSION}.",
            "Install the busi_unet version that the model was made with.",
        )
    if kind == "json_invalid":
        return IncompatibleModelError(f"config.json is not JSON ({first['msg'][:200]}).", _COPY_AGAIN)
    problem = f"{name}: {first['msg']}" if name else first["msg"]
    return IncompatibleModelError(f"config.json: {problem}.", _COPY_AGAIN)
