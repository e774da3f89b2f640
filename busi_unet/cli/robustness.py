"""busi-unet robustness: disturb images, and measure by how much a model's answers change."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from busi_unet.cli.common import add_data, add_device, add_json, add_split, print_result, seed, warn
from busi_unet.evaluation.disturbances import DISTURBANCES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="model folder, Hub id, or 'embedded' for the built-in one"
    )
    add_data(parser)
    add_split(parser)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=tuple(DISTURBANCES),
        metavar="NAME",
        help="try these disturbances alone; they are listed below",
    )
    parser.add_argument("--output", type=Path, help="report folder (reports/MODEL-robustness)")
    add_device(parser)
    parser.add_argument("--seed", type=seed, default=0, help="random seed (%(default)s)")
    add_json(parser)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "disturbances:\n" + "\n".join(
        f"  {name:<20} {each.kind}: {each.meaning}" for name, each in DISTURBANCES.items()
    )


def run(args: argparse.Namespace) -> None:
    from busi_unet.data.prepared import load_prepared
    from busi_unet.evaluation.leakage import subject
    from busi_unet.evaluation.report import default_folder
    from busi_unet.evaluation.robustness import measure_robustness
    from busi_unet.evaluation.robustness_report import to_markdown

    output = args.output or default_folder(args.model, "robustness")
    chosen = subject(args.model, load_prepared(args.data), args.split, device=args.device)
    for warning in chosen.provenance["warnings"]:
        warn(warning)
    found = measure_robustness(
        chosen.predictor,
        chosen.images,
        disturbances=[each for name, each in DISTURBANCES.items() if args.only is None or name in args.only],
        seed=args.seed,
        output=output,
        provenance={"command": shlex.join(args.command), **chosen.provenance},
    )
    print_result(found.summary, to_markdown(found), as_json=args.json)
    print(f"\nReport written to {output}", file=sys.stderr)
