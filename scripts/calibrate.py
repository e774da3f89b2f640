"""Fits temperature, thresholds, prediction sets, edge band and guard of a model again, without training it.

All but the guard are fitted on the model's own validation images. A model that was refitted on those has none
left; it takes what was fitted to the model it came from.

Exit codes: 0 success, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from busi_unet.cli import command
from busi_unet.data.busi import load_prepared
from busi_unet.training.calibrate import recalibrate


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="calibrate.py", description=__doc__.partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", type=Path, help="model folder, which is replaced")
    parser.add_argument(
        "--data", type=Path, default=Path("data/busi"), help="prepared data set (%(default)s)"
    )
    parser.add_argument(
        "--from", dest="other", metavar="OTHER", type=Path, help="take them from this model folder instead"
    )
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    config = recalibrate(args.model, load_prepared(args.data), other=args.other)
    calibration, thresholds = config.calibration, config.thresholds
    sets, band = calibration.prediction_sets, calibration.edge_band
    print(f"temperature {calibration.temperature:.3f}")
    print(
        f"mask from {thresholds.mask:.2f}, presence from {thresholds.presence:.2f}, "
        f"lesions from {thresholds.min_area:.2%} of the picture, malignancy suspected from "
        f"{thresholds.malignant:.2f}"
    )
    print(f"prediction sets: {sets.coverage:.0%} coverage, cut at {sets.cut:.3f}" if sets else "no sets")
    if band:
        print(
            f"edge: {band.coverage:.0%} within -{band.inner:.2f} and +{band.outer:.2f} radii of the outline"
        )
    else:
        print("edge: no band")
    limit = calibration.refuse_beyond
    print("guard: none" if limit is None else f"guard: refuses beyond {limit:.2f} of the usual distance")


if __name__ == "__main__":
    sys.exit(main())
