"""Recipes side by side: the same folds, trained with one thing changed, judged on their validation images.

folder of trials
├── <recipe>
│   ├── fold-1        a run of train.py: --fold 0 --validation-fold 1
│   └── fold-2        …
└── <another recipe>

Epoch, thresholds and temperature are chosen on the same validation images, so that every figure is a little
too good, and alike so for every recipe. Test images are never judged.

Beside the recipes stand other ways to use the networks: the baseline without its presence rule, the baseline
with mirror images, all recipes with its encoder and input size together, and the mean of the weights of those
that started from the same.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from busi_unet.training.averaging import average_models

from busi_unet.errors import UsageError
from busi_unet.evaluation.evaluate import data_hash, evaluate
from busi_unet.evaluation.leakage import hashes, split_for
from busi_unet.evaluation.summary import ImageResult, compare, read_rows, summarise
from busi_unet.inference.ensemble import Ensemble
from busi_unet.inference.predictor import Predictor
from busi_unet.models.pretrained import load_config, weights_hash
from busi_unet.training.calibrate import calibrate_on
from busi_unet.training.options import TrainOptions
from busi_unet.version import commit

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

FIGURES = (
    "lesion_dice",
    "malignant_dice",
    "lesion_missed_share",
    "normal_false_mask_share",
    "accuracy",
    "macro_f1",
    "auc_malignant",
    "malignant_sensitivity",
    "malignant_specificity",
    "ece",
)
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
        JSON-ready: `baseline`, `baseline_options` (those that differ from the defaults), `folds` (those that
        validated), `images`, `commits` (by which they were judged), `bootstrap`, and by name
        `recipes` and `uses`, each with `estimates`, `differences` (figures less those of the baseline) and
        `time` (of the forward passes of a picture, as a multiple of the baseline's). A recipe has `changed`
        (options that differ from the baseline's), `parameters` and `minutes` (of training, all folds
        together), too.

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
    options = {name: _options_of(name, runs) for name, runs in trials.items()}
    held_out = {name: [_held_out(runs[fold], data) for fold in folds] for name, runs in trials.items()}
    commits: set[str] = set()

    def judged(trial: _Trial, name: str) -> Sequence[ImageResult]:
        found, by = _judge(trial, name, progress)
        commits.add(by or "not recorded")
        return found

    rows = {name: [row for trial in held_out[name] for row in judged(trial, "validation")] for name in trials}
    models = {name: held_out[name][0].predictor.model for name in trials}
    times = _times(models, {name: options[name]["size"] for name in trials})

    def figures(found: Sequence[ImageResult], time: float) -> dict[str, Any]:
        estimates = summarise(found, seed=seed, resamples=resamples, names=FIGURES)
        differences = compare(rows[baseline], found, seed=seed, resamples=resamples, names=FIGURES)
        return {
            "estimates": {figure: asdict(estimates[figure]) for figure in FIGURES},
            "differences": {figure: asdict(differences[figure]) for figure in FIGURES},
            "time": round(time / times[baseline], 2),
        }

    recipes = {
        name: {
            "changed": _changes(options[name], options[baseline]),
            **figures(rows[name], times[name]),
            "parameters": sum(parameter.numel() for parameter in models[name].parameters()),
            "minutes": round(sum(_seconds(run) for run in runs.values()) / 60),
        }
        for name, runs in trials.items()
    }
    alike = [
        name
        for name in [baseline, *(other for other in trials if other != baseline)]
        if all(options[name][key] == options[baseline][key] for key in ("encoder", "width", "size"))
    ]
    related = [
        name
        for name in alike
        if all(options[name][key] == options[baseline][key] for key in ("init", "seed"))
    ]
    uses = {}
    for name, use in _uses(alike, related, baseline, data, progress).items():
        found = [
            row
            for index in range(len(folds))
            for row in judged(use.made_of({key: held_out[key][index] for key in trials}), name)
        ]
        uses[name] = figures(found, sum(times[key] for key in use.passes))
    return {
        "baseline": baseline,
        "baseline_options": _changes(options[baseline], TrainOptions().recipe()),
        "folds": folds,
        "images": len(rows[baseline]),
        "commits": sorted(commits),
        "bootstrap": {"seed": seed, "resamples": resamples},
        "recipes": recipes,
        "uses": uses,
    }


class _Trial(NamedTuple):
    """A trained network, or several as one, and what to judge it on.

    Attributes:
        run: folder that reports are kept beside each other in.
        predictor: with calibration and thresholds for `images`.
        images: the validation split.
        made_with: which model and split these are, for the provenance of the figures.
    """

    run: Path
    predictor: Predictor
    images: Dataset
    made_with: dict[str, Any]


class _Use(NamedTuple):
    """A way to use trained networks: from the trials of one fold, by recipe, to what is judged.

    Attributes:
        made_of: that.
        passes: recipes whose network takes a forward pass, once for each pass.
    """

    made_of: Callable[[Mapping[str, _Trial]], _Trial]
    passes: Sequence[str]


def _trials(folder: Path) -> dict[str, dict[str, Path]]:
    """Run folders by recipe and fold, of the trials that ended with a model."""
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", "Name the folder that holds a folder per recipe.")
    trials: dict[str, dict[str, Path]] = {}
    for model in sorted(folder.glob("*/fold-*/model/config.json")):
        run = model.parents[1]
        trials.setdefault(run.parent.name, {})[run.name] = run
    return trials


def _held_out(run: Path, data: DatasetDict) -> _Trial:
    model = run / "model"
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
    return _Trial(
        run,
        Predictor.from_pretrained(model),
        split.data["validation"],
        {**hashes(model), "split": "validation"},
    )


def _judge(trial: _Trial, name: str, progress: bool) -> tuple[Sequence[ImageResult], str | None]:
    """The rows of a report that is there already or of a new one, and the commit that judged them."""
    report = trial.run / name
    before = _provenance(report / "metrics.json")
    if before.get("bundle_sha256") == trial.made_with["bundle_sha256"]:
        rows = read_rows(report / "per_image.csv")
        # What is fitted here is fitted by the code of today.
        stale = isinstance(trial.predictor, Ensemble) and before.get("commit") != _known_commit()
        same = before.get("data_sha256") == data_hash(trial.images)
        if same and not stale and [row.image_id for row in rows] == list(trial.images["image_id"]):
            return rows, before.get("commit")
    predictor = trial.predictor
    if isinstance(predictor, Ensemble):
        calibration, thresholds = calibrate_on(predictor, trial.images, progress=progress)
        calibration = replace(calibration, refuse_beyond=predictor.config.calibration.refuse_beyond)
        predictor.config = replace(predictor.config, calibration=calibration, thresholds=thresholds)
    found = evaluate(predictor, trial.images, output=report, progress=progress, provenance=trial.made_with)
    return found.rows, found.provenance["commit"]


def _uses(
    alike: Sequence[str], related: Sequence[str], baseline: str, data: DatasetDict, progress: bool
) -> dict[str, _Use]:
    """By name, under which each leaves a report beside the baseline's model.

    Args:
        alike: recipes whose networks give maps of one size, the baseline among them.
        related: those of them that started from the same weights.
        baseline: its name.
        data: what the trials were made on.
        progress: shows bars on stderr.
    """

    def used(trial: _Trial, predictor: Predictor, how: str) -> _Trial:
        # Not the model's own hash: its figures are others.
        made_with = {**trial.made_with, "bundle_sha256": f"{trial.made_with['bundle_sha256']} {how}"}
        return trial._replace(predictor=predictor, made_with=made_with)

    def ungated(trials: Mapping[str, _Trial]) -> _Trial:
        trial = trials[baseline]
        config = trial.predictor.config
        thresholds = replace(config.thresholds, presence=0.0)
        always = Predictor(
            trial.predictor.model, replace(config, thresholds=thresholds), trial.predictor.guard
        )
        return used(trial, always, "without presence rule")

    def mirrored(trials: Mapping[str, _Trial]) -> _Trial:
        trial = trials[baseline]
        return used(trial, Ensemble([trial.predictor], mirror=True), "with mirror image")

    def together(trials: Mapping[str, _Trial]) -> _Trial:
        trial = trials[baseline]
        members = [trials[name] for name in alike]
        made_of = " ".join(member.made_with["bundle_sha256"] for member in members)
        return trial._replace(
            predictor=Ensemble([member.predictor for member in members]),
            made_with={**trial.made_with, "bundle_sha256": made_of},
        )

    def averaged(trials: Mapping[str, _Trial]) -> _Trial:
        trial = trials[baseline]
        models = [trials[name].run / "model" for name in related]
        # Another set of members, or other code, makes another model.
        parts = [commit() or "", *(weights_hash(model) for model in models)]
        output = trial.run / f"averaged-{sha256(' '.join(parts).encode()).hexdigest()[:12]}"
        if output.exists() and _known_commit() == "unknown":
            shutil.rmtree(output)
        if not output.exists():
            average_models(models, data, output, progress=progress)
        return trial._replace(
            predictor=Predictor.from_pretrained(output), made_with={**trial.made_with, **hashes(output)}
        )

    uses = {
        "without_presence_rule": _Use(ungated, [baseline]),
        "with_mirror_image": _Use(mirrored, [baseline, baseline]),
    }
    if len(alike) > 1:
        uses["all_recipes_together"] = _Use(together, alike)
    if len(related) > 1:
        uses["with_averaged_weights"] = _Use(averaged, [baseline])
    return uses


def _known_commit() -> str:
    """The commit of this code; where it is no commit's alone, a text that no report holds."""
    found = commit()
    return "unknown" if found is None or found.endswith("-dirty") else found


