"""busi-unet cross-validate: every image evaluated once, by a model that saw neither it nor a copy of it.

The network that is tested on fold K was selected, calibrated and given its thresholds on fold K + 1 (modulo
the folds) and trained on the rest.

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
from pathlib import Path

from busi_unet.cli import add_subgroups
from busi_unet.data.folds import N_FOLDS
from busi_unet.errors import TrainingStopped, UsageError
from busi_unet.training.options import TrainOptions, add_options


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
    from busi_unet.data.prepared import load_prepared, resplit
    from busi_unet.evaluation.evaluate import evaluate, report_together
    from busi_unet.evaluation.leakage import hashes
    from busi_unet.evaluation.report import to_markdown
    from busi_unet.evaluation.rows import check_subgroups, read_subgroups
    from busi_unet.inference.predictor import Predictor
    from busi_unet.training.loop import train
    from busi_unet.training.run_folder import has_checkpoint

    subgroups = read_subgroups(args.by[0], args.by[1:]) if args.by else None
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UsageError(
            "A cross-validation runs in one process.",
            "Train each fold with train --fold K --output OUTPUT/fold-K, then run this in one process.",
        )
    data = load_prepared(options.data)
    splits = {fold: resplit(data, fold)["test"] for fold in args.folds}
    check_subgroups(subgroups, [image_id for split in splits.values() for image_id in split["image_id"]])
    parts = []
    for fold, split in splits.items():
        folder = options.output / f"fold-{fold}"
        # A finished run ends at once when it is resumed, and one with other options is refused.
        try:
            model = train(options.replace(fold=fold, output=folder, resume=has_checkpoint(folder)))
        except TrainingStopped as stopped:
            # It continues by itself; busi-unet train alone needs --resume for that.
            stopped.hint = "Run the same command again: it continues from there."
            raise
        predictor = Predictor.from_pretrained(model)
        weights = {"fold": fold, "model": model.as_posix(), **hashes(model)}
        evaluation = evaluate(predictor, split, output=folder / "report", provenance=weights)
        parts.append((predictor, split, evaluation))
    # A part never replaces the report over all.
    of_some = [] if len(splits) == N_FOLDS else sorted(splits)
    output = options.output / "-".join(["results", *map(str, of_some)])
    provenance = {
        "split": "cross-validation",
        # Defaults change; a command that names none of them does not tell what was trained.
        "training_options": options.recipe(),
        "command": shlex.join(args.command),
        "training_seed": options.seed,
    }
    together = report_together(output, parts, provenance=provenance, subgroups=subgroups)
    print(to_markdown(together))
    print(f"\nReport written to {output}", file=sys.stderr)
