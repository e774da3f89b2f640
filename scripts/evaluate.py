"""Judges a model on a split of the prepared data set; prints the figures, writes a report folder.

Exit codes: 0 success, 1 failure, 2 wrong usage. The figures go to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from busi_unet.cli import command, print_json, seed, warn
from busi_unet.data.busi import load_prepared
from busi_unet.evaluation.evaluate import evaluate
from busi_unet.evaluation.leakage import subject
from busi_unet.evaluation.report import default_folder, to_markdown
from busi_unet.evaluation.subgroups import add_marks_flag, marks_of


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evaluate.py", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "model", metavar="MODEL", help="model folder, Hub id, or 'embedded' for the built-in one"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data/busi"), help="prepared data set (%(default)s)"
    )
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), default="test", help="(%(default)s)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="report folder (reports/MODEL-SPLIT); its galleries show the data: do not publish them",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (%(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="of the bootstrap (%(default)s)")
    add_marks_flag(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON instead of tables")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    args = build_parser().parse_args(argv)
    output = args.output or default_folder(args.model, args.split)
    marks = marks_of(args.by)

    data = load_prepared(args.data)
    judged = subject(args.model, data, args.split, device=args.device)
    for doubt in judged.doubts:
        warn(doubt)
    evaluation = evaluate(
        judged.predictor,
        judged.images,
        output=output,
        seed=args.seed,
        provenance={"command": shlex.join(["scripts/evaluate.py", *argv]), **judged.provenance},
        marks=marks,
    )

    if args.json:
        print_json(evaluation.summary)
    else:
        print(to_markdown(evaluation))
    print(f"\nReport written to {output}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
