"""Every option of a training run, with its default and its meaning; the command line is built from it."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from busi_unet.config import ENCODERS, Architecture
from busi_unet.data.augment import AUGMENTATIONS
from busi_unet.errors import IncompatibleBundleError, UsageError

TRACKERS = ("none", "tensorboard", "trackio")


def _option(default: Any, meaning: str, **argument: Any) -> Any:
    return dataclasses.field(default=default, metadata={"help": meaning, **argument})


@dataclass(frozen=True)
class TrainOptions:
    """What a training run is told; `scripts/train.py --help` lists the same."""

    data: Path = _option(Path("data/busi"), "prepared data set", type=Path)
    fold: int | None = _option(
        None,
        "fold K to keep for testing, with K + 1 (modulo the folds) for validation; default: as prepared",
        type=int,
    )
    validation_fold: int | None = _option(
        None, "fold to validate on, beside --fold; default: the next one", type=int
    )
    output: Path = _option(
        Path("runs/busi"), "run folder: checkpoints, curves, manifest and the model", type=Path
    )
    resume: bool = _option(False, "go on from the last checkpoint in the run folder")

    encoder: str = _option("efficientnet_lite0", "encoder of the U-Net", choices=ENCODERS)
    width: int = _option(64, "channels of the first level, plain encoder only", type=int)
    init: str = _option("imagenet", "start weights: imagenet (encoder only), random, or a model folder")
    refit: str | None = _option(
        None,
        "model folder to go on from with train and validation images together, a fixed number of epochs; "
        "its temperature and thresholds are kept",
    )
    teachers: tuple[str, ...] = _option(
        (),
        "model folders whose mean answer to each training picture counts as much as its mask and class do",
        nargs="+",
        metavar="MODEL",
    )
    size: int = _option(256, "side of the square network input, pixels; a multiple of 32", type=int)

    epochs: int = _option(24, "passes over the training images", type=int)
    batch_size: int = _option(
        16, "images per optimizer step, over all processes and accumulation steps", type=int
    )
    accumulate: int = _option(1, "forward passes per optimizer step", type=int)
    learning_rate: float = _option(1e-3, "peak learning rate of AdamW", type=float)
    encoder_rate: float = _option(
        1.0, "learning rate of the encoder, as a share of --learning-rate", type=float
    )
    freeze_depthwise: bool = _option(
        False,
        "keep the encoder's depthwise filters as they start, which saves about a tenth of a step on a CPU; "
        "not for the plain encoder, which has none",
    )
    freeze_blocks: int = _option(
        0,
        "keep the encoder's stem and its first N blocks as they start: they see the largest maps, so that "
        "3 of them take a third of the time; not for the plain encoder, which starts at random",
        type=int,
    )
    weight_decay: float = _option(0.02, "of AdamW, on convolution and linear weights", type=float)
    warmup: float = _option(1.0, "epochs until the peak learning rate; a cosine to 0 follows", type=float)
    ema_decay: float = _option(
        0.99,
        "per step, of the weight average that is validated and saved; less at the start",
        type=float,
    )
    class_weight: float = _option(0.5, "weight of the classification loss beside the mask losses", type=float)
    dice_weight: float = _option(
        1.0, "weight of the Dice loss beside the cross-entropy of the mask", type=float
    )
    deep_supervision: float = _option(
        0.0,
        "weight of the mask losses of the decoder's coarser levels, which have outputs of their own in "
        "training alone; 0 for none",
        type=float,
    )
    label_smoothing: float = _option(0.05, "of the classification loss", type=float)
    augment: str = _option(
        "annotated", "random changes of the training pictures", choices=tuple(AUGMENTATIONS)
    )
    mixup: float = _option(
        0.4,
        "Beta parameter of the blend with another picture, for half of the training pictures; 0 for none",
        type=float,
    )
    patience: int = _option(12, "epochs without a better validation score before stopping", type=int)
    select: str = _option(
        "best",
        "epoch whose weights become the model: best, by the mean of Dice and accuracy on the validation "
        "images, or last, which leaves nothing to the chance of so few images",
        choices=("best", "last"),
    )

    checkpoint_minutes: float = _option(
        10.0, "time between checkpoints within an epoch; each epoch ends with one anyway", type=float
    )
    precision: str = _option("fp32", "arithmetic of the forward pass", choices=("fp32", "bf16", "fp16"))
    workers: int = _option(0, "processes that augment pictures beside the training", type=int)
    seed: int = _option(0, "of start weights, order, augmentation and dropout", type=int)
    tracker: str = _option("none", "where to log beside the run folder", choices=TRACKERS)

    def __post_init__(self) -> None:
        # The command line gives a list.
        object.__setattr__(self, "teachers", tuple(self.teachers))
        for name, value in vars(self).items():
            self._require(name, not isinstance(value, float) or math.isfinite(value), "a finite number")
        for name in ("epochs", "batch_size", "accumulate", "patience"):
            self._require(name, getattr(self, name) >= 1, "1 or more")
        self._require("learning_rate", self.learning_rate > 0, "above 0")
        for name in (
            "encoder_rate",
            "weight_decay",
            "warmup",
            "class_weight",
            "dice_weight",
            "deep_supervision",
            "mixup",
        ):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        for name in ("checkpoint_minutes", "workers", "freeze_blocks"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        for name in ("ema_decay", "label_smoothing"):
            self._require(name, 0 <= getattr(self, name) < 1, "from 0 to below 1")
        self._require(
            "size", self.size % 32 == 0 and 32 <= self.size <= 2048, "a multiple of 32, at most 2048"
        )
        self._require("seed", 0 <= self.seed < 2**31, "from 0 to below 2147483648")
        try:
            Architecture("plain", self.width)
        except IncompatibleBundleError as error:
            # The limits are those of a model folder; a user of the flag knows nothing of its config.json.
            raise UsageError(error.message.replace("config.json: architecture.width", "--width")) from error
        if self.validation_fold is not None and self.fold is None:
            raise UsageError("--validation-fold needs --fold.", "Name the fold to keep for testing, too.")
        if self.encoder != "plain" and self.width != TrainOptions.width:
            raise UsageError(
                f"--width is for the plain encoder; {self.encoder} has its own.",
                "Leave it out, or add --encoder plain.",
            )
        for name in ("freeze_depthwise", "freeze_blocks"):
            if self.encoder == "plain" and getattr(self, name):
                raise UsageError(
                    f"--{name.replace('_', '-')} is for an encoder from ImageNet, not for the plain one.",
                    "Leave it out, or use another --encoder.",
                )

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} is {getattr(self, name)}; it must be {expected}.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, paths as text."""
        values = {**dataclasses.asdict(self), "teachers": list(self.teachers)}
        return {
            name: value.as_posix() if isinstance(value, Path) else value for name, value in values.items()
        }

    def recipe(self) -> dict[str, Any]:
        """`to_dict` without what says nothing of the recipe: places, folds, record-keeping."""
        return {name: value for name, value in self.to_dict().items() if name not in _NOT_OF_THE_RECIPE}


NOT_IN_PRETEXT = (
    "resume",
    "refit",
    "teachers",
    "accumulate",
    "class_weight",
    "dice_weight",
    "deep_supervision",
    "label_smoothing",
    "mixup",
    "patience",
    "select",
    "checkpoint_minutes",
    "tracker",
)
"""What `busi_unet.learning.pretext` makes no use of: it has one stage, is short, and looks at no label."""


_NOT_OF_THE_RECIPE = {
    "data",
    "fold",
    "validation_fold",
    "output",
    "resume",
    "workers",
    "tracker",
    "checkpoint_minutes",
}


def build_parser(*, without: Container[str] = (), **arguments: Any) -> argparse.ArgumentParser:
    """A parser with one flag per field of `TrainOptions`, but for the fields named in `without`."""
    parser = argparse.ArgumentParser(**arguments)
    for item in dataclasses.fields(TrainOptions):
        if item.name in without:
            continue
        flag = "--" + item.name.replace("_", "-")
        settings = dict(item.metadata)
        if item.default is False:
            parser.add_argument(flag, action="store_true", help=settings["help"])
        else:
            if item.default not in (None, ()):
                settings["help"] += f" (default: {item.default})"
            parser.add_argument(flag, default=item.default, **settings)
    return parser
