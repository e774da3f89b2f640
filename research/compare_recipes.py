"""Judges trials of recipes on their validation images, each against a baseline; writes one JSON file.

FOLDER holds a folder per recipe, which holds a run of train.py per validation fold: RECIPE/fold-K, trained
with --fold 0 --validation-fold K. Exit codes: 0 success, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from busi_unet.cli.common import command, seed
from busi_unet.data.busi import load_prepared


@command
def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="compare_recipes.py", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="holds RECIPE/fold-K/")
    parser.add_argument("--baseline", required=True, metavar="RECIPE", help="that the others are changes of")
    parser.add_argument(
        "--data", type=Path, default=Path("data/busi"), help="prepared data set (%(default)s)"
    )
    parser.add_argument("--output", type=Path, help="file to write (FOLDER/recipes.json)")
    parser.add_argument("--seed", type=seed, default=0, help="of the bootstrap (%(default)s)")
    args = parser.parse_args(argv)
    output = args.output or args.folder / "recipes.json"
    from research.recipes import compare_recipes

    found = compare_recipes(args.folder, load_prepared(args.data), baseline=args.baseline, seed=args.seed)
    found = {"command": shlex.join(["research/compare_recipes.py", *argv]), **found}
    output.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    print(output)


if __name__ == "__main__":
    sys.exit(main())
