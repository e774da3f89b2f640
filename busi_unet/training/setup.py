"""The parts of a training run, made from its options: images, network, optimizer, schedule, average."""

from __future__ import annotations

import math
import os
import platform
import signal
import sys
import time
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, set_seed
from datasets import concatenate_datasets
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from busi_unet.config import CLASS_NAMES, Architecture
from busi_unet.data.augment import AUGMENTATIONS
from busi_unet.data.prepared import SPLITS, UNKNOWN, read_record, split_hash
from busi_unet.data.torch_dataset import EpochOrder, LesionDataset
from busi_unet.errors import DataLayoutError, UsageError
from busi_unet.evaluation.leakage import require_unseen
from busi_unet.inference.preprocess import Preprocessor
from busi_unet.models.encoders import ENCODERS
from busi_unet.models.folder import load_model
from busi_unet.models.unet import UNet
from busi_unet.training.losses import Tally
from busi_unet.training.options import TrainOptions

if TYPE_CHECKING:
    from datasets import DatasetDict

# A scheduler's, and Ctrl-C.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class Progress:
    """How far a run has come; part of the checkpoint.

    Attributes:
        epoch: finished epochs.
        step: finished optimizer steps of the epoch that is running.
        tally: of the training images of those steps.
        best_score: mean of validation Dice and accuracy; None where nothing is selected.
        best_epoch: from 1; 0 before the first.
        seconds: spent training, over all resumptions.
        history: one row per finished epoch.
    """

    epoch: int = 0
    step: int = 0
    tally: Tally = field(default_factory=Tally)
    best_score: float | None = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def finish_epoch(self, row: dict[str, Any]) -> bool:
        """Add an epoch's metrics to the history, and return whether it is the best so far.

        Without metrics on validation images to compare epochs by, the last one counts as the best.
        """
        self.epoch, self.step, self.tally = self.epoch + 1, 0, Tally()
        self.history.append({"epoch": self.epoch, **row, "seconds": round(self.seconds, 1)})
        score = None
        if row["validation_loss"] is not None:
            score = ((row["validation_dice"] or 0) + (row["validation_accuracy"] or 0)) / 2
        better = score is None or score > self.best_score
        if better:
            self.best_score, self.best_epoch = score, self.epoch
        return better

    def state_dict(self) -> dict[str, Any]:
        return vars(self) | {"tally": astuple(self.tally)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"tally": Tally(*state["tally"])})


def build_accelerator(options: TrainOptions) -> Accelerator:
    """Return what knows device, processes and precision."""
    try:
        accelerator = Accelerator(
            mixed_precision="no" if options.precision == "fp32" else options.precision,
            # Without even batches no validation image is seen twice; training has whole batches anyway.
            dataloader_config=DataLoaderConfiguration(even_batches=False),
            log_with=None if options.tracker == "none" else options.tracker,
            project_dir=options.output,
        )
    except (ValueError, ImportError) as error:
        raise UsageError(f"accelerate refuses these options: {error}", "Try --precision fp32.") from error
    if options.precision == "fp16" and accelerator.device.type == "cpu":
        raise UsageError("--precision fp16 needs a GPU.", "Use --precision fp32.")
    if int(os.environ.get("WORLD_SIZE", 1)) > accelerator.num_processes:
        raise UsageError(
            "Several processes were launched, but each would train by itself.",
            "On a CPU, set ACCELERATE_USE_CPU=true.",
        )
    shares = accelerator.num_processes * options.accumulate
    if options.batch_size % shares:
        raise UsageError(
            f"--batch-size {options.batch_size} cannot be shared by {accelerator.num_processes} processes "
            f"with {options.accumulate} accumulation steps.",
            f"Use a multiple of {shares}.",
        )
    capability = torch.backends.cpu.get_cpu_capability()
    # ARM's, which may calculate in bfloat16, are called DEFAULT too.
    emulated = platform.machine() in ("x86_64", "AMD64") and capability in ("DEFAULT", "AVX2")
    on_cpu = accelerator.device.type == "cpu" and accelerator.is_local_main_process
    if emulated and on_cpu and options.precision == "bf16":
        print(
            f"warning: This CPU ({capability}) has no bfloat16 instructions: a step may take over ten "
            "times as long as with --precision fp32.",
            file=sys.stderr,
        )
    return accelerator


def check_data(options: TrainOptions, data: DatasetDict) -> None:
    """Check that there is something to train on, and to choose by.

    Classes may be missing: the network does not learn them, and a warning says so. Normal images may: they
    are made of what lies beside the lesions.
    """
    needed = ("train",) if options.no_validation else ("train", "validation")
    empty = [f"{split}: no images" for split in needed if not len(data[split])]
    if empty:
        raise DataLayoutError("the data set cannot be trained on:", empty, "Name another --fold.")
    labels = set(data["train"]["label"])
    if labels == {UNKNOWN} and data["train"].data.column("mask").null_count == len(data["train"]):
        nothing = ["train: no image has a mask or a class"]
        raise DataLayoutError("the data set cannot be trained on:", nothing, "Prepare it with either.")
    missing = [name for index, name in enumerate(CLASS_NAMES) if index not in labels and name != "normal"]
    if missing:
        print(
            f"warning: No training image is {' or '.join(missing)}: the model will not know that class.",
            file=sys.stderr,
        )


