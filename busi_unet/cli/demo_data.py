"""busi-unet demo-data: a synthetic data set in the layout of BUSI."""

from __future__ import annotations

import argparse
from pathlib import Path

from busi_unet.cli import require, tell_next
from busi_unet.data.phantom import write_phantom_dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "output", type=Path, nargs="?", default=Path("data/demo"), help="folder to write (%(default)s)"
    )
    parser.add_argument("--per-class", type=int, default=20, help="images per class (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (%(default)s)")
    parser.epilog = "The images are phantoms: nothing that a model learns from them holds for patients."


def run(args: argparse.Namespace) -> None:
    require(args.seed >= 0, "--seed must be a whole number, 0 or more.")
    require(not args.output.exists(), f"{args.output} exists already. Name another folder.")
    write_phantom_dataset(args.output, per_class=args.per_class, seed=args.seed, size=(256, 320))
    tell_next("prepare", args.output, "--output", f"{args.output}-prepared")
