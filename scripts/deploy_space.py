"""Creates or updates the Hugging Face Space of the app, and prints the link to share.

Exit codes: 0 success, 1 failure, 2 wrong usage. The link goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from busi_unet.cli import command, parse_publishing, print_result
from busi_unet.hub import checked_id, page_of
from busi_unet.publish.folder import describe_files, dry_run
from busi_unet.publish.space import build_space_folder, deploy_space, space_variables


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deploy_space.py", description=__doc__.partition("\n")[0])
    parser.add_argument("repo_id", metavar="USER/SPACE", help="the Space; created where missing")
    parser.add_argument("--model", metavar="USER/NAME", help="Hub model it runs on (the embedded weights)")
    parser.add_argument("--private", action="store_true", help="create it private")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_publishing(build_parser(), argv)
    link = page_of(checked_id(args.repo_id), "space")
    if args.dry_run:
        files = dry_run(partial(build_space_folder, model=args.model), args.output)
        variables = space_variables(args.model)
        result = {"url": link, "variables": variables, "files": files}
        listed = "".join(f"\nvariable {name}={value}" for name, value in variables.items())
        text = f"{describe_files(files)}{listed}\nwould be {link}"
    else:
        pushed = deploy_space(args.repo_id, model=args.model, private=args.private)
        result, text = {"url": link, "commit": pushed.commit}, link
    print_result(result, text, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
