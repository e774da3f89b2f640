"""busi-unet evaluate: models on images of a prepared data set, pooled and by source."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from busi_unet.cli import add_data, add_device, add_subgroups, warn
from busi_unet.config import EVALUATION_NAME
from busi_unet.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, several=True)
    parser.add_argument(
        "--output",
        type=Path,
        help="report folder (reports/MODEL-DATA-SPLIT); its page shows images of the data: do not publish it",
    )
    add_subgroups(parser)
    parser.epilog = (
        "evaluation.json in the model folder keeps the metrics, too, for the app and the model card; the "
        "built-in model and the Hub's stay as they are. For images of another hospital, use --split all. "
        "Several models, such as one for each fold, give one report: each counts for its own images."
    )


def add_model(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add what `load` reads."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="+" if several else None,
        help="model folder, Hub id, or 'embedded' for the built-in one",
    )
    add_data(parser)
    parser.add_argument(
        "--split", choices=("train", "validation", "test", "all"), default="test", help="images (%(default)s)"
    )
    add_device(parser)


def load(args: argparse.Namespace, model: str) -> tuple[Any, Any, dict[str, Any]]:
    """Return predictor, images and provenance; print what the metrics suffer from."""
    from busi_unet.data.prepared import load_prepared
    from busi_unet.evaluation.leakage import model_and_images

    predictor, images, provenance = model_and_images(
        model, load_prepared(args.data), args.split, device=args.device
    )
    for warning in provenance["warnings"]:
        warn(warning)
    told = {"command": shlex.join(args.command), "data": args.data.as_posix()}
    return predictor, images, told | provenance


def run(args: argparse.Namespace) -> None:
    from busi_unet.evaluation.evaluate import evaluate, report_together
    from busi_unet.evaluation.report import default_folder, to_markdown
    from busi_unet.evaluation.rows import read_subgroups

    subgroups = read_subgroups(args.by[0], args.by[1:]) if args.by else None
    if len(args.model) == 1:
        (model,) = args.model
        output = args.output or default_folder(model, args.data, args.split)
        predictor, images, provenance = load(args, model)
        evaluation = evaluate(predictor, images, output=output, provenance=provenance, subgroups=subgroups)
        _keep(model, evaluation)
    elif args.output is None:
        raise UsageError("Several models share one report.", "Name its folder: --output FOLDER.")
    else:
        output, parts = args.output, []
        for model in args.model:
            predictor, images, provenance = load(args, model)
            parts.append((predictor, images, evaluate(predictor, images, provenance=provenance)))
            _keep(model, parts[-1][-1])
        provenance = {"command": shlex.join(args.command), "split": args.split}
        evaluation = report_together(output, parts, provenance=provenance, subgroups=subgroups)
    print(to_markdown(evaluation))
    print(f"\nReport written to {output / 'report.html'}", file=sys.stderr)


def _keep(model: str, evaluation: Any) -> None:
    """Add the metrics to a folder that was named; built-in weights and the Hub's cache stay as they are."""
    from busi_unet.evaluation.report import add_evaluation

    if Path(model).is_dir():
        try:
            add_evaluation(model, evaluation.summary)
        except (OSError, UsageError) as error:
            # An evaluation may take hours: its report is worth more than the copy.
            warn(f"{EVALUATION_NAME} in {model} was not written: {error}")
