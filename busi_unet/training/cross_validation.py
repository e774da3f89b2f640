"""Cross-validation: every image is evaluated once, by a network that saw neither it nor a copy of it.

output folder
├── fold-0 … fold-4   the run that kept this fold for testing, and its report/
├── results           the report over all images (`busi_unet.evaluation.report`)
└── results-0-1       that over the images of some folds, here 0 and 1
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from busi_unet.data.folds import N_FOLDS
from busi_unet.data.prepared import load_prepared, resplit
from busi_unet.errors import TrainingStopped, UsageError
from busi_unet.evaluation.evaluate import Evaluation, evaluate, report_together
from busi_unet.evaluation.leakage import hashes
from busi_unet.evaluation.report import require_matplotlib
from busi_unet.evaluation.rows import Subgroups, check_subgroups
from busi_unet.inference.predictor import Predictor
from busi_unet.training.loop import train
from busi_unet.training.options import TrainOptions
from busi_unet.training.run_folder import has_checkpoint


def results_folder(output: Path, folds: Sequence[int]) -> Path:
    """Return the folder of the report over these folds: a part never replaces the report over all."""
    done = sorted(set(folds))
    return output / ("results" if done == list(range(N_FOLDS)) else "-".join(["results", *map(str, done)]))


def cross_validate(
    options: TrainOptions,
    *,
    folds: Sequence[int] = tuple(range(N_FOLDS)),
    provenance: Mapping[str, Any] | None = None,
    subgroups: Subgroups | None = None,
) -> Evaluation:
    """Train and test once per fold; called again, continue where it stopped.

    The network that is tested on fold K was selected, calibrated and given its thresholds on fold
    K + 1 (modulo the folds) and trained on the rest.

    Args:
        options: of every run; `fold`, `output` and `resume` are set for each.
        folds: those to do now; some at a time, or on several machines, is fine.
        provenance: entries to add to that of the report, such as the command.
        subgroups: as for `evaluate`.

    Returns:
        The evaluation of the images of these folds together.

    Raises:
        UsageError: a fold that does not exist, a run folder that was made with other options, a subgroup
            without images, or several processes, whose group ends with the first training.
        DataLayoutError, TrainingError, TrainingStopped: as `train` does.
        MissingDependencyError: matplotlib is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UsageError(
            "A cross-validation runs in one process.",
            "Train each fold with train --fold K --output OUTPUT/fold-K, then run this in one process.",
        )
    require_matplotlib()
    data = load_prepared(options.data)
    splits = {fold: resplit(data, fold)["test"] for fold in folds}
    check_subgroups(subgroups, [image_id for split in splits.values() for image_id in split["image_id"]])
    parts = []
    for fold, split in splits.items():
        run = options.output / f"fold-{fold}"
        # A finished run ends at once when it is resumed, and one with other options is refused.
        try:
            model = train(options.replace(fold=fold, output=run, resume=has_checkpoint(run)))
        except TrainingStopped as stopped:
            # It continues by itself; busi-unet train alone needs --resume for that.
            stopped.hint = "Run the same command again: it continues from there."
            raise
        predictor = Predictor.from_pretrained(model)
        weights = {"fold": fold, "model": model.as_posix(), **hashes(model)}
        parts.append(
            (predictor, split, evaluate(predictor, split, output=run / "report", provenance=weights))
        )
    # Defaults change; a command that names none of them does not tell what was trained.
    return report_together(
        results_folder(options.output, folds),
        parts,
        provenance={"split": "cross-validation", "training_options": options.recipe(), **(provenance or {})},
        subgroups=subgroups,
    )
