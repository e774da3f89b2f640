"""busi-unet cross-validate: every image evaluated once, by a model that saw neither it nor a copy of it.

output folder
├── fold-0 … fold-4   the run that kept this fold for testing, and its report/
├── results           the report over all images (`busi_unet.evaluation.report`)
└── results-0-1       that over the images of some folds, here 0 and 1
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from busi_unet.cli import add_subgroups
from busi_unet.data.folds import N_FOLDS
from busi_unet.errors import TrainingStopped, UsageError
from busi_unet.training.options import TrainOptions, add_options

if TYPE_CHECKING:
    from busi_unet.evaluation.evaluate import Evaluation
    from busi_unet.evaluation.rows import Subgroups


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, without=("fold", "leave_out", "resume", "output"))
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/cross_validation"),
        help="folder for a run per fold, fold-0 to fold-4, and the report, results (default: %(default)s)",
    )
    parser.add_argument(
        "--folds",
        type=int,
        nargs="+",
        default=list(range(N_FOLDS)),
        metavar="K",
        help="test folds to do now (default: all)",
    )
    add_subgroups(parser)
    parser.epilog = "Run it again after an interruption: it continues where it stopped."


def run(args: argparse.Namespace) -> None:
    options = TrainOptions.from_arguments(args)
    # After the arguments, so that --help and a wrong flag are answered at once.
    from busi_unet.evaluation.report import to_markdown
    from busi_unet.evaluation.rows import read_subgroups

    evaluation = cross_validate(
        options,
        folds=args.folds,
        provenance={"command": shlex.join(args.command), "training_seed": options.seed},
        subgroups=read_subgroups(args.by[0], args.by[1:]) if args.by else None,
    )
    print(to_markdown(evaluation))
    print(f"\nReport written to {results_folder(options.output, args.folds)}", file=sys.stderr)


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

    Raises:
        UsageError: a fold that does not exist, a run folder that was made with other options, a subgroup
            without images, or several processes, whose group ends with the first training.
    """
    from busi_unet.data.prepared import load_prepared, resplit
    from busi_unet.evaluation.evaluate import evaluate, report_together
    from busi_unet.evaluation.leakage import hashes
    from busi_unet.evaluation.rows import check_subgroups
    from busi_unet.inference.predictor import Predictor
    from busi_unet.training.loop import train
    from busi_unet.training.run_folder import has_checkpoint

    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UsageError(
            "A cross-validation runs in one process.",
            "Train each fold with train --fold K --output OUTPUT/fold-K, then run this in one process.",
        )
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
        evaluation = evaluate(predictor, split, output=run / "report", provenance=weights)
        parts.append((predictor, split, evaluation))
    # Defaults change; a command that names none of them does not tell what was trained.
    told = {"split": "cross-validation", "training_options": options.recipe(), **(provenance or {})}
    output = results_folder(options.output, folds)
    return report_together(output, parts, provenance=told, subgroups=subgroups)
