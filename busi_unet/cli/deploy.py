"""busi-unet deploy: the web app as a Hugging Face Space; prints the link to share."""

from __future__ import annotations

import argparse
from functools import partial

from busi_unet.cli import add_dry_run, add_json, print_result, require


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repo_id", metavar="USER/SPACE", help="the Space; created where missing")
    parser.add_argument("--model", metavar="USER/NAME", help="Hub model it runs on (the embedded weights)")
    parser.add_argument("--private", action="store_true", help="create it private")
    add_dry_run(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    from busi_unet.hub import checked_id, page_of
    from busi_unet.publish import dry_run
    from busi_unet.publish.space import build_space_folder, deploy_space, space_variables

    require(args.dry_run or not args.output, "--output needs --dry-run.")
    link = page_of(checked_id(args.repo_id), "space")
    if args.dry_run:
        files, listed = dry_run(partial(build_space_folder, model=args.model), args.output)
        variables = space_variables(args.model)
        result = {"url": link, "variables": variables, "files": files}
        named = "".join(f"\nvariable {name}={value}" for name, value in variables.items())
        text = f"{listed}{named}\nwould be {link}"
    else:
        pushed = deploy_space(args.repo_id, model=args.model, private=args.private)
        result, text = {"url": link, "commit": pushed.commit}, link
    print_result(result, text, as_json=args.json)
