"""Every option of a training run, with its default and its meaning; the command line is built from it."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from busi_unet.config import ENCODERS, Architecture
from busi_unet.data.augment import AUGMENTATIONS
from busi_unet.errors import IncompatibleBundleError, UsageError

TRACKERS = ("none", "tensorboard", "trackio")


def _option(default: Any, meaning: str, *, free: bool = False, **argument: Any) -> Any:
    """Return a field with its help and what else `add_argument` takes.

    A free option is no part of the recipe, and a run may be resumed with another value: where things lie,
    what is logged, how the work is shared out. The split that a fold gives is checked by itself.
    """
    return dataclasses.field(default=default, metadata={"help": meaning, "free": free, **argument})


@dataclass(frozen=True)
class TrainOptions:
    """What a training run is told; `scripts/train.py --help` lists the same."""

    data: Path = _option(Path("data/busi"), "prepared data set", type=Path, free=True)
    fold: int | None = _option(
        None,
        "fold K to keep for testing, with K + 1 (modulo the folds) for validation; default: as prepared",
        type=int,
        free=True,
    )
    validation_fold: int | None = _option(
        None, "fold to validate on, beside --fold; default: the next one", type=int, free=True
    )
    output: Path = _option(
        Path("runs/busi"), "run folder: checkpoints, curves, manifest and the model", type=Path, free=True
    )
    resume: bool = _option(False, "go on from the last checkpoint in the run folder", free=True)

    encoder: str = _option("efficientnet_lite0", "encoder of the U-Net", choices=ENCODERS)
    width: int = _option(64, "channels of the first level, plain encoder only", type=int)
    init: str = _option("imagenet", "start weights: imagenet (encoder only), random, or a model folder")
    refit: str | None = _option(
        None,
        "model folder to go on from with train and validation images together, a fixed number of epochs; "
        "its temperature and thresholds are kept",
    )
    size: int = _option(256, "side of the square network input, pixels; a multiple of 32", type=int)

    epochs: int = _option(24, "passes over the training images", type=int)
    batch_size: int = _option(
        16, "images per optimizer step, over all processes and accumulation steps", type=int
    )
    accumulate: int = _option(1, "forward passes per optimizer step", type=int, free=True)
    learning_rate: float = _option(1e-3, "peak learning rate of AdamW", type=float)
    freeze_depthwise: bool = _option(
        False,
        "keep the encoder's depthwise filters as they start, which saves about a tenth of a step on a CPU; "
        "not for the plain encoder, which has none",
    )
    weight_decay: float = _option(0.02, "of AdamW, on convolution and linear weights", type=float)
    warmup: float = _option(1.0, "epochs until the peak learning rate; a cosine to 0 follows", type=float)
    ema_decay: float = _option(
        0.99,
        "per step, of the weight average that is validated and saved; less at the start",
        type=float,
    )
    class_weight: float = _option(0.5, "weight of the classification loss beside the mask losses", type=float)
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
        10.0,
        "time between checkpoints within an epoch; each epoch ends with one anyway",
        type=float,
        free=True,
    )
    precision: str = _option("fp32", "arithmetic of the forward pass", choices=("fp32", "bf16", "fp16"))
    workers: int = _option(0, "processes that augment pictures beside the training", type=int, free=True)
    seed: int = _option(0, "of start weights, order, augmentation and dropout", type=int)
    tracker: str = _option("none", "where to log beside the run folder", choices=TRACKERS, free=True)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            self._require(name, not isinstance(value, float) or math.isfinite(value), "a finite number")
        for name in ("epochs", "batch_size", "accumulate", "patience"):
            self._require(name, getattr(self, name) >= 1, "1 or more")
        self._require("learning_rate", self.learning_rate > 0, "above 0")
        for name in ("weight_decay", "warmup", "class_weight", "mixup", "checkpoint_minutes", "workers"):
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
        if self.encoder == "plain" and self.freeze_depthwise:
            raise UsageError(
                "--freeze-depthwise is for an encoder from ImageNet, not for the plain one.",
                "Leave it out, or use another --encoder.",
            )

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} is {getattr(self, name)}; it must be {expected}.")

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> TrainOptions:
        """Return the options among parsed arguments."""
        names = {item.name for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in vars(arguments).items() if name in names})

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, paths as text."""
        return {
            name: value.as_posix() if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(self).items()
        }

    def recipe(self) -> dict[str, Any]:
        """Return the options that the weights follow from: `to_dict` without those that are free."""
        free = {item.name for item in dataclasses.fields(self) if item.metadata["free"]}
        return {name: value for name, value in self.to_dict().items() if name not in free}


def add_options(parser: argparse.ArgumentParser, *, without: Collection[str] = ()) -> None:
    """Add one flag per field of `TrainOptions`, save those named."""
    for item in dataclasses.fields(TrainOptions):
        if item.name in without:
            continue
        flag = "--" + item.name.replace("_", "-")
        settings = {name: value for name, value in item.metadata.items() if name != "free"}
        if item.default is False:
            parser.add_argument(flag, action="store_true", help=settings["help"])
        else:
            if item.default is not None:
                settings["help"] += f" (default: {item.default})"
            parser.add_argument(flag, default=item.default, **settings)
