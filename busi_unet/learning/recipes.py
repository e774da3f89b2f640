"""Recipes side by side: the same folds, trained with one thing changed, judged on their validation images.

folder of trials
├── <recipe>
│   ├── fold-1        a run of train.py: --fold 0 --validation-fold 1
│   └── fold-2        …
└── <another recipe>

Epoch, thresholds and temperature are chosen on the same validation images, so that every figure is a little
too good, and alike so for every recipe. Test images are never judged.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from busi_unet.bundle import load_config
from busi_unet.errors import UsageError
from busi_unet.learning.evaluation import evaluate
from busi_unet.learning.options import TrainOptions
from busi_unet.learning.summary import ImageResult, compare, read_rows, summarise
from busi_unet.learning.unseen import hashes, split_for
from busi_unet.predictor import Predictor
from busi_unet.version import commit

if TYPE_CHECKING:
    from datasets import DatasetDict

FIGURES = (
    "lesion_dice",
    "malignant_dice",
    "lesion_missed_share",
    "normal_false_mask_share",
    "accuracy",
    "macro_f1",
    "auc_malignant",
    "malignant_specificity",
    "ece",
)
# What says nothing about the recipe.
_NO_PART = {"data", "output", "resume", "fold", "validation_fold", "workers", "checkpoint_minutes", "tracker"}
# It takes no part in any trial, so that it can still judge the recipe that is chosen.
_TEST_FOLD = 0
_TIMED_PASSES = 12


def compare_recipes(
    folder: Path,
    data: DatasetDict,
    *,
    baseline: str,
    seed: int = 0,
    resamples: int = 2000,
    progress: bool = True,
) -> dict[str, Any]:
    """Judges every trial, and each recipe against the baseline, in pairs on the same images.

    A trial that was judged before is read back from its report folder, `validation` beside its model.

    Args:
        folder: laid out as at the head of this module.
        data: the prepared data set that the trials were made on.
        baseline: name of the recipe that the others are changes of.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        progress: shows bars on stderr.

    Returns:
        JSON-ready: `baseline`, `folds` (those that validated), `images`, `commit`, `bootstrap` and, by
        recipe, `changed` (options that differ from the baseline's), `estimates`, `differences` (figures less
        those of the baseline), `parameters`, `time` (of a forward pass, as a multiple of the baseline's) and
        `minutes` (of training, all folds together).

    Raises:
        UsageError: no such folder or baseline, a recipe that lacks a fold of the baseline's, or a model that
            was made on other data or folds, or trained on the images to judge it on.
        IncompatibleBundleError: a model folder that cannot be read.
    """
    trials = _trials(folder)
    if baseline not in trials:
        raise UsageError(
            f"{folder} holds no recipe {baseline}.", f"It has: {', '.join(trials) or 'no finished trial'}."
        )
    folds = sorted(trials[baseline])
    for name, runs in trials.items():
        if sorted(runs) != folds:
            raise UsageError(
                f"{name} was tried on {', '.join(sorted(runs))}, {baseline} on {', '.join(folds)}.",
                "Train both on the same folds, or move one of them elsewhere.",
            )
    rows = {
        name: [row for fold in folds for row in _judge(runs[fold], data, progress)]
        for name, runs in trials.items()
    }
    options = {name: _options(runs[folds[0]]) for name, runs in trials.items()}
    models = {
        name: Predictor.from_pretrained(runs[folds[0]] / "model").model for name, runs in trials.items()
    }
    sizes = {name: options[name]["size"] for name in trials}
    times = _times(models, sizes)
    recipes = {}
    for name, runs in trials.items():
        estimates = summarise(rows[name], seed=seed, resamples=resamples, names=FIGURES)
        differences = compare(rows[baseline], rows[name], seed=seed, resamples=resamples, names=FIGURES)
        recipes[name] = {
            "changed": {
                key: value for key, value in options[name].items() if value != options[baseline].get(key)
            },
            "estimates": {figure: asdict(estimates[figure]) for figure in FIGURES},
            "differences": {figure: asdict(differences[figure]) for figure in FIGURES},
            "parameters": sum(parameter.numel() for parameter in models[name].parameters()),
            "time": round(times[name] / times[baseline], 2),
            "minutes": round(sum(_seconds(run) for run in runs.values()) / 60),
        }
    return {
        "baseline": baseline,
        "folds": folds,
        "images": len(rows[baseline]),
        "commit": commit(),
        "bootstrap": {"seed": seed, "resamples": resamples},
        "recipes": recipes,
    }


def _trials(folder: Path) -> dict[str, dict[str, Path]]:
    """Run folders by recipe and fold, of the trials that ended with a model."""
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", "Name the folder that holds a folder per recipe.")
    trials: dict[str, dict[str, Path]] = {}
    for model in sorted(folder.glob("*/fold-*/model/config.json")):
        run = model.parents[1]
        trials.setdefault(run.parent.name, {})[run.name] = run
    return trials


def _judge(run: Path, data: DatasetDict, progress: bool) -> Sequence[ImageResult]:
    model, report = run / "model", run / "validation"
    split = split_for(load_config(model), data)
    if not split.own:
        raise UsageError(
            f"{model} was made on another split or on other data.", "Name the data set that it was made on."
        )
    if "validation" in split.trained_on:
        raise UsageError(
            f"{model} was trained on its validation images too: nothing unseen is left to judge it on.",
            "Compare runs without --refit.",
        )
    folds = {name: set(split.data[name]["fold"]) for name in ("test", "validation")}
    if folds["test"] != {_TEST_FOLD} or run.name not in {f"fold-{fold}" for fold in folds["validation"]}:
        raise UsageError(
            f"{run} was not trained with --fold {_TEST_FOLD} --validation-fold {run.name[5:]}.",
            "Name each run of a recipe by its validation fold, and keep the same fold out of all of them.",
        )
    made_with = {**hashes(model), "split": "validation"}
    if _judged(report / "metrics.json") == made_with["bundle_sha256"]:
        return read_rows(report / "per_image.csv")
    return evaluate(
        Predictor.from_pretrained(model),
        split.data["validation"],
        output=report,
        progress=progress,
        provenance=made_with,
    ).rows


def _judged(metrics: Path) -> str | None:
    """Hash of the model that a report is about; None where there is none."""
    try:
        return json.loads(metrics.read_text(encoding="utf-8"))["provenance"]["bundle_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _options(run: Path) -> dict[str, Any]:
    told = json.loads((run / "options.json").read_text(encoding="utf-8"))
    defaults = TrainOptions().to_dict()
    return {name: told.get(name, value) for name, value in defaults.items() if name not in _NO_PART}


def _seconds(run: Path) -> float:
    return json.loads((run / "manifest.json").read_text(encoding="utf-8"))["seconds"]


@torch.inference_mode()
def _times(models: dict[str, torch.nn.Module], sizes: dict[str, int]) -> dict[str, float]:
    """Shortest forward pass of one picture, seconds; turn by turn, so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(_TIMED_PASSES):
        for name, model in models.items():
            picture = torch.zeros(1, 1, sizes[name], sizes[name])
            started = time.perf_counter()
            model(picture)
            times[name].append(time.perf_counter() - started)
    return {name: min(taken) for name, taken in times.items()}
