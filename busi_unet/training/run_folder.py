"""What a run leaves on the disk.

run folder
├── options.json      what the run was told, and the hash of its split
├── checkpoint.pt     replaced after every epoch, within long ones, and when told to stop
├── history.csv, curves.png
├── best/, last/      model folders of the best epoch so far and of the last one, where that is selected
├── model/            the result: weights of the best epoch or the last, calibrated, thresholds chosen
└── manifest.json     versions, data, hardware, time, figures on validation
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from busi_unet.config import BundleConfig, Preprocess
from busi_unet.data.busi import split_hash
from busi_unet.errors import TrainingError, UsageError
from busi_unet.inference.predictor import Predictor
from busi_unet.io.files import replace_file
from busi_unet.models.pretrained import load_bundle, load_config, save_bundle
from busi_unet.training.calibrate import fit_guard_on, tune_on
from busi_unet.training.checkpoint import CHECKPOINT_NAME, has_checkpoint, writing
from busi_unet.training.curves import write_curves
from busi_unet.training.options import TrainOptions
from busi_unet.version import commit, versions

if TYPE_CHECKING:
    from accelerate import Accelerator
    from datasets import DatasetDict

    from busi_unet.training.setup import Run

_OPTIONS_NAME, _SPLIT, _COMMIT = "options.json", "split_sha256", "commit"


def open_run_folder(options: TrainOptions, accelerator: Accelerator, data: DatasetDict) -> None:
    """Makes the run folder; refuses to mix two runs in one.

    Raises:
        UsageError: the folder is a file, or it holds a run and this is no resumption, or one with other
            options or another split of the data.
        TrainingError: there is nothing to resume, it is damaged, or the folder cannot be written.
    """
    output = options.output
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file.", "Name a folder.")
    if (output / "dataset_dict.json").exists():
        raise UsageError(
            f"--output {output} is a data set.",
            "Name another folder: a new data set there would delete the run.",
        )
    split = split_hash(data)
    if options.resume:
        _require_same_run(options, split)
    elif is_finished(output) and not has_checkpoint(output):
        raise UsageError(
            f"{output} already holds a finished run, without its {CHECKPOINT_NAME}.", "Name another --output."
        )
    elif has_checkpoint(output):
        raise UsageError(
            f"{output} already holds a run.", "Add --resume to go on with it, or name another --output."
        )
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        started_at = _recorded(output).get(_COMMIT) if options.resume else commit()
        text = json.dumps({**options.to_dict(), _SPLIT: split, _COMMIT: started_at}, indent=2) + "\n"
        with writing(output):
            output.mkdir(parents=True, exist_ok=True)
            replace_file(output / _OPTIONS_NAME, lambda file: file.write(text.encode()))


def _require_same_run(options: TrainOptions, split: str) -> None:
    output, now = options.output, options.recipe()
    if not has_checkpoint(output):
        raise TrainingError(
            f"{output} holds no {CHECKPOINT_NAME} to resume from.", "Start it without --resume."
        )
    before = _recorded(output)
    if not is_finished(output):
        # Which epoch becomes the model is not asked before the end.
        del now["select"]
    changed = sorted(name for name in now if before.get(name) != now[name])
    if changed:
        listed = ", ".join(f"--{name.replace('_', '-')} was {before.get(name)}" for name in changed)
        raise UsageError(f"{output} was started with other options: {listed}.", "Resume with those.")
    if before.get(_SPLIT) != split:
        raise UsageError(
            f"{output} was started on another split of the data, so it may know the test images.",
            "Resume with the --data it was started with, or start anew in another --output.",
        )


def _recorded(output: Path) -> dict[str, Any]:
    path = output / _OPTIONS_NAME
    try:
        return {**json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"{path} is missing or damaged.", "Start anew in another --output.") from error


def keep_epoch(run: Run) -> None:
    """Compares the last epoch with the best one, keeps its weights if better, and redraws the curves.

    Raises:
        TrainingError: the run folder cannot be written.
    """
    progress = run.progress
    row = progress.history[-1]
    # Without validation the last epoch counts as the best.
    score = None if run.options.refit else ((row["validation_dice"] or 0) + row["validation_accuracy"]) / 2
    better = score is None or score > progress.best_score
    if better:
        progress.best_score, progress.best_epoch = score, progress.epoch
    if run.accelerator.is_main_process:
        with writing(run.options.output):
            if better:
                _save_average(run, "best")
            write_curves(run.options.output, progress.history)


def _save_average(run: Run, folder: str) -> None:
    """Writes the weight average as it is now, uncalibrated, into this folder of the run."""
    ema = run.ema.module
    config = BundleConfig(
        architecture=ema.architecture,
        preprocess=Preprocess(size=run.options.size),
        training={"data": run.made_on},
    )
    save_bundle(run.options.output / folder, ema, config)


def is_finished(output: Path) -> bool:
    """Whether `finish` came to its end: fitted again, the guard could differ in its last digits."""
    # The manifest is written last.
    return (output / "manifest.json").is_file() and (output / "model").is_dir()


def finish(run: Run, data: DatasetDict) -> None:
    """The weights of the selected epoch become the model: calibrated, thresholds chosen, manifest attached.

    Raises:
        TrainingError: the run folder cannot be written.
    """
    output = run.options.output
    if run.options.select == "last":
        # By way of the disk, as the best: weights are rounded there, and what is fitted shall fit these.
        with writing(output):
            _save_average(run, "last")
    model, config, _ = load_bundle(output / run.options.select)
    manifest = build_manifest(run)
    predictor = Predictor(model, config, device=str(run.accelerator.device))
    if run.options.refit:
        first = load_config(run.options.refit)
        calibration, thresholds = first.calibration, first.thresholds
        manifest["refit_of"] = first.training
    else:
        calibration, thresholds = tune_on(predictor, data["validation"])
    guard, limit = fit_guard_on(predictor, data) or (None, None)
    calibration = replace(calibration, refuse_beyond=limit)
    config = replace(config, calibration=calibration, thresholds=thresholds, training=manifest)
    text = json.dumps(manifest, indent=2) + "\n"
    with writing(output):
        save_bundle(output / "model", model.cpu(), config, guard)
        replace_file(output / "manifest.json", lambda file: file.write(text.encode()))


def build_manifest(run: Run) -> dict[str, Any]:
    """How the weights came about; it travels in `config.json`. The commit is that at which the run began."""
    accelerator, progress = run.accelerator, run.progress
    kept = progress.epoch if run.options.select == "last" else progress.best_epoch
    validated = progress.history[kept - 1]
    options = run.options.recipe()
    if run.options.refit:
        del options["init"]
    return {
        "options": options,
        "data": run.made_on,
        "kept_epoch": kept,
        "epochs": progress.epoch,
        "validation": None
        if run.options.refit
        else {name: round(validated[f"validation_{name}"], 4) for name in ("loss", "dice", "accuracy")},
        "seconds": round(progress.seconds),
        "hardware": {
            "device": accelerator.device.type,
            "processes": accelerator.num_processes,
            "images_per_pass": run.options.batch_size // (accelerator.num_processes * run.options.accumulate),
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "machine": platform.machine(),
        },
        "commit": _recorded(run.options.output).get(_COMMIT),
        "versions": versions("accelerate", "datasets", "numpy", "pillow", "scipy", "torch"),
    }
