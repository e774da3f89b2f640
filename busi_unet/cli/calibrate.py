"""busi-unet calibrate: what a model learns from its validation images after training."""

from __future__ import annotations

import argparse
from pathlib import Path

from busi_unet.cli.common import add_data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", type=Path, help="model folder, which is replaced")
    add_data(parser)
    parser.add_argument(
        "--left-out",
        metavar="OTHER",
        type=Path,
        nargs="+",
        default=[],
        help="model folders of siblings, trained without some of the images: fit to what they say of those",
    )
    parser.epilog = (
        "All but the out-of-distribution threshold are fitted on the model's own validation images. A model "
        "that was trained on those too has none left: name siblings, as train --leave-out makes them."
    )


def run(args: argparse.Namespace) -> None:
    from busi_unet.data.prepared import load_prepared
    from busi_unet.training.calibrate import recalibrate

    config = recalibrate(args.model, load_prepared(args.data), left_out=args.left_out)
    calibration, thresholds = config.calibration, config.thresholds
    sets, band, limit = calibration.prediction_sets, calibration.boundary_band, calibration.ood_threshold
    classes = calibration.classes
    print(
        f"lesion                   {classes.lesion_head:.2f} × head + {classes.lesion_map:.2f} × mask "
        f"{classes.lesion_bias:+.2f}"
    )
    print(f"malignant                {classes.malignant_head:.2f} × head {classes.malignant_bias:+.2f}")
    print(f"mask threshold           {thresholds.mask:.2f}")
    print(f"lesion threshold         {thresholds.lesion:.2f}")
    print(f"smallest lesion          {thresholds.min_area:.2%} of the image")
    print(f"malignant threshold      {thresholds.malignant:.2f}")
    print(
        "prediction sets          " + (f"{sets.coverage:.0%}, from {sets.threshold:.3f}" if sets else "none")
    )
    radii = f"{band.coverage:.0%} from -{band.inner:.2f} to +{band.outer:.2f} radii" if band else "none"
    print(f"boundary band            {radii}")
    print(f"out of distribution from {'none' if limit is None else f'{limit:.2f} of the usual distance'}")
