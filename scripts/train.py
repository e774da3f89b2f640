"""Trains a U-Net on a prepared data set: accelerate launch scripts/train.py (or python scripts/train.py).

Exit codes: 0 success, 1 failure, 2 wrong usage, 130 stopped by Ctrl-C (SIGINT), 143 by SIGTERM; after the
last two a checkpoint holds all steps done, and the command to go on is on stderr (but not while pictures are
decoded, before there is a step to keep). Launchers of several processes turn every failure into 1. The model
folder goes to stdout, progress to stderr.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from busi_unet.cli import command
from busi_unet.training.options import TrainOptions, build_parser


def add_push_flags(parser: argparse.ArgumentParser) -> None:
    """What happens after a training is no option of it."""
    group = parser.add_argument_group("afterwards")
    group.add_argument("--push-to-hub", metavar="USER/NAME", help="publish the model on the Hugging Face Hub")
    group.add_argument("--private", action="store_true", help="create that repository private")
    group.add_argument("--revision", help="branch of that repository to commit to (the main one)")


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser(prog="train.py", description=__doc__.partition("\n")[0])
    add_push_flags(parser)
    arguments = vars(parser.parse_args(argv))
    repo_id, private, revision = (arguments.pop(name) for name in ("push_to_hub", "private", "revision"))
    if (private or revision) and not repo_id:
        parser.error("--private and --revision need --push-to-hub")
    options = TrainOptions(**arguments)
    # The launcher's rank: a process that will not push needs neither token nor network.
    if repo_id and os.environ.get("RANK", "0") == "0":
        from busi_unet.hub import check_push

        # A day of training must not end at a mistyped name.
        check_push(repo_id, private=private)
    # After the arguments, so that --help and a wrong flag are answered at once.
    from busi_unet.training.loop import train

    model = train(options)
    if model is None:
        return
    print(f"Model: {model}", flush=True)
    if repo_id:
        from busi_unet.publish.model import push_model

        pushed = push_model(options.output, repo_id, private=private, revision=revision)
        print(f"Published: {pushed.url}")


if __name__ == "__main__":
    sys.exit(main())
