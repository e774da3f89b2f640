"""The options of a training run: each is named once, with its type, default, help and range."""

from __future__ import annotations

import argparse
import typing
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from busi_unet.config import Preprocess
from busi_unet.errors import UsageError
from busi_unet.models.encoders import ENCODERS

QUICK = {"size": 128, "epochs": 12}
"""What --quick sets unless it is given: a first model in minutes, not hours (docs/training.md)."""


def _option(default: Any, text: str, *, free: bool = False, **limits: Any) -> Any:
    """Return a field with its help; one that is free may have another value when a run is resumed."""
    return Field(default, description=text, json_schema_extra={"free": free}, **limits)


class TrainOptions(BaseModel):
    """What a training run is told; `busi-unet train --help` lists the same.

    Raises:
        UsageError: a value is out of range, or two do not fit together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: Path = _option(Path("data/busi"), "prepared data set", free=True)
    fold: int | None = _option(
        None,
        "fold to keep for testing, with the next one for validation; default: as prepared",
        free=True,
    )
    leave_out: str | None = _option(
        None, "source (hospital) to keep for testing as a whole; the others are trained on", free=True
    )
    no_validation: bool = _option(
        False,
        "train on the validation images too, for a fixed number of epochs: the last epoch becomes the model, "
        "to be calibrated afterwards",
    )
    output: Path = _option(
        Path("runs/busi"), "run folder: checkpoints, curves, manifest and the model", free=True
    )
    resume: bool = _option(False, "continue from the last checkpoint in the run folder", free=True)

    encoder: Literal[tuple(ENCODERS)] = _option("efficientnet_lite0", "encoder of the U-Net")
    width: int = _option(64, "channels of the first level, plain encoder only", ge=1, le=256)
    init: str = _option("imagenet", "start weights: imagenet (encoder only), random, or a model folder")
    size: int = _option(
        192, "side of the square network input, pixels; a multiple of 32", ge=32, le=2048, multiple_of=32
    )

    epochs: int = _option(10, "epochs; each draws as many images as the training split holds", ge=1)
    batch_size: int = _option(
        16, "images per optimizer step, over all processes and accumulation steps", ge=1
    )
    accumulate: int = _option(1, "forward passes per optimizer step", ge=1, free=True)
    learning_rate: float = _option(1.5e-3, "peak learning rate of AdamW", gt=0)
    weight_decay: float = _option(0.02, "of AdamW, on convolution and linear weights", ge=0)
    warmup: float = _option(1.0, "epochs until the peak learning rate; a cosine to 0 follows", ge=0)
    ema_decay: float = _option(
        0.99, "per step, of the weight average that is validated and saved; less at the start", ge=0, lt=1
    )
    class_weight: float = _option(0.5, "weight of the classification loss; the mask loss has 1", ge=0)
    label_smoothing: float = _option(0.05, "of the classification loss", ge=0, lt=1)
    # Not from `data.augment`, which takes seconds to import: --help answers at once.
    augment: Literal["none", "full"] = _option("full", "random changes of the training images")
    patience: int = _option(12, "epochs without a better validation score before stopping", ge=1)

    checkpoint_minutes: float = _option(
        10.0, "time between checkpoints within an epoch; each epoch ends with one anyway", ge=0, free=True
    )
    precision: Literal["fp32", "bf16", "fp16"] = _option("fp32", "mixed precision of the forward pass")
    workers: int = _option(0, "processes that augment images during training", ge=0, free=True)
    seed: int = _option(0, "random seed", ge=0, lt=2**31)
    tracker: Literal["none", "tensorboard", "trackio"] = _option(
        "none", "where to log, as well as in the run folder", free=True
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            expected = first["msg"].replace("Input should be", "it must be")
            raise UsageError(f"{_flag(str(first['loc'][0]))} is {first['input']}; {expected}.") from error

    @model_validator(mode="after")
    def _require_matching(self) -> TrainOptions:
        if self.leave_out is not None and self.fold is not None:
            raise UsageError("--fold and --leave-out both say what to test on.", "Name one of them.")
        fixed = not ENCODERS[self.encoder].free_width
        if fixed and self.width != type(self).model_fields["width"].default:
            free = ", ".join(name for name, entry in ENCODERS.items() if entry.free_width)
            raise UsageError(
                f"The encoder {self.encoder} has a width of its own; --width is for {free}.", "Leave it out."
            )
        return self

    @property
    def preprocess(self) -> Preprocess:
        """How images become network input, in training and in the model that it makes."""
        return Preprocess(size=self.size)

    def replace(self, **changes: Any) -> TrainOptions:
        """Return a copy with other values, checked like any options."""
        return TrainOptions(**{**dict(self), **changes})

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> TrainOptions:
        """Return the options among parsed arguments; what was not given is as in `QUICK` or by default."""
        given = {name: value for name, value in vars(arguments).items() if name in cls.model_fields}
        return cls(**{**(QUICK if arguments.quick else {}), **given})

    def recipe(self) -> dict[str, Any]:
        """Return the options that the weights follow from, JSON-ready: all but the free ones."""
        fields = type(self).model_fields.items()
        free = {name for name, field in fields if field.json_schema_extra["free"]}
        return self.model_dump(mode="json", exclude=free)


def add_options(parser: argparse.ArgumentParser, *, without: Collection[str] = ()) -> None:
    """Add --quick and one flag per field of `TrainOptions`, save those named; the options check ranges."""
    preset = " ".join(f"{_flag(name)} {value}" for name, value in QUICK.items())
    parser.add_argument("--quick", action="store_true", help=f"a first model in minutes: {preset}")
    for name, field in TrainOptions.model_fields.items():
        if name in without:
            continue
        kind, text = field.annotation, field.description
        if kind is bool:
            parser.add_argument(_flag(name), action="store_true", help=text, default=argparse.SUPPRESS)
            continue
        choices = None
        if typing.get_origin(kind) is Literal:
            kind, choices = str, typing.get_args(kind)
        elif typing.get_args(kind):  # X | None: None is only ever a default.
            kind = typing.get_args(kind)[0]
        if field.default is not None:
            text += f" (default: {field.default})"
        parser.add_argument(_flag(name), type=kind, default=argparse.SUPPRESS, choices=choices, help=text)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
