"""Segments and classifies pictures; writes masks, overlays, a table and a report.

Takes pictures, folders and zips. The output folder holds NAME_mask.png and NAME_overlay.png of each picture,
predictions.jsonl, predictions.csv and report.html. A line per picture (with --json, its JSON line) goes to
stdout, also for one that cannot be used; progress goes to stderr.

Exit codes: 0 every picture was predicted, 1 some could not be used (the others were), 2 wrong usage.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tqdm import tqdm

from busi_unet.cli import command, warn
from busi_unet.errors import UnreadableImageError
from busi_unet.inference.batch import JSON_LINES_NAME, predict_files, write_summary
from busi_unet.inference.predictor import Predictor
from busi_unet.io.find_images import find_pictures


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="predict.py", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "images",
        nargs="+",
        type=Path,
        metavar="IMAGE",
        help="pictures (DICOM too), folders with all their subfolders, or zips",
    )
    parser.add_argument("--model", help="model folder or Hub id (default: the embedded weights)")
    parser.add_argument("--revision", help="branch, tag or commit of a Hub model")
    parser.add_argument(
        "--output", type=Path, default=Path("predictions"), help="folder to write (%(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the JSON lines instead of a summary")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    predictor = Predictor.from_pretrained(args.model, revision=args.revision, device=args.device)
    weights = f"{predictor.source} weights"
    if not predictor.config.calibration.fitted:
        weights += ", not calibrated"
        warn(
            "the model's probabilities are not calibrated, they may be far too sure: "
            "use the folder model/ of a finished run."
        )
    if (args.output / JSON_LINES_NAME).exists():
        warn(
            f"{args.output} holds an earlier run: masks and overlays of other pictures than these stay in it."
        )
    results = []
    with tempfile.TemporaryDirectory(prefix="busi-unet-", ignore_cleanup_errors=True) as scratch:
        files = find_pictures(args.images, Path(scratch))
        try:
            for result in predict_files(
                predictor, tqdm(files, desc="predict", unit="image", file=sys.stderr), args.output
            ):
                results.append(result)
                print(result.json_line() if args.json else result.summary(), flush=True)
        finally:
            # Also when Ctrl-C stops it: what is done is kept.
            if results:
                write_summary(results, args.output, model=weights, date=f"{date.today()}")
    failures = sum(result.failed for result in results)
    if failures:
        message = f"{failures} of {len(results)} pictures could not be used; the others were."
        if failures == len(results):
            message = "No picture could be used."
        raise UnreadableImageError(message, f"See {args.output / JSON_LINES_NAME}.")


if __name__ == "__main__":
    sys.exit(main())
