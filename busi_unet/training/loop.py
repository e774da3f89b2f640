"""A training, read from top to bottom: the run, its epochs, their steps, validation, checkpoints, the model.

`setup` makes the parts of a run, `run_folder` writes what stays of it, `losses` counts.
"""

from __future__ import annotations

import shlex
import signal
import sys
import time
from dataclasses import astuple
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.utils import broadcast, gather_object
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor
from tqdm import tqdm

from busi_unet.data.prepared import leave_out, load_prepared, resplit
from busi_unet.data.torch_dataset import Batch
from busi_unet.errors import TrainingError, TrainingStopped, first_line
from busi_unet.inference.predictor import Predictor
from busi_unet.inference.torch_runtime import TorchRuntime
from busi_unet.models.folder import load_model
from busi_unet.models.unet import UNetOutput
from busi_unet.training.calibrate import calibrate_model, collect_held_out
from busi_unet.training.losses import Tally, combined_loss
from busi_unet.training.options import TrainOptions
from busi_unet.training.run_folder import (
    SELECTED_NAME,
    close_tracker,
    is_finished,
    load_checkpoint,
    log_overlays,
    open_run_folder,
    open_tracker,
    save_checkpoint,
    write_epoch,
    write_model,
)
from busi_unet.training.setup import (
    STOP_SIGNALS,
    TrainingRun,
    build_accelerator,
    check_data,
)

if TYPE_CHECKING:
    from datasets import DatasetDict


def train(options: TrainOptions) -> Path | None:
    """Train a network on the train split, select its epoch on the validation split, and save it calibrated.

    The test split is never read. With `no_validation` both other splits are trained on; nothing is selected
    or calibrated then, and the last epoch is the result.

    Everything random follows from the seed, the epoch and the image or step, so that a run ends with the
    same weights on one machine whether or not it was interrupted.

    Returns:
        The finished model folder; None on every process but the main one.

    Raises:
        UsageError: options that do not fit together, the machine or the run folder.
        DataLayoutError: the data set cannot be used.
        TrainingError: the run cannot be resumed, its folder cannot be written, its loss is not finite, or a
            forward pass does not fit into memory.
        TrainingStopped: SIGTERM or SIGINT came after the first step; the checkpoint holds all steps done.
    """
    accelerator = build_accelerator(options)
    try:
        data = load_prepared(options.data)
        if options.fold is not None:
            data = resplit(data, options.fold)
        elif options.leave_out is not None:
            data = leave_out(data, options.leave_out)
        check_data(options, data)
        open_run_folder(options, accelerator, data)
        run = TrainingRun(options, accelerator, data)
        if options.resume:
            load_checkpoint(options.output, run.parts())
        if not accelerator.is_main_process:
            # The checkpoint counts the images of all processes.
            run.progress.tally = Tally()
        open_tracker(options, accelerator, resumed_at=run.progress.epoch)
        fit(run)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process and not is_finished(options.output):
            finish(run, data)
        accelerator.wait_for_everyone()
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
        raise TrainingError(
            f"Out of memory: {first_line(error)}.",
            f"Use a larger --accumulate than {options.accumulate}, with --resume if there is a checkpoint, "
            "or a smaller --size or --encoder.",
        ) from error
    finally:
        close_tracker(accelerator)
    return options.output / "model" if accelerator.is_main_process else None


def fit(run: TrainingRun) -> None:
    """Train the epochs that are left; each ends with validation, selection and a checkpoint."""
    options, progress, accelerator = run.options, run.progress, run.accelerator
    tell_plan(run)
    bar = tqdm(
        total=options.epochs * run.steps_per_epoch,
        initial=progress.epoch * run.steps_per_epoch + progress.step,
        desc="train",
        unit="step",
        disable=not accelerator.is_main_process,
    )
    with bar, StopSignals() as signals:
        while progress.epoch < options.epochs:
            if progress.epoch - progress.best_epoch >= options.patience:
                tell(run, f"No better epoch since {progress.best_epoch}: stopping early.")
                break
            train_epoch(run, signals, bar)
            started = time.monotonic()
            schedule, first_step = run.scheduler, progress.epoch * run.steps_per_epoch
            row = {"learning_rate": schedule.base_lrs[0] * schedule.lr_lambdas[0](first_step)}
            row |= total(progress.tally, accelerator).means("train")
            row |= validate(run).means("validation")
            progress.seconds += time.monotonic() - started
            better = progress.finish_epoch(row)
            write_epoch(run, selected=better)
            # Before the checkpoint: a resumed run logs again what comes after its checkpoint.
            logged = {name: value for name, value in row.items() if value is not None}
            accelerator.log(logged, step=progress.epoch)
            save(run)
            if run.validation_loader is not None:
                log_overlays(accelerator, run.ema.module, run.validation_loader.dataset, progress.epoch)
            tell_epoch(run)
            stop_if_told(run, signals)