def _provenance(metrics: Path) -> dict[str, Any]:
    """What a report says that it comes from; empty where there is none."""
    try:
        return dict(json.loads(metrics.read_text(encoding="utf-8"))["provenance"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _options_of(name: str, runs: Mapping[str, Path]) -> dict[str, Any]:
    """The options of a recipe, the same in all of its runs but for the folder of the start weights."""
    defaults = TrainOptions().recipe()
    options = {}
    for fold, run in runs.items():
        told = json.loads((run / "options.json").read_text(encoding="utf-8"))
        options[fold] = {option: told.get(option, default) for option, default in defaults.items()}
        # Start weights that learned from a fold's own training images are alike in that.
        options[fold]["init"] = options[fold]["init"].replace(fold, "fold-K")
    first, *others = options
    for other in others:
        changed = sorted(_changes(options[other], options[first]))
        if changed:
            raise UsageError(
                f"{name} was trained with another {', '.join(changed)} on {other} than on {first}.",
                "Train all folds of a recipe alike, or name them two recipes.",
            )
    return options[first]


def _changes(options: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value != base.get(name)}


def _seconds(run: Path) -> float:
    return json.loads((run / "manifest.json").read_text(encoding="utf-8"))["seconds"]


@torch.inference_mode()
def _times(models: dict[str, torch.nn.Module], sizes: dict[str, int]) -> dict[str, float]:
    """Shortest forward pass of one picture, seconds; turn by turn, so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(_TIMED_PASSES):
        for name, model in models.items():
            device = next(model.parameters()).device
            picture = torch.zeros(1, 1, sizes[name], sizes[name], device=device)
            started = time.perf_counter()
            # The answer on the CPU is there only when the device is done.
            model(picture).class_logits.cpu()
            times[name].append(time.perf_counter() - started)
    return {name: min(taken) for name, taken in times.items()}
