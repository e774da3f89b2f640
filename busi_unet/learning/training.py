"""A training run, stage by stage; the only module that knows accelerate.

run folder
├── options.json      what the run was told
├── checkpoint.pt     replaced after every epoch; --resume reads it
├── history.csv, curves.png
├── best/             model folder of the best epoch so far
├── model/            the result: best weights, calibrated, thresholds chosen
└── manifest.json     versions, data, hardware, time, figures on validation
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, broadcast, set_seed
from datasets import concatenate_datasets
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from busi_unet.bundle import load_bundle, load_config, save_bundle
from busi_unet.config import CLASS_NAMES, Architecture, BundleConfig, Preprocess
from busi_unet.data.augment import Augmentation
from busi_unet.data.busi import load_prepared, split_hash
from busi_unet.errors import DataLayoutError, MissingDependencyError, TrainingError, UsageError
from busi_unet.imaging.decode import decode_image, decode_mask
from busi_unet.imaging.preprocess import Preprocessor
from busi_unet.learning.checkpoint import CHECKPOINT_NAME, load_checkpoint, save_checkpoint
from busi_unet.learning.curves import write_curves
from busi_unet.learning.dataset import Batch, LesionDataset
from busi_unet.learning.losses import combined_loss
from busi_unet.learning.options import TrainOptions
from busi_unet.learning.tuning import tune
from busi_unet.model.unet import UNet, UNetOutput
from busi_unet.predictor import Predictor
from busi_unet.version import versions

if TYPE_CHECKING:
    from datasets import DatasetDict

_PRECISION = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@dataclass
class Progress:
    """How far a run has come; part of the checkpoint."""

    epoch: int = 0
    best_score: float | None = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


@dataclass
class Tally:
    """Sums over images, from which an epoch's means are read."""

    loss: float = 0.0
    images: int = 0
    dice: float = 0.0
    lesions: int = 0
    correct: int = 0

    def add(self, loss: torch.Tensor, dice: torch.Tensor, correct: torch.Tensor) -> None:
        """Adds per-image figures (N,); `dice` is NaN for images without a lesion."""
        counted = ~dice.isnan()
        self.loss += loss.sum().item()
        self.images += len(loss)
        self.dice += dice[counted].sum().item()
        self.lesions += int(counted.sum())
        self.correct += int(correct.sum())

    def means(self, prefix: str) -> dict[str, float | None]:
        """Mean loss, Dice over lesion images, and accuracy; None where nothing was counted."""
        return {
            f"{prefix}_loss": self.loss / self.images if self.images else None,
            f"{prefix}_dice": self.dice / self.lesions if self.lesions else None,
            f"{prefix}_accuracy": self.correct / self.images if self.images else None,
        }