def load_images(
    options: TrainOptions, data: DatasetDict, *, progress: bool
) -> tuple[LesionDataset, LesionDataset | None]:
    """Return training and validation images, decoded; without validation both are trained on."""
    preprocessor = Preprocessor(options.preprocess)
    split = data["train"]
    if options.no_validation:
        split = concatenate_datasets([split, data["validation"]])
    if len(split) < options.batch_size:
        raise UsageError(
            f"--batch-size {options.batch_size} is more than the {len(split)} training images.",
            "Use a smaller one.",
        )
    augmentation = AUGMENTATIONS[options.augment]
    train_set = LesionDataset(
        split, preprocessor, augmentation=augmentation, seed=options.seed, progress=progress
    )
    if options.no_validation:
        return train_set, None
    return train_set, LesionDataset(data["validation"], preprocessor, progress=progress)


class TrainingRun:
    """Everything that the stages share: images, network, optimizer, schedule, prepared by accelerate.

    Attributes:
        steps_per_epoch: optimizer steps.
        ema: the network's weight average that is validated and saved; its buffers are averaged too.
        validation_loader: None without validation.
        made_on: the data and its split, as the record of a model has them.
        saved_at: `time.monotonic()` of the last checkpoint.
    """

    def __init__(self, options: TrainOptions, accelerator: Accelerator, data: DatasetDict) -> None:
        self.options, self.accelerator = options, accelerator
        self.made_on, self.progress = record_of(options, data), Progress()
        train_set, validation_set = load_images(options, data, progress=accelerator.is_main_process)
        set_seed(options.seed)
        model = build_model(options, data)
        # Faster on CPUs and tensor cores; MPS has had wrong results with it.
        if accelerator.device.type != "mps":
            model = model.to(memory_format=torch.channels_last)
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.ema = build_ema(model, options.ema_decay).to(accelerator.device)
        optimizer = build_optimizer(model, options)
        order = EpochOrder(train_set, options.batch_size)
        self.steps_per_epoch = len(order) // options.batch_size
        # Not prepared by accelerate, which would step it once per process: it counts optimizer steps.
        self.scheduler = build_schedule(optimizer, options, self.steps_per_epoch)

        self.images_per_pass = options.batch_size // (accelerator.num_processes * options.accumulate)
        train_loader = DataLoader(
            train_set,
            batch_size=self.images_per_pass,
            sampler=order,
            num_workers=options.workers,
            worker_init_fn=_ignore_stop_signals,
        )
        accelerator.gradient_accumulation_steps = options.accumulate
        self.model, self.optimizer, self.train_loader = accelerator.prepare(model, optimizer, train_loader)
        self.validation_loader = validation_set and accelerator.prepare_data_loader(
            DataLoader(validation_set, batch_size=self.images_per_pass)
        )
        self.saved_at = time.monotonic()

    def parts(self) -> dict[str, Any]:
        """Return what a checkpoint holds. Random states are not among them: every step is seeded anew."""
        parts = {name: getattr(self, name) for name in ("ema", "optimizer", "scheduler", "progress")}
        parts["model"] = self.accelerator.unwrap_model(self.model)
        if self.accelerator.scaler is not None:
            parts["scaler"] = self.accelerator.scaler
        return parts


def _ignore_stop_signals(_worker: int) -> None:
    """A signal to the whole job must not lose the images of the current step: the main process acts on it."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def record_of(options: TrainOptions, data: DatasetDict) -> dict[str, Any]:
    """Return the data and their split as a model's config records them; `evaluation.leakage` reads it."""
    return {
        "images": {split: len(data[split]) for split in SPLITS},
        "sources": {split: sorted(set(data[split]["source"])) for split in SPLITS},
        "left_out": options.leave_out,
        "folds": {split: sorted(set(data[split]["fold"])) for split in SPLITS},
        "split_sha256": split_hash(data),
        "folds_from": read_record(options.data).get("folds_from"),
        "trained_on": ["train", "validation"] if options.no_validation else ["train"],
    }


def build_model(options: TrainOptions, data: DatasetDict) -> UNet:
    """Return the network with its start weights, which must not know what this run holds back.

    Raises:
        UsageError: the start is not a model folder, is another network, was made on another split or does not
            tell on which, or was trained on the images that this run validates on.
    """
    entry = ENCODERS[options.encoder]
    architecture = Architecture(options.encoder, options.width if entry.free_width else None)
    start = options.init
    if start in ("imagenet", "random"):
        model = UNet(architecture)
        if start == "imagenet" and entry.load_imagenet:
            entry.load_imagenet(model.encoder)
        return model
    if not Path(start).is_dir():
        raise UsageError(
            f"--init {start} is not a model folder (config.json and model.safetensors not found).",
            "Name the folder of a model.",
        )
    model, config, _ = load_model(start)
    if config.architecture != architecture:
        its = f"--encoder {config.architecture.encoder}"
        if config.architecture.width is not None:
            its += f" --width {config.architecture.width}"
        raise UsageError(f"--init {start} holds another network.", f"Use {its}.")
    require_unseen(start, config, data, validates=not options.no_validation)
    return model


def build_optimizer(model: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) without decay on biases and norm weights."""
    weights = [each for each in model.parameters() if each.ndim > 1]
    others = [each for each in model.parameters() if each.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, fused=True)


def build_ema(model: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of weights and batch statistics, one update a step.

    The n-th update keeps (1 + n) / (10 + n) of the average where that is less than the decay, as TensorFlow's
    ExponentialMovingAverage does: a fixed decay keeps start weights for several epochs of a small data set.
    """

    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        grown = (1 + int(count)) / (10 + int(count))
        get_ema_multi_avg_fn(min(decay, grown))(averaged, current, count)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def build_schedule(
    optimizer: torch.optim.Optimizer, options: TrainOptions, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Return linear warm-up, then a cosine to 0 at the last step."""
    warmup = round(options.warmup * steps_per_epoch)
    total = options.epochs * steps_per_epoch

    def scale(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, scale)
