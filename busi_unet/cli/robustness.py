"""busi-unet robustness: alter the images of a split, and measure by how much a model's answers change."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from busi_unet.cli.common import (
    add_data,
    add_device,
    add_json,
    add_subgroups,
    print_result,
    require,
    seed,
    warn,
)
from busi_unet.data.disturbances import DISTURBANCES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help="model folder, Hub id, or 'embedded' for the built-in one"
    )
    parser.add_argument(
        "--cross-validation",
        type=Path,
        metavar="FOLDER",
        help="output of cross-validate, instead of MODEL: each test fold with the model that kept it",
    )
    add_data(parser)
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), help="of the data, with MODEL (test)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=tuple(DISTURBANCES),
        metavar="NAME",
        help="make these changes alone; they are listed below",
    )
    parser.add_argument("--output", type=Path, help="report folder (reports/MODEL-robustness)")
    add_device(parser)
    parser.add_argument("--seed", type=seed, default=0, help="random seed (%(default)s)")
    add_subgroups(parser)
    add_json(parser)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "changes:\n" + "\n".join(
        f"  {name:<20} {each.kind}: {each.meaning}" for name, each in DISTURBANCES.items()
    )


def run(args: argparse.Namespace) -> None:
    from busi_unet.data.prepared import load_prepared
    from busi_unet.evaluation.leakage import cross_validated, hashes, subject
    from busi_unet.evaluation.report import default_folder
    from busi_unet.evaluation.robustness import audit
    from busi_unet.evaluation.robustness_report import to_markdown
    from busi_unet.evaluation.subgroups import marks_of
    from busi_unet.inference.predictor import Predictor

    folder = args.cross_validation
    require((args.model is None) != (folder is None), "Name either a MODEL or a --cross-validation.")
    require(not (folder and args.split), "--split needs a MODEL: a cross-validation has its test folds.")
    marks = marks_of(args.by)
    data = load_prepared(args.data)
    if folder:
        found = cross_validated(folder, data)
        parts = [
            {"fold": k, "model": model.as_posix(), **hashes(model)} for k, (model, _) in enumerate(found)
        ]
        provenance = {"split": "cross-validation", "parts": parts}
        pairs = [(Predictor.from_pretrained(model, device=args.device), split) for model, split in found]
    else:
        tested = subject(args.model, data, args.split or "test", device=args.device)
        for doubt in tested.doubts:
            warn(doubt)
        pairs, provenance = [(tested.predictor, tested.images)], tested.provenance
    output = args.output or default_folder(args.model or str(folder), "robustness")
    outcome = audit(
        pairs,
        disturbances=[each for name, each in DISTURBANCES.items() if args.only is None or name in args.only],
        marks=marks,
        seed=args.seed,
        output=output,
        provenance={"command": shlex.join(args.command), **provenance},
    )
    print_result(outcome.summary, to_markdown(outcome), as_json=args.json)
    print(f"\nReport written to {output}", file=sys.stderr)
