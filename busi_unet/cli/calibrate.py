"""busi-unet calibrate: what a model learns from its validation images after training."""

from __future__ import annotations

import argparse
from pathlib import Path

from busi_unet.cli.common import add_data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", type=Path, help="model folder, which is replaced")
    add_data(parser)
    parser.add_argument(
        "--from", dest="other", metavar="OTHER", type=Path, help="take them from this model folder instead"
    )
    parser.epilog = (
        "All but the out-of-distribution threshold are fitted on the model's own validation images. A model "
        "that was refitted on those has none left; give it what was fitted to the model it came from: --from."
    )


def run(args: argparse.Namespace) -> None:
    from busi_unet.data.prepared import load_prepared
    from busi_unet.training.calibrate import recalibrate

    config = recalibrate(args.model, load_prepared(args.data), other=args.other)
    calibration, thresholds = config.calibration, config.thresholds
    sets, band, limit = calibration.prediction_sets, calibration.boundary_band, calibration.ood_threshold
    print(f"temperature              {calibration.temperature:.3f}")
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
