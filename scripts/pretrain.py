"""Learns start weights from the pictures of the train split alone; train.py --init takes them.

The network restores what was blotted out of the pictures; masks and classes are not looked at. Exit codes: 0
success, 1 failure, 2 wrong usage. The model folder goes to stdout, progress to stderr.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from busi_unet.cli import command
from busi_unet.learning.options import NOT_IN_PRETEXT, TrainOptions, build_parser


def pretext_parser() -> argparse.ArgumentParser:
    parser = build_parser(
        without=(*NOT_IN_PRETEXT, "output"), prog="pretrain.py", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/pretext"),
        help="folder for the model that --init takes, model (default: %(default)s)",
    )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = TrainOptions(**vars(pretext_parser().parse_args(argv)))
    # After the arguments, so that --help and a wrong flag are answered at once.
    from busi_unet.learning.pretext import pretrain

    print(pretrain(options))


if __name__ == "__main__":
    sys.exit(main())
