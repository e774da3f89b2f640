"""Segments and classifies pictures; writes masks, overlays and one JSON line per picture.

Exit codes: 0 every picture was predicted, 1 some could not be read, 2 wrong usage. A line per picture
(with --json, its JSON line) goes to stdout, also for one that cannot be read; progress goes to stderr.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from busi_unet.cli import command
from busi_unet.prediction_files import predict_files
from busi_unet.predictor import Predictor


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="predict.py", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="pictures, or folders of pictures"
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
    for result in predict_files(predictor, args.images, args.output):
        print(result.json_line() if args.json else result.summary(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