def tell_plan(run: TrainingRun) -> None:
    """Tell which images are trained on and which choose the epoch."""
    images, options = run.made_on["images"], run.options
    trained = images["train"] + (images["validation"] if options.no_validation else 0)
    choice = "the last epoch becomes the model"
    if not options.no_validation:
        choice = f"{images['validation']} validation images choose the epoch that becomes the model"
    tell(
        run,
        f"Training on {trained} images for {options.epochs} epoch{'s' * (options.epochs > 1)}; {choice}. "
        f"{images['test']} test images stay unseen.",
    )


def tell_epoch(run: TrainingRun) -> None:
    """Tell what the epoch that has just ended gave, and which is the best so far."""
    options, progress = run.options, run.progress
    row, told = progress.history[-1], []
    for part in ("train",) if options.no_validation else ("train", "validation"):
        keys = {"loss": f"{part}_loss", "Dice": f"{part}_dice", "accuracy": f"{part}_accuracy"}
        known = [f"{title} {row[key]:.3f}" for title, key in keys.items() if row[key] is not None]
        told.append(f"{part} {', '.join(known)}")
    if not options.no_validation:
        told.append(f"best so far: epoch {progress.best_epoch}")
    tell(run, f"Epoch {progress.epoch} of {options.epochs}: {'; '.join(told)}")


def tell(run: TrainingRun, text: str) -> None:
    """Print on stderr, above the bar, on the main process."""
    if run.accelerator.is_main_process:
        tqdm.write(text, file=sys.stderr)


def train_epoch(run: TrainingRun, signals: StopSignals, bar: tqdm) -> None:
    """Take the optimizer steps that are left of the running epoch."""
    accelerator, options, progress = run.accelerator, run.options, run.progress
    run.train_loader.dataset.epoch = progress.epoch
    run.model.train()
    passes = progress.step * options.accumulate
    clock = time.monotonic()
    for index, batch in enumerate(skip_first_batches(run.train_loader, passes), start=passes):
        batch = Batch(*batch)
        # Dropout; with the order and the augmentation, all that is random.
        place = (options.seed, progress.epoch, index, accelerator.process_index)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        with accelerator.accumulate(run.model):
            with accelerator.autocast():
                # accelerate passes named tuples on as plain ones.
                output = UNetOutput(*run.model(batch.image))
            loss = combined_loss(
                output, batch, class_weight=options.class_weight, label_smoothing=options.label_smoothing
            )
            require_finite(run, loss, batch)
            accelerator.backward(loss.mean())
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(run.model.parameters(), 1.0)
            run.optimizer.step()
            run.optimizer.zero_grad()
        progress.tally.add(output, batch, loss.detach())
        if accelerator.sync_gradients:
            run.scheduler.step()
            run.ema.update_parameters(accelerator.unwrap_model(run.model))
            progress.step += 1
            progress.seconds += time.monotonic() - clock
            clock = time.monotonic()
            bar.update()
            save_if_due(run)
            stop_if_told(run, signals)


@torch.inference_mode()
def validate(run: TrainingRun) -> Tally:
    """Return the tally of the weight average on the validation images; empty without validation."""
    tally = Tally()
    run.ema.eval()
    # Where batch statistics are each process's own, all validate what the first one saves.
    broadcast(run.ema.state_dict())
    for batch in run.validation_loader or ():
        batch = Batch(*batch)
        with run.accelerator.autocast():
            output = UNetOutput(*run.ema(batch.image))
        loss = combined_loss(output, batch, class_weight=run.options.class_weight, label_smoothing=0)
        tally.add(output, batch, loss)
    return total(tally, run.accelerator)


