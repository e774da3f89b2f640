"""Makes group-disjoint folds of a data set in BUSI layout from its pixels, as a CSV file.

Exit codes: 0 success, 1 failure, 2 wrong usage. What was written goes to stdout, progress to stderr.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from busi_unet.cli.common import command
from busi_unet.data.fold_table import BUSI_FOLDS_NAME
from busi_unet.data.folds import publish_folds


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="publish_folds.py", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder holding normal, benign and malignant")
    parser.add_argument("--output", type=Path, default=Path(BUSI_FOLDS_NAME), help="CSV file (%(default)s)")
    args = parser.parse_args(argv)
    rows = publish_folds(args.folder, args.output, progress=True)
    print(f"{args.output}: {len(rows)} images in {len({row.group for row in rows})} groups")


if __name__ == "__main__":
    sys.exit(main())
