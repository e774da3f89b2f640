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
    thresholds, classes = config.thresholds, config.calibration.classes
    sets, band = config.calibration.prediction_sets, config.calibration.boundary_band
    limit = config.calibration.ood_threshold
    rows = {
        "lesion": f"{classes.lesion_head:.2f} × head + {classes.lesion_map:.2f} × mask "
        f"{classes.lesion_bias:+.2f}",
        "malignant": f"{classes.malignant_head:.2f} × head {classes.malignant_bias:+.2f}",
        "mask threshold": f"{thresholds.mask:.2f}",
        "lesion threshold": f"{thresholds.lesion:.2f}",
        "smallest lesion": f"{thresholds.min_area:.2%} of the image",
        "malignant threshold": f"{thresholds.malignant:.2f}",
        "prediction sets": sets and f"{sets.coverage:.0%}, from {sets.threshold:.3f}",
        "boundary band": band and f"{band.coverage:.0%} from -{band.inner:.2f} to +{band.outer:.2f} radii",
        "out of distribution from": limit and f"{limit:.2f} of the usual distance",
    }
    for name, value in rows.items():
        print(f"{name:24} {value or 'none'}")