def require_finite(run: TrainingRun, loss: Tensor, batch: Batch) -> None:
    """Stop all processes where one has a loss (N,) that is not finite; the error names its images."""
    bad = ~loss.isfinite()
    if not highest(int(bad.any()), run.accelerator):
        return
    image_ids = run.train_loader.dataset.image_ids
    names = gather_object([image_ids[index] for index in batch.index[bad].tolist()])
    values = gather_object(loss[bad].tolist())
    raise TrainingError(
        f"The loss of epoch {run.progress.epoch + 1} is {values[0]} for: {', '.join(names)}.",
        "Check these images, or start again in another --output with a lower --learning-rate.",
    )


def save(run: TrainingRun) -> None:
    """Write the checkpoint."""
    everything = total(run.progress.tally, run.accelerator)
    if run.accelerator.is_main_process:
        run.progress.tally = everything
        save_checkpoint(run.options.output, run.parts())
    else:
        run.progress.tally = Tally()
    run.saved_at = time.monotonic()


def save_if_due(run: TrainingRun) -> None:
    """Write a checkpoint within an epoch where the last one is long ago."""
    due = time.monotonic() - run.saved_at >= 60 * run.options.checkpoint_minutes
    if highest(due, run.accelerator):
        save(run)


def stop_if_told(run: TrainingRun, signals: StopSignals) -> None:
    """Save, and end all processes at the same step, where one of them was told to stop."""
    if number := highest(signals.received, run.accelerator):
        save(run)
        raise stopped(run, number)


def finish(run: TrainingRun, data: DatasetDict) -> None:
    """Make the model of a trained run: the weights of the selected epoch, calibrated, with their record.

    The checkpoint holds all that is needed to do so again after a stop.
    """
    with StopSignals(at_once=True) as signals:
        try:
            # Rounded as a model folder rounds weights.
            model, config, _ = load_model(run.options.output / SELECTED_NAME)
            predictor = Predictor(TorchRuntime(model, str(run.accelerator.device)), config)
            unseen, fitted = None, "which images to refuse (out of distribution)"
            if not run.options.no_validation:
                fitted = f"probabilities and thresholds on the validation images (calibrate); {fitted}"
            print(f"The weights are final. Still to fit: {fitted}.", file=sys.stderr)
            if not run.options.no_validation:
                unseen = collect_held_out([(predictor, data["validation"])])
            config, ood = calibrate_model(predictor, data, unseen)
            if ood is None:
                print(
                    "warning: fewer than 100 images, too few to learn which are out of distribution: the "
                    "model will refuse blank images only.",
                    file=sys.stderr,
                )
            write_model(run, model.cpu(), config, ood)
        except KeyboardInterrupt:
            raise stopped(run, signals.received) from None


def stopped(run: TrainingRun, number: int) -> TrainingStopped:
    """Return how far the checkpoint goes, and the command to continue from it after a signal."""
    progress = run.progress
    arguments = [argument for argument in sys.argv if argument != "--resume"] + ["--resume"]
    launcher = "python" if run.accelerator.num_processes == 1 else "(the same launcher)"
    return TrainingStopped(
        number,
        f"{signal.Signals(number).name} received; the checkpoint in {run.options.output} holds "
        f"{progress.epoch} of {run.options.epochs} epochs, {progress.step} of {run.steps_per_epoch} steps.",
        f"Continue with: {launcher} {shlex.join(arguments)}",
    )


def highest(value: int, accelerator: Accelerator) -> int:
    """Return the maximum over the processes: what one of them wants or sees, all know."""
    if accelerator.num_processes == 1:
        return value
    return int(accelerator.gather(torch.tensor([value], device=accelerator.device)).max())


def total(tally: Tally, accelerator: Accelerator) -> Tally:
    """Return what all processes counted."""
    if accelerator.num_processes == 1:
        return tally
    sums = torch.tensor(astuple(tally), dtype=torch.float64, device=accelerator.device)
    return Tally(*accelerator.reduce(sums).tolist())


class StopSignals:
    """Inside its `with` block, SIGTERM and SIGINT are noted in `received` instead of ending the process.

    The first one counts, because launchers pass on what a terminal has already sent to everyone. With
    `at_once` it raises KeyboardInterrupt as well, for work that may break off anywhere.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once, self.received = at_once, 0

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.received:
            return
        self.received = number
        if self.at_once:
            # No Exception, which a decoder might take for a damaged image.
            raise KeyboardInterrupt
