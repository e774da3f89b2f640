"""busi-unet evaluate: a model on images of a prepared data set, pooled and by source."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from busi_unet.cli.common import (
    add_data,
    add_device,
    add_json,
    add_split,
    add_subgroups,
    print_result,
    seed,
    warn,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="model folder, Hub id, or 'embedded' for the built-in one"
    )
    add_data(parser)
    add_split(parser)
    parser.add_argument(
        "--output",
        type=Path,
        help="report folder (reports/MODEL-SPLIT); its page shows images of the data: do not publish it",
    )
    add_device(parser)
    parser.add_argument("--seed", type=seed, default=0, help="of the bootstrap (%(default)s)")
    add_subgroups(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    from busi_unet.data.prepared import load_prepared
    from busi_unet.evaluation.evaluate import evaluate
    from busi_unet.evaluation.leakage import subject
    from busi_unet.evaluation.report import default_folder, to_markdown
    from busi_unet.evaluation.subgroups import subgroups_of

    output = args.output or default_folder(args.model, args.split)
    subgroups = subgroups_of(args.by)
    chosen = subject(args.model, load_prepared(args.data), args.split, device=args.device)
    for warning in chosen.provenance["warnings"]:
        warn(warning)
    evaluation = evaluate(
        chosen.predictor,
        chosen.images,
        output=output,
        seed=args.seed,
        provenance={"command": shlex.join(args.command), **chosen.provenance},
        subgroups=subgroups,
    )
    print_result(evaluation.summary, to_markdown(evaluation), as_json=args.json)
    print(f"\nReport written to {output}", file=sys.stderr)
