"""Disturbs the pictures of a split and tells by how much a model's answers change; writes a report folder.

Exit codes: 0 success, 1 failure, 2 wrong usage. The tables go to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from busi_unet.cli import command, print_json, seed, warn
from busi_unet.data.busi import load_prepared
from busi_unet.data.disturbances import DISTURBANCES
from busi_unet.evaluation.leakage import cross_validated, hashes, subject
from busi_unet.evaluation.report import default_folder
from busi_unet.evaluation.robustness import audit
from busi_unet.evaluation.robustness_report import to_markdown
from busi_unet.evaluation.subgroups import add_marks_flag, marks_of
from busi_unet.inference.predictor import Predictor

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="audit.py",
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="disturbances:\n"
        + "\n".join(f"  {name:<20} {each.kind}: {each.meaning}" for name, each in DISTURBANCES.items()),
    )
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help="model folder, Hub id, or 'embedded' for the built-in one"
    )
    parser.add_argument(
        "--cross-validation",
        type=Path,
        metavar="FOLDER",
        help="output of cross_validate.py, instead of MODEL: each fold by the network that kept it",
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data/busi"), help="prepared data set (%(default)s)"
    )
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), help="of the data, with MODEL (test)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=tuple(DISTURBANCES),
        metavar="NAME",
        help="try these disturbances alone; they are listed below",
    )
    parser.add_argument("--output", type=Path, help="report folder (reports/MODEL-audit); shows no picture")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (%(default)s)")
    parser.add_argument(
        "--seed", type=seed, default=0, help="of the disturbances and the bootstrap (%(default)s)"
    )
    add_marks_flag(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON instead of tables")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    args = parser.parse_args(argv)
    if (args.model is None) == (args.cross_validation is None):
        parser.error("name either a MODEL or a --cross-validation")
    if args.cross_validation and args.split:
        parser.error("--split goes with a MODEL: a cross-validation is judged on its test folds")
    marks = marks_of(args.by)
    data = load_prepared(args.data)
    if args.cross_validation:
        pairs, judged = _folds(args, data)
    else:
        pairs, judged = _model(args, data)
    output = args.output or default_folder(args.model or str(args.cross_validation), "audit")
    outcome = audit(
        pairs,
        disturbances=[each for name, each in DISTURBANCES.items() if args.only is None or name in args.only],
        marks=marks,
        seed=args.seed,
        output=output,
        provenance={"command": shlex.join(["scripts/audit.py", *argv]), **judged},
    )
    if args.json:
        print_json(outcome.summary)
    else:
        print(to_markdown(outcome))
    print(f"\nReport written to {output}", file=sys.stderr)


def _model(
    args: argparse.Namespace, data: DatasetDict
) -> tuple[list[tuple[Predictor, Dataset]], dict[str, Any]]:
    judged = subject(args.model, data, args.split or "test", device=args.device)
    for doubt in judged.doubts:
        warn(doubt)
    return [(judged.predictor, judged.images)], judged.provenance


def _folds(
    args: argparse.Namespace, data: DatasetDict
) -> tuple[list[tuple[Predictor, Dataset]], dict[str, Any]]:
    pairs = cross_validated(args.cross_validation, data)
    parts = [
        {"fold": fold, "model": model.as_posix(), **hashes(model)} for fold, (model, _) in enumerate(pairs)
    ]
    predictors = [(Predictor.from_pretrained(model, device=args.device), split) for model, split in pairs]
    return predictors, {"split": "cross-validation", "parts": parts}


if __name__ == "__main__":
    sys.exit(main())