@dataclass
class Run:
    """Everything the stages share, already prepared by accelerate."""

    options: TrainOptions
    accelerator: Accelerator
    model: nn.Module
    ema: AveragedModel
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR
    train_loader: DataLoader
    validation_loader: DataLoader
    image_ids: list[str]
    progress: Progress = field(default_factory=Progress)

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds. Random states are not among them: every epoch is seeded anew."""
        parts = {
            "model": self.accelerator.unwrap_model(self.model),
            "ema": self.ema,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "progress": self.progress,
        }
        if self.accelerator.scaler is not None:
            parts["scaler"] = self.accelerator.scaler
        return parts


def train(options: TrainOptions) -> Path | None:
    """Trains a network on the train split, selects it on the validation split, and saves it.

    The test split is never read. With `refit`, a model that was selected this way is trained further on
    both splits; nothing is selected then, and the last epoch is the result.

    Returns:
        The finished model folder; None on every process but the main one.

    Raises:
        UsageError: options that do not fit together, the machine or the run folder.
        DataLayoutError: the data set cannot be used.
        TrainingError: the run cannot be resumed, or its loss is no number any more.
    """
    accelerator = build_accelerator(options)
    open_run_folder(options, accelerator)
    start_trackers(options, accelerator)
    data = load_prepared(options.data)
    check_data(data)
    run = build_run(options, accelerator, data)
    if options.resume:
        load_checkpoint(options.output, run.parts())
    fit(run)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        finish(run, data)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return options.output / "model" if accelerator.is_main_process else None


def build_accelerator(options: TrainOptions) -> Accelerator:
    """Device, processes and precision."""
    try:
        accelerator = Accelerator(
            mixed_precision=_PRECISION[options.precision],
            gradient_accumulation_steps=options.accumulate,
            dataloader_config=DataLoaderConfiguration(use_seedable_sampler=True),
            log_with=None if options.tracker == "none" else options.tracker,
            project_dir=options.output,
        )
    except (ValueError, ImportError) as error:
        raise UsageError(f"accelerate refuses these options: {error}", "Try --precision fp32.") from error
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
    return accelerator


def open_run_folder(options: TrainOptions, accelerator: Accelerator) -> None:
    """Makes the run folder; refuses to mix two runs in one."""
    if not options.resume and (options.output / CHECKPOINT_NAME).exists():
        raise UsageError(
            f"{options.output} already holds a run.",
            "Add --resume to go on with it, or name another --output.",
        )
    path = options.output / "options.json"
    if options.resume and path.is_file():
        free = {"resume", "data", "output", "tracker", "workers"}
        try:
            before, now = json.loads(path.read_text(encoding="utf-8")), options.to_dict()
        except ValueError as error:
            raise TrainingError(f"{path} is damaged.", "Start anew in another --output.") from error
        changed = sorted(name for name in now if name not in free and before.get(name) != now[name])
        if changed:
            listed = ", ".join(f"--{name.replace('_', '-')} was {before.get(name)}" for name in changed)
            raise UsageError(
                f"{options.output} was started with other options: {listed}.", "Resume with those."
            )
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        options.output.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(options.to_dict(), indent=2) + "\n", encoding="utf-8")


def start_trackers(options: TrainOptions, accelerator: Accelerator) -> None:
    """Starts the tracker that was asked for, if any."""
    if options.tracker != "none":
        if not accelerator.log_with:
            raise MissingDependencyError(
                f"The tracker {options.tracker} is not installed.", f"Run `pip install {options.tracker}`."
            )
        accelerator.init_trackers("busi_unet", config=options.to_dict())


def check_data(data: DatasetDict) -> None:
    """A data set to train on has images of every class in both splits.

    Raises:
        DataLayoutError: it lacks some; all of it is listed.
    """
    problems = []
    for split in ("train", "validation"):
        counts = {name: data[split]["label"].count(index) for index, name in enumerate(CLASS_NAMES)}
        problems += [f"{split}: no {name} image" for name, count in counts.items() if count == 0]
    if problems:
        raise DataLayoutError(
            "the data set cannot be trained on:", problems, "Add images of the missing classes."
        )


def build_run(options: TrainOptions, accelerator: Accelerator, data: DatasetDict) -> Run:
    """Data in memory, network, optimizer, schedule and weight average."""
    set_seed(options.seed)
    model = build_model(options, data)
    preprocessor = Preprocessor(Preprocess(size=options.size))
    shown = accelerator.is_main_process
    train_set = LesionDataset(
        concatenate_datasets([data["train"], data["validation"]]) if options.refit else data["train"],
        preprocessor,
        augmentation=Augmentation() if options.augment == "standard" else None,
        seed=options.seed,
        progress=shown,
    )
    validation_set = LesionDataset(data["validation"], preprocessor, progress=shown)
    share = options.batch_size // (accelerator.num_processes * options.accumulate)
    if len(train_set) < options.batch_size:
        raise UsageError(
            f"--batch-size {options.batch_size} is more than the {len(train_set)} training images.",
            "Use a smaller one.",
        )
    # The last, smaller batch is left out: batch statistics of a few images are noise, and the next
    # epoch draws other images for it.
    train_loader = DataLoader(
        train_set, batch_size=share, shuffle=True, drop_last=True, num_workers=options.workers
    )
    validation_loader = DataLoader(validation_set, batch_size=share)

    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(options.ema_decay), use_buffers=True)
    optimizer = build_optimizer(model, options)
    model, optimizer, train_loader, validation_loader = accelerator.prepare(
        model, optimizer, train_loader, validation_loader
    )
    # accelerate also steps on what is left over at the end of an epoch.
    scheduler = build_schedule(optimizer, options, math.ceil(len(train_loader) / options.accumulate))
    return Run(
        options=options,
        accelerator=accelerator,
        model=model,
        ema=ema.to(accelerator.device),
        optimizer=optimizer,
        scheduler=scheduler,
        train_loader=train_loader,
        validation_loader=validation_loader,
        image_ids=train_set.image_ids,
    )


def build_model(options: TrainOptions, data: DatasetDict) -> UNet:
    """The network with its start weights, which must not know what this run holds back.

    Raises:
        UsageError: the start model is none, is another network, was made on another split, or was
            tuned for another input size.
    """
    plain = options.encoder == "plain"
    architecture = Architecture(options.encoder, options.width if plain else None)
    flag, start = ("--refit", options.refit) if options.refit else ("--init", options.init)
    if start in ("imagenet", "random"):
        model = UNet(architecture)
        if start == "imagenet" and not plain:
            model.encoder.load_imagenet()
        return model
    if not Path(start).is_dir():
        raise UsageError(f"{flag} {start} is no model folder.", "Name the folder of a model.")
    model, config = load_bundle(start)
    if config.architecture != architecture:
        raise UsageError(
            f"{flag} {start} holds another network ({config.architecture}).", "Use its --encoder and --width."
        )
    before = config.training.get("data", {}).get("split_sha256")
    if before is not None and before != split_hash(data):
        raise UsageError(
            f"{flag} {start} was trained on another split of the data, so it may know the test images.",
            "Prepare the data with the folds it was trained on, or start from imagenet.",
        )
    if options.refit and config.preprocess.size != options.size:
        raise UsageError(
            f"--refit {start} was tuned for --size {config.preprocess.size}, not {options.size}.",
            "Use its size.",
        )
    return model


def build_optimizer(model: UNet, options: TrainOptions) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101); no decay on biases and norm weights."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=options.learning_rate, weight_decay=options.weight_decay)


def build_schedule(
    optimizer: torch.optim.Optimizer, options: TrainOptions, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then a cosine to 0 at the last step."""
    warmup = round(options.warmup * steps_per_epoch)
    total = options.epochs * steps_per_epoch

    def scale(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))

    # accelerate's wrapper would step once per process; the schedule counts optimizer steps.
    return torch.optim.lr_scheduler.LambdaLR(getattr(optimizer, "optimizer", optimizer), scale)


