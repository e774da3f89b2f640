"""Publishes a finished run, or a model folder, on the Hugging Face Hub, with a card and its figures.

Exit codes: 0 success, 1 failure, 2 wrong usage. The address goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from busi_unet.cli import command, parse_publishing, print_result
from busi_unet.publish.folder import describe_files, dry_run
from busi_unet.publish.model import build_model_folder, push_model


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="push_to_hub.py", description=__doc__.partition("\n")[0])
    parser.add_argument("run", metavar="RUN", type=Path, help="run folder of train.py, or a model folder")
    parser.add_argument("repo_id", metavar="USER/NAME", help="model repository; created where missing")
    parser.add_argument("--private", action="store_true", help="create it private")
    parser.add_argument("--revision", help="branch to commit to (the main one)")
    parser.add_argument(
        "--evaluation",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="metrics.json of evaluate.py for exactly these weights; can be repeated (those in reports/)",
    )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_publishing(build_parser(), argv)
    settings = {"repo_id": args.repo_id, "evaluations": args.evaluation}
    if args.dry_run:
        files = dry_run(partial(build_model_folder, args.run, **settings), args.output)
        result, text = {"repo_id": args.repo_id, "files": files}, describe_files(files)
    else:
        pushed = push_model(args.run, private=args.private, revision=args.revision, **settings)
        result, text = {"url": pushed.url, "commit": pushed.commit}, pushed.url
    print_result(result, text, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
