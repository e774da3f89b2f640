"""busi-unet calibrate: what a model learns after training, from images that it was not trained on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from busi_unet.cli import add_data, add_twin, require, tell_next

if TYPE_CHECKING:
    from busi_unet.training.calibrate import LocalThreshold


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model folder, Hub id, or 'embedded'")
    add_data(parser)
    parser.add_argument("--output", metavar="DIR", type=Path, help="new model folder (replaces MODEL)")
    parser.add_argument(
        "--left-out",
        metavar="OTHER",
        type=Path,
        nargs="+",
        default=[],
        help="model folders of siblings, each trained without some of the images: fit to their answers there",
    )
    parser.add_argument(
        "--refuse",
        metavar="DIR",
        type=Path,
        help="folder with a subfolder for each kind of image to refuse because it is not breast ultrasound",
    )
    parser.add_argument(
        "--sensitivity",
        type=float,
        default=0.95,
        help="own hospital: share of the malignant images to be flagged (%(default)s)",
    )
    parser.epilog = (
        "On the data that the model was made on: everything but the network is fitted again, to its "
        "validation images. A model that was trained on those too has none left: name siblings, as train "
        "--leave-out makes them. On data of another hospital: only the threshold for flagging is set."
    )


def run(args: argparse.Namespace) -> None:
    from busi_unet.app.model import describe_config
    from busi_unet.data.prepared import load_prepared
    from busi_unet.evaluation.leakage import split_for
    from busi_unet.hub import is_hub_id
    from busi_unet.inference.predictor import Predictor
    from busi_unet.models.folder import save_model
    from busi_unet.training.calibrate import calibrate_to_hospital, recalibrate

    named = args.model == "embedded" or is_hub_id(args.model)
    require(
        args.output or Path(args.model).is_dir() or not named,
        f"{args.model} stays as it is: add --output DIR for the calibrated model.",
    )
    require(0 < args.sensitivity <= 1, "--sensitivity must be above 0 and at most 1.")
    data = load_prepared(args.data)
    predictor = Predictor.from_pretrained(None if args.model == "embedded" else args.model, runtime="torch")
    output, foreign = args.output or Path(args.model), split_for(predictor.config, data).foreign
    if foreign:
        fitted = not (args.left_out or args.refuse)
        require(fitted, "--left-out and --refuse need the data that the model was made on.")
        images = [row for part in data.values() for row in part]
        config, found = calibrate_to_hospital(predictor, images, sensitivity=args.sensitivity)
        ood, rows = predictor.ood, _local_rows(found)
    else:
        refused = _images_by_kind(args.refuse) if args.refuse else {}
        config, ood = recalibrate(predictor, data, left_out=args.left_out, others=refused)
        rows = describe_config(config)
    add_twin(save_model(output, predictor.runtime.model, config, ood))
    print(f"Model: {output}")
    for name, value in rows.items():
        print(f"{name}: {value}")
    if foreign:
        tell_next("predict", "IMAGES", "--model", output)
    else:
        tell_next("evaluate", output, "--data", args.data)


def _images_by_kind(folder: Path) -> dict[str, list[Path]]:
    kinds = {kind.name: sorted(kind.iterdir()) for kind in sorted(folder.iterdir()) if kind.is_dir()}
    require(kinds and all(kinds.values()), f"{folder} needs a subfolder with images for each kind of image.")
    return kinds


def _local_rows(found: LocalThreshold) -> dict[str, str]:
    low, high = found.threshold_range
    return {
        "Images": f"{found.malignant} malignant, {found.other} other (in parentheses: 95% intervals)",
        "Alert threshold": f"malignant probability {found.threshold:.3f} ({low:.3f} to {high:.3f})",
        "Sensitivity to expect": _share(found.sensitivity),
        "Specificity to expect": _share(found.specificity),
    }


def _share(values: tuple[float, float, float]) -> str:
    return "{:.0%} ({:.0%} to {:.0%})".format(*values)