def fit(run: Run) -> None:
    """The epochs that are left, each ending in a checkpoint."""
    options, progress = run.options, run.progress
    steps = len(run.train_loader)
    bar = tqdm(
        total=options.epochs * steps,
        initial=progress.epoch * steps,
        desc="train",
        unit="step",
        disable=not run.accelerator.is_main_process,
    )
    with bar:
        while progress.epoch < options.epochs:
            if not options.refit and progress.epoch - progress.best_epoch >= options.patience:
                if run.accelerator.is_main_process:
                    bar.write(
                        f"No better epoch since {progress.best_epoch}: stopping early.", file=sys.stderr
                    )
                break
            started = time.monotonic()
            learning_rate = run.scheduler.get_last_lr()[0]
            trained = train_epoch(run, bar)
            validated = Tally() if options.refit else validate(run)
            progress.epoch += 1
            progress.seconds += time.monotonic() - started
            row = {
                "epoch": progress.epoch,
                "learning_rate": learning_rate,
                "seconds": round(progress.seconds, 1),
                **trained.means("train"),
                **validated.means("validation"),
            }
            progress.history.append(row)
            keep(run, row)
            bar.set_postfix(dice=_shown(row["validation_dice"]), accuracy=_shown(row["validation_accuracy"]))


def train_epoch(run: Run, bar: tqdm) -> Tally:
    """One pass over the training images."""
    accelerator, options, epoch = run.accelerator, run.options, run.progress.epoch
    # Everything random in an epoch follows from the seed and the epoch, so a resumed run repeats it.
    set_seed(options.seed + 100_003 * epoch, device_specific=True)
    run.train_loader.dataset.epoch = epoch
    run.train_loader.set_epoch(epoch)
    run.model.train()
    tally = Tally()
    for batch in run.train_loader:
        batch = Batch(*batch)
        with accelerator.accumulate(run.model):
            with accelerator.autocast():
                output = UNetOutput(*run.model(batch.image))
            loss = combined_loss(
                output,
                batch.mask,
                batch.label,
                class_weight=options.class_weight,
                label_smoothing=options.label_smoothing,
            )
            if not loss.total.isfinite():
                names = ", ".join(run.image_ids[index] for index in batch.index.tolist())
                raise TrainingError(
                    f"The loss of epoch {epoch + 1} is {loss.total.item()}; the batch was: {names}.",
                    "Look at these images, or lower --learning-rate.",
                )
            accelerator.backward(loss.total)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(run.model.parameters(), 1.0)
            run.optimizer.step()
            run.optimizer.zero_grad()
        if accelerator.sync_gradients:
            run.scheduler.step()
            run.ema.update_parameters(accelerator.unwrap_model(run.model))
        add_to_tally(tally, accelerator, output, batch, loss.total.detach())
        bar.update()
    return tally


