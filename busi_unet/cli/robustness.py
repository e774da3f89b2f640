"""busi-unet robustness: perturb images, and measure by how much a model's answers change."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from busi_unet.cli.evaluate import add_model, load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--output", type=Path, help="report folder (reports/MODEL-DATA-robustness)")


def run(args: argparse.Namespace) -> None:
    from busi_unet.evaluation.report import default_folder
    from busi_unet.evaluation.robustness import measure_robustness, to_markdown

    output = args.output or default_folder(args.model, args.data, "robustness")
    predictor, images, provenance = load(args, args.model)
    found = measure_robustness(predictor, images, output=output, provenance=provenance)
    print(to_markdown(found))
    print(f"\nReport written to {output}", file=sys.stderr)
