"""busi-unet cross-validate: every image evaluated once, by a model that saw neither it nor a copy of it."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from busi_unet.cli.common import add_json, add_subgroups, print_result
from busi_unet.data.folds import N_FOLDS
from busi_unet.training.options import TrainOptions, add_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, without=("fold", "validation_fold", "resume", "output"))
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
    add_json(parser)
    parser.epilog = "Run it again after an interruption: it continues where it stopped."


def run(args: argparse.Namespace) -> None:
    options = TrainOptions.from_arguments(args)
    # After the arguments, so that --help and a wrong flag are answered at once.
    from busi_unet.evaluation.report import to_markdown
    from busi_unet.evaluation.rows import read_subgroups
    from busi_unet.training.cross_validation import cross_validate, results_folder

    evaluation = cross_validate(
        options,
        folds=args.folds,
        provenance={"command": shlex.join(args.command), "training_seed": options.seed},
        subgroups=read_subgroups(args.by[0], args.by[1:]) if args.by else None,
    )
    print_result(evaluation.summary, to_markdown(evaluation), as_json=args.json)
    print(f"\nReport written to {results_folder(options.output, args.folds)}", file=sys.stderr)