@torch.inference_mode()
def validate(run: Run) -> Tally:
    """The weight average on every validation image, at network resolution."""
    run.ema.eval()
    # Batch-norm statistics differ between processes; all validate the network that is saved.
    for buffer in run.ema.buffers():
        broadcast(buffer)
    tally = Tally()
    for batch in run.validation_loader:
        batch = Batch(*batch)
        with run.accelerator.autocast():
            output = UNetOutput(*run.ema(batch.image))
        loss = combined_loss(
            output, batch.mask, batch.label, class_weight=run.options.class_weight, label_smoothing=0
        )
        add_to_tally(tally, run.accelerator, output, batch, loss.total)
    return tally


def add_to_tally(
    tally: Tally, accelerator: Accelerator, output: UNetOutput, batch: Batch, loss: torch.Tensor
) -> None:
    """Counts a batch once, whichever process it ran on; Dice and accuracy leave fill-up images out."""
    predicted = (output.mask_logits > 0).flatten(1)
    target = batch.mask.flatten(1) > 0.5
    area = target.sum(1)
    dice = 2 * (predicted & target).sum(1) / (predicted.sum(1) + area)
    dice = torch.where(area > 0, dice, torch.nan)
    correct = output.class_logits.argmax(1) == batch.label
    tally.add(*accelerator.gather_for_metrics((loss.expand(len(dice)), dice, correct)))


def keep(run: Run, row: dict[str, Any]) -> None:
    """Saves what an epoch gave: log, best weights so far, curves, checkpoint."""
    progress, accelerator = run.progress, run.accelerator
    # Without validation the last epoch counts as the best.
    score = None if run.options.refit else ((row["validation_dice"] or 0) + row["validation_accuracy"]) / 2
    better = score is None or score > progress.best_score
    if better:
        progress.best_score, progress.best_epoch = score, progress.epoch
    accelerator.log({name: value for name, value in row.items() if value is not None}, step=progress.epoch)
    if accelerator.is_main_process:
        if better:
            ema: UNet = run.ema.module
            config = BundleConfig(architecture=ema.architecture, preprocess=Preprocess(size=run.options.size))
            save_bundle(run.options.output / "best", ema, config)
        write_curves(run.options.output, progress.history)
        save_checkpoint(run.options.output, run.parts())


def finish(run: Run, data: DatasetDict) -> None:
    """The best weights become the model: calibrated, thresholds chosen, manifest attached."""
    output = run.options.output
    model, config = load_bundle(output / "best")
    manifest = build_manifest(run, data)
    if run.options.refit:
        first = load_config(run.options.refit)
        calibration, thresholds = first.calibration, first.thresholds
        manifest["refit_of"] = first.training
    else:
        predictor = Predictor(model, config, device=str(run.accelerator.device))
        validation = data["validation"]
        frames = [decode_image(image) for image in validation["image"]]
        targets = [decode_mask(mask) for mask in validation["mask"]]
        calibration, thresholds = tune(predictor, frames, targets, validation["label"])
    config = replace(config, calibration=calibration, thresholds=thresholds, training=manifest)
    save_bundle(output / "model", model.cpu(), config)
    (output / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def build_manifest(run: Run, data: DatasetDict) -> dict[str, Any]:
    """How the weights came about; it travels in `config.json`."""
    accelerator, progress = run.accelerator, run.progress
    best = progress.history[progress.best_epoch - 1]
    return {
        "options": {
            name: value
            for name, value in run.options.to_dict().items()
            if name not in ("data", "output", "resume", *(["init"] if run.options.refit else []))
        },
        "data": {
            "images": {split: len(data[split]) for split in ("train", "validation", "test")},
            "folds": {split: sorted(set(data[split]["fold"])) for split in ("train", "validation", "test")},
            "split_sha256": split_hash(data),
            "trained_on": ["train", "validation"] if run.options.refit else ["train"],
        },
        "best_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        "validation": None
        if run.options.refit
        else {name: round(best[f"validation_{name}"], 4) for name in ("loss", "dice", "accuracy")},
        "seconds": round(progress.seconds),
        "hardware": {
            "device": accelerator.device.type,
            "processes": accelerator.num_processes,
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "machine": platform.machine(),
        },
        "versions": versions("accelerate", "datasets", "numpy", "pillow", "scipy", "torch"),
    }


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
