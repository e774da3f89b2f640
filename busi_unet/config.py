"""What a model folder's `config.json` says, as frozen dataclasses with a strict round trip.

Strict means: an unknown key, a missing key, a wrong type or a value out of range is an
`IncompatibleModelError` that names it. Nothing is dropped and nothing is guessed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from math import inf
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from busi_unet.errors import IncompatibleModelError

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
# Not needed to use a model: the summary of busi-unet evaluate for its weights, which the app shows.
EVALUATION_NAME = "evaluation.json"
FORMAT_VERSION = 2
CLASS_NAMES = ("normal", "benign", "malignant")
ENCODERS = ("plain", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


@dataclass(frozen=True)
class Architecture:
    """The network to build before its weights are loaded.

    Args:
        encoder: one of `ENCODERS`.
        width: channels of the first level of the plain encoder (64 in Ronneberger et al. 2015);
            None for the other encoders, whose widths are part of their name.
    """

    encoder: str = "efficientnet_lite0"
    width: int | None = None

    def __post_init__(self) -> None:
        _require(
            self.encoder in ENCODERS, "architecture.encoder", self.encoder, f"one of {', '.join(ENCODERS)}"
        )
        if self.encoder == "plain":
            _require(
                self.width is not None and 1 <= self.width <= 256,
                "architecture.width",
                self.width,
                "from 1 to 256",
            )
        else:
            _require(self.width is None, "architecture.width", self.width, "null for this encoder")


@dataclass(frozen=True)
class Preprocess:
    """How a grey frame becomes network input.

    Args:
        size: side S of the square network input, pixels; a multiple of 32.
        fit: "letterbox" keeps the aspect ratio and fills up with black; "stretch" does not.
        mirror: whether the network sees the mirror image too, and its two answers are averaged.
        mean: subtracted from grey values in [0, 1].
        std: divides what is left.
    """

    size: int = 192
    fit: str = "letterbox"
    mirror: bool = True
    mean: float = 127 / 255
    std: float = 128 / 255

    def __post_init__(self) -> None:
        _require(
            32 <= self.size <= 2048 and self.size % 32 == 0,
            "preprocess.size",
            self.size,
            "a multiple of 32, at most 2048",
        )
        _require(self.fit in ("letterbox", "stretch"), "preprocess.fit", self.fit, '"letterbox" or "stretch"')
        _require(0 <= self.mean <= 1, "preprocess.mean", self.mean, "from 0 to 1")
        _require(0 < self.std < inf, "preprocess.std", self.std, "above 0")


@dataclass(frozen=True)
class Thresholds:
    """When a probability becomes a decision; the first three are chosen on the validation fold.

    Args:
        mask: lesion probability of a pixel at and above which it belongs to the mask.
        lesion: calibrated probability of any lesion (1 - normal) below which the mask is empty.
        min_area: smallest share of the picture that one connected lesion may cover.
        malignant: calibrated probability of malignant at and above which malignancy is suspected, whatever
            the likeliest class: low, because a cancer missed costs more than a look too many. Not fitted.
    """

    mask: float = 0.5
    lesion: float = 0.5
    min_area: float = 0.0
    malignant: float = 0.1

    def __post_init__(self) -> None:
        for name in ("mask", "lesion", "min_area", "malignant"):
            _require(0 <= getattr(self, name) <= 1, f"thresholds.{name}", getattr(self, name), "from 0 to 1")


@dataclass(frozen=True)
class PredictionSets:
    """Sets of classes that hold the true one in a stated share of pictures; see `trust.conformal`.

    Args:
        coverage: that share.
        threshold: probability at and above which a class is in the set.
    """

    coverage: float
    threshold: float

    def __post_init__(self) -> None:
        _require(0 < self.coverage < 1, "prediction_sets.coverage", self.coverage, "between 0 and 1")
        _require(0 <= self.threshold <= 1, "prediction_sets.threshold", self.threshold, "from 0 to 1")


@dataclass(frozen=True)
class BoundaryBand:
    """Between which lines a stated share of a lesion's edge lies on average; see `trust.conformal`.

    Args:
        coverage: that share.
        inner, outer: how far inside and outside of the outline, in radii of a circle of the lesion's area.
    """

    coverage: float
    inner: float
    outer: float

    def __post_init__(self) -> None:
        _require(0 < self.coverage < 1, "boundary_band.coverage", self.coverage, "between 0 and 1")
        for name in ("inner", "outer"):
            _require(
                0 <= getattr(self, name) < inf, f"boundary_band.{name}", getattr(self, name), "0 or more"
            )


@dataclass(frozen=True)
class ClassCalibration:
    """Class probabilities from what the network says; see `inference.calibration`.

    The default leaves the network's own probabilities as they are.

    Args:
        lesion_head, lesion_map, lesion_bias: weights of class head and mask, and bias, in the logit of the
            lesion probability.
        malignant_head, malignant_bias: weight and bias in the logit of malignant, given a lesion.
    """

    lesion_head: float = 1.0
    lesion_map: float = 0.0
    lesion_bias: float = 0.0
    malignant_head: float = 1.0
    malignant_bias: float = 0.0

    def __post_init__(self) -> None:
        for name in ("lesion_head", "lesion_map", "malignant_head"):
            value = getattr(self, name)
            _require(0 <= value < inf, f"calibration.classes.{name}", value, "0 or more")
        for name in ("lesion_bias", "malignant_bias"):
            value = getattr(self, name)
            _require(-inf < value < inf, f"calibration.classes.{name}", value, "a finite number")


@dataclass(frozen=True)
class Calibration:
    """What makes the outputs mean what they say; fitted on the validation fold, but for `ood_threshold`.

    Args:
        classes: of the class probabilities.
        prediction_sets, boundary_band: None where nothing is stated.
        ood_threshold: distance from the usual (`models.ood`) beyond which a picture is refused; None where
            the weights come without a guard.
    """

    classes: ClassCalibration = field(default_factory=ClassCalibration)
    prediction_sets: PredictionSets | None = None
    boundary_band: BoundaryBand | None = None
    ood_threshold: float | None = None

    def __post_init__(self) -> None:
        _require(
            self.ood_threshold is None or 0 < self.ood_threshold < inf,
            "calibration.ood_threshold",
            self.ood_threshold,
            "above 0",
        )

    @property
    def fitted(self) -> bool:
        """Whether the class probabilities were fitted to mean what they say, or are as they came."""
        return self.classes != ClassCalibration() or self.prediction_sets is not None


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to use a set of weights, and `training`: how they came about (free JSON)."""

    architecture: Architecture = field(default_factory=Architecture)
    preprocess: Preprocess = field(default_factory=Preprocess)
    thresholds: Thresholds = field(default_factory=Thresholds)
    calibration: Calibration = field(default_factory=Calibration)
    class_names: tuple[str, ...] = CLASS_NAMES
    training: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise IncompatibleModelError(
                f"config.json has format_version {self.format_version!r}; this package reads 1 to "
                f"{FORMAT_VERSION}.",
                "Install the busi_unet version that the model was made with, or newer.",
            )
        _require(self.class_names == CLASS_NAMES, "class_names", self.class_names, f"{list(CLASS_NAMES)}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` gives back an equal config."""
        return {**dataclasses.asdict(self), "class_names": list(self.class_names)}

    @classmethod
    def from_dict(cls, data: Any) -> ModelConfig:
        """Reads what `to_dict` wrote, now or in format 1, which had neither sets nor an edge
        band nor a guard.

        Raises:
            IncompatibleModelError: unknown or missing key, wrong type, value out of range.
        """
        if isinstance(data, dict):
            version = data.get("format_version", FORMAT_VERSION)
            if version == 1:
                data = _from_format_1(data)
            elif version != FORMAT_VERSION:
                # A newer format may have other keys: say so before complaining about those.
                cls(format_version=version)
        return _read(cls, data, "")


def _require(holds: bool, name: str, value: Any, expected: str) -> None:
    if not holds:
        raise IncompatibleModelError(f"config.json: {name} is {value!r}; expected {expected}.")


def _from_format_1(data: dict[str, Any]) -> dict[str, Any]:
    """The same in the current format, with the defaults of what was added."""
    data = {**data, "format_version": FORMAT_VERSION}
    for block, added in (
        ("calibration", {"prediction_sets": None, "boundary_band": None, "ood_threshold": None}),
        ("thresholds", {"malignant": Thresholds.malignant}),
    ):
        if isinstance(data.get(block), dict):
            early = sorted(added.keys() & data[block].keys())
            _require(not early, "format_version", 1, f"{FORMAT_VERSION} with {block}.{', '.join(early)}")
            data[block] = {**data[block], **added}
    return data


def _read(cls: type, data: Any, prefix: str) -> Any:
    _require(isinstance(data, dict), prefix.rstrip(".") or "the top level", data, "an object")
    names = {item.name for item in dataclasses.fields(cls)}
    for found, wording in (
        (names - data.keys(), "misses the key"),
        (data.keys() - names, "has the unknown key"),
    ):
        if found:
            listed = ", ".join(prefix + name for name in sorted(found))
            raise IncompatibleModelError(
                f"config.json {wording} {listed}.",
                "Use it as busi-unet train wrote it: copy it again, or ask whoever published it.",
            )
    hints = get_type_hints(cls)
    return cls(**{name: _value(hints[name], data[name], prefix + name) for name in names})


def _value(hint: Any, value: Any, name: str) -> Any:
    if get_origin(hint) in (Union, UnionType):
        if value is None:
            return None
        hint = next(option for option in get_args(hint) if option is not type(None))
    if dataclasses.is_dataclass(hint):
        return _read(hint, value, f"{name}.")
    kind = get_origin(hint) or hint
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
    _require(fits, name, value, f"a {kind.__name__}")
    return value
