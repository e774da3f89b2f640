"""busi-unet push: a finished run or a model folder to the Hugging Face Hub, with a card and its results."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from busi_unet.cli import add_dry_run, add_json, print_result, require


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", type=Path, help="run folder of a training, or a model folder")
    parser.add_argument("repo_id", metavar="USER/NAME", help="model repository; created where missing")
    parser.add_argument("--private", action="store_true", help="create it private")
    parser.add_argument("--revision", help="branch to commit to (the main one)")
    add_dry_run(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    from busi_unet.publish import dry_run
    from busi_unet.publish.model import build_model_folder, push_model

    require(args.dry_run or not args.output, "--output needs --dry-run.")
    if args.dry_run:
        files, text = dry_run(partial(build_model_folder, args.run, repo_id=args.repo_id), args.output)
        result = {"repo_id": args.repo_id, "files": files}
    else:
        pushed = push_model(args.run, args.repo_id, private=args.private, revision=args.revision)
        result, text = {"url": pushed.url, "commit": pushed.commit}, pushed.url
    print_result(result, text, as_json=args.json)
