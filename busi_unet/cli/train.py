"""busi-unet train: one model on one split; `accelerate launch scripts/train.py` trains on several devices."""

from __future__ import annotations

import argparse
import os
import sys

from busi_unet.cli import add_twin, require, tell_next
from busi_unet.training.options import TrainOptions, add_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser)
    group = parser.add_argument_group("afterwards")
    group.add_argument("--push-to-hub", metavar="USER/NAME", help="publish the model on the Hugging Face Hub")
    group.add_argument("--private", action="store_true", help="create that repository private")
    group.add_argument("--revision", help="branch of that repository to commit to (the main one)")
    parser.epilog = (
        "Exit codes 130 and 143: stopped by Ctrl-C or SIGTERM with a checkpoint; the command to continue is "
        "on stderr. A launcher of several processes turns every failure into 1."
    )


def run(args: argparse.Namespace) -> None:
    require(
        args.push_to_hub or not (args.private or args.revision),
        "--private and --revision need --push-to-hub.",
    )
    options = TrainOptions.from_arguments(args)
    # The launcher's rank: a process that will not push needs neither token nor network.
    if args.push_to_hub and os.environ.get("RANK", "0") == "0":
        from busi_unet.hub import check_push

        # A day of training must not end at a mistyped name.
        check_push(args.push_to_hub, private=args.private)
    from busi_unet.training.loop import train
    from busi_unet.training.run_folder import CURVES_NAME

    model = train(options)
    if model is None:
        return
    print(f"Model: {model}", flush=True)
    add_twin(model)
    print(f"Curves: {options.output / CURVES_NAME}", file=sys.stderr)
    tell_next("evaluate", model, "--data", options.data)
    if args.push_to_hub:
        from busi_unet.publish.model import push_model

        pushed = push_model(options.output, args.push_to_hub, private=args.private, revision=args.revision)
        print(f"Published: {pushed.url}")
