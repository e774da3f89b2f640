"""What a run leaves on disk, and nothing else.

run folder
├── options.json      what the run was told when it began, its commit, and the hash of its split
├── checkpoint.pt     replaced after every epoch, within long ones, and when told to stop
├── history.csv, curves.png
├── selected/         model folder of the selected epoch so far, not calibrated
├── model/            the result: weights of the selected epoch, calibrated
├── manifest.json     options, data, hardware, time, metrics on validation, versions
└── tensorboard/ or trackio/ (TRACKIO_DIR names another place): curves, and overlays on an image of each class

A resumed run continues there; TensorBoard drops what was logged after the checkpoint, trackio keeps both.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from busi_unet.config import CLASS_NAMES, ModelConfig
from busi_unet.data.prepared import split_hash
from busi_unet.data.torch_dataset import LesionDataset
from busi_unet.errors import MissingDependencyError, TrainingError, UsageError, first_line
from busi_unet.evaluation.plots import BLUE, VERMILLION
from busi_unet.evaluation.report import write_csv
from busi_unet.imaging.overlay import draw_agreement
from busi_unet.io.files import replace_file
from busi_unet.models.folder import save_model
from busi_unet.models.ood import OodDetector
from busi_unet.models.unet import UNet
from busi_unet.training.options import TrainOptions
from busi_unet.version import commit, versions

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import DatasetDict

    from busi_unet.training.setup import TrainingRun

OPTIONS_NAME, CHECKPOINT_NAME, MANIFEST_NAME = "options.json", "checkpoint.pt", "manifest.json"
SELECTED_NAME = "selected"
HISTORY_NAME, CURVES_NAME = "history.csv", "curves.png"


def open_run_folder(options: TrainOptions, accelerator: Accelerator, data: DatasetDict) -> None:
    """Make the run folder; refuse to mix two runs in one.

    Raises:
        UsageError: the folder holds a data set, or a run and this is no resumption, or one with other options
            or another split of the data.
        TrainingError: there is nothing to resume, it is damaged, or the folder cannot be written.
    """
    output, split = options.output, split_hash(data)
    if options.resume:
        _require_same_run(options, split)
        return
    if (output / "dataset_dict.json").exists():
        raise UsageError(
            f"--output {output} is a data set.",
            "Name another folder: a new data set there would delete the run.",
        )
    if has_checkpoint(output) or is_finished(output):
        raise UsageError(
            f"{output} already holds a run.", "Add --resume to continue it, or name another --output."
        )
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        with writing(output):
            output.mkdir(parents=True, exist_ok=True)
            told = {**options.model_dump(mode="json"), "split_sha256": split, "commit": commit()}
            _write_json(output / OPTIONS_NAME, told)


def _require_same_run(options: TrainOptions, split: str) -> None:
    output, now = options.output, options.recipe()
    if not has_checkpoint(output):
        raise TrainingError(
            f"{output} holds no {CHECKPOINT_NAME} to resume from.",
            "Start it without --resume, in another --output if a run is in this one.",
        )
    before = _recorded(output)
    changed = sorted(name for name in now if before.get(name) != now[name])
    if changed:
        listed = ", ".join(f"--{name.replace('_', '-')} was {before.get(name)}" for name in changed)
        raise UsageError(f"{output} was started with other options: {listed}.", "Resume with those.")
    if before.get("split_sha256") != split:
        raise UsageError(
            f"{output} was started on another split of the data, so it may know the test images.",
            "Resume with the --data and --fold it was started with, or start again in another --output.",
        )


def _recorded(output: Path) -> dict[str, Any]:
    path = output / OPTIONS_NAME
    try:
        return {**json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"{path} is missing or damaged.", "Start again in another --output.") from error


@contextlib.contextmanager
def writing(run: Path) -> Iterator[None]:
    """Turn an OSError into a TrainingError that says whether there is a checkpoint to continue from."""
    try:
        yield
    except OSError as error:
        kept, again = "there is no checkpoint yet", "start again"
        if has_checkpoint(run):
            kept, again = "its last checkpoint is intact", "continue with --resume"
        raise TrainingError(
            f"The run folder {run} cannot be written ({first_line(error)}); {kept}.",
            f"Check the space on the disk and the folder's permissions, then {again}.",
        ) from error


def has_checkpoint(run: Path) -> bool:
    return (run / CHECKPOINT_NAME).is_file()


def save_checkpoint(run: Path, parts: Mapping[str, Any]) -> None:
    """Replace the checkpoint of a run folder by the `state_dict()` of each named part."""
    # Not straight to the file: of a full disk torch only says that its own position there is unexpected.
    content = io.BytesIO()
    torch.save({name: part.state_dict() for name, part in parts.items()}, content)
    with writing(run):
        replace_file(run / CHECKPOINT_NAME, lambda file: file.write(content.getbuffer()))


def load_checkpoint(run: Path, parts: Mapping[str, Any]) -> None:
    """Restore the named parts by their `load_state_dict`."""
    path = run / CHECKPOINT_NAME
    try:
        with zipfile.ZipFile(path) as archive:
            # torch writes checksums but does not compare them.
            if (bad := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{bad} has changed")
        states = torch.load(path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(states[name])
    except Exception as error:
        raise TrainingError(
            f"{path} is damaged, or of another version ({type(error).__name__}: {first_line(error)}).",
            "Start again in another --output.",
        ) from error


def write_epoch(run: TrainingRun, *, selected: bool) -> None:
    """Write the curves, and of a selected epoch the weight average; on the main process only."""
    if not run.accelerator.is_main_process:
        return
    output, ema = run.options.output, run.ema.module
    with writing(output):
        if selected:
            config = ModelConfig(ema.architecture, run.options.preprocess, training={"data": run.made_on})
            save_model(output / SELECTED_NAME, ema, config)
        write_csv(output / HISTORY_NAME, run.progress.history)
        draw_curves(output / CURVES_NAME, run.progress.history)


def draw_curves(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw losses, Dice and accuracy, None where there is none, over the epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    epochs = [row["epoch"] for row in history]
    panels = {"loss": "Loss", "dice": "Dice on lesion images", "accuracy": "Accuracy over three classes"}
    for axes, (key, title) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for part, style, color in (("train", "--", BLUE), ("validation", "-", VERMILLION)):
            values = [row[f"{part}_{key}"] for row in history]
            values = [float("nan") if value is None else value for value in values]
            axes.plot(epochs, values, style, color=color, marker=".", label=part)
        axes.set(title=title, xlabel="epoch")
        if key != "loss":
            axes.set_ylim(0, 1)
        axes.grid(alpha=0.3)
        axes.legend()
    replace_file(path, lambda file: figure.savefig(file, format="png", dpi=110))


def is_finished(output: Path) -> bool:
    """Return whether `write_model` came to its end."""
    # The manifest is written last.
    return (output / MANIFEST_NAME).is_file() and (output / "model").is_dir()


def write_model(run: TrainingRun, model: UNet, config: ModelConfig, ood: OodDetector | None) -> None:
    """Write the result of a run: a model on the CPU, its calibrated config, and the manifest."""
    output = run.options.output
    manifest = build_manifest(run)
    with writing(output):
        save_model(output / "model", model, replace(config, training=manifest), ood)
        _write_json(output / MANIFEST_NAME, manifest)


def build_manifest(run: TrainingRun) -> dict[str, Any]:
    """Return how the weights came about; it travels in `config.json`. The commit is where the run began."""
    accelerator, progress = run.accelerator, run.progress
    kept = progress.history[progress.best_epoch - 1]
    measured = {name: kept[f"validation_{name}"] for name in ("loss", "dice", "accuracy")}
    return {
        "options": run.options.recipe(),
        "data": run.made_on,
        "kept_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        # None what the images do not tell: of those without masks the Dice, without classes the accuracy.
        "validation": None
        if run.options.no_validation
        else {name: value if value is None else round(value, 4) for name, value in measured.items()},
        "seconds": round(progress.seconds),
        "hardware": {
            "device": accelerator.device.type,
            "processes": accelerator.num_processes,
            "images_per_pass": run.images_per_pass,
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "machine": platform.machine(),
        },
        "commit": _recorded(run.options.output).get("commit"),
        "versions": versions("accelerate", "datasets", "numpy", "pillow", "scipy", "torch"),
    }


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    text = json.dumps(values, indent=2) + "\n"
    replace_file(path, lambda file: file.write(text.encode()))


# --- TensorBoard and trackio ---------------------------------------------------------------------


def open_tracker(options: TrainOptions, accelerator: Accelerator, *, resumed_at: int) -> None:
    """Start the tracker that was asked for, if any; `resumed_at` counts the epochs of the checkpoint."""
    if options.tracker == "none":
        return
    if not accelerator.log_with:
        raise MissingDependencyError(
            f"The tracker {options.tracker} is not installed.", 'Run: pip install "busi-unet[trackers]"'
        )
    # trackio reads it when it is first imported.
    os.environ.setdefault("TRACKIO_DIR", str((options.output / "trackio").resolve()))
    settings = {
        "tensorboard": {"purge_step": resumed_at + 1},
        # Where several runs share a folder, one of the same name may be another run.
        "trackio": {
            "name": options.output.resolve().name,
            "resume": "allow" if options.resume else "never",
            "config": options.model_dump(mode="json"),
        },
    }
    name = "tensorboard" if options.tracker == "tensorboard" else "busi_unet"
    with contextlib.redirect_stdout(sys.stderr):
        accelerator.init_trackers(name, init_kwargs=settings)


@torch.inference_mode()
def log_overlays(accelerator: Accelerator, model: nn.Module, dataset: LesionDataset, epoch: int) -> None:
    """Log where prediction and reference agree on the first image of every class."""
    if not (accelerator.trackers and accelerator.is_main_process):
        return
    (tracker,) = accelerator.trackers
    for label, name in enumerate(CLASS_NAMES):
        for index in np.flatnonzero(dataset.labels == label)[:1]:
            item = dataset[index]
            with accelerator.autocast():
                mask_logits, _ = model(item.image[None].to(accelerator.device))
            predicted = (mask_logits[0, 0] > 0).cpu().numpy()
            overlay = draw_agreement(dataset.images[index], predicted, item.mask[0].numpy() > 0)
            if tracker.name == "tensorboard":
                tracker.log_images({f"overlays/{name}": np.asarray(overlay)[None]}, epoch, dataformats="NHWC")
            else:
                import trackio

                tracker.log({f"overlays/{name}": trackio.Image(overlay)}, epoch)


def close_tracker(accelerator: Accelerator) -> None:
    """Write out what is still held back and end the run; stdout is kept for results."""
    names = [tracker.name for tracker in accelerator.trackers]
    with contextlib.redirect_stdout(sys.stderr):
        accelerator.end_training()
        if "trackio" in names and accelerator.is_main_process:
            import trackio

            # It would otherwise finish the run once more at exit, and say so on stdout.
            trackio.finish()
