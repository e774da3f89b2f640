"""Averages the weights of several models into one.

The models must have been trained on the same split from the same start weights (--init, --seed), and differ
in augmentation, epochs or other options. Exit codes: 0 success, 1 failure, 2 wrong usage. The new model
folder goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from busi_unet.cli.common import command


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="average_models.py", description=__doc__.partition("\n")[0])
    parser.add_argument("models", metavar="MODEL", nargs="+", type=Path, help="model folders, two or more")
    parser.add_argument("--output", type=Path, required=True, help="model folder to write")
    parser.add_argument(
        "--data", type=Path, default=Path("data/busi"), help="prepared data set (%(default)s)"
    )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    from busi_unet.data.busi import load_prepared
    from busi_unet.training.averaging import average_models

    print(average_models(args.models, load_prepared(args.data), args.output))


if __name__ == "__main__":
    sys.exit(main())
