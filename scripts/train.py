"""Trains a U-Net on a prepared data set: accelerate launch scripts/train.py (or python scripts/train.py).

Exit codes: 0 success, 1 failure, 2 wrong usage. The model folder goes to stdout, progress to stderr.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from busi_unet.cli import command
from busi_unet.learning.options import TrainOptions, build_parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser(prog="train.py", description=__doc__.partition("\n")[0])
    options = TrainOptions(**vars(parser.parse_args(argv)))
    # After the arguments, so that --help and a wrong flag are answered at once.
    from busi_unet.learning.training import train

    model = train(options)
    if model is not None:
        print(f"Model: {model}")


if __name__ == "__main__":
    sys.exit(main())
