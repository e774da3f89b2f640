"""busi-unet export: model.onnx beside the weights, which ONNX Runtime runs without PyTorch."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from busi_unet.cli.common import require


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model folder, or embedded")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="compare its answers with PyTorch's on the images in this folder too, not on three alone",
    )


def run(args: argparse.Namespace) -> None:
    from busi_unet.config import ONNX_NAME
    from busi_unet.inference.predictor import EMBEDDED
    from busi_unet.inference.twin import write_twin
    from busi_unet.io.find_images import find_images

    folder = EMBEDDED if args.model == "embedded" else Path(args.model)
    require(folder.is_dir(), f"{folder} is not a folder.")
    with tempfile.TemporaryDirectory(prefix="busi-unet-", ignore_cleanup_errors=True) as scratch:
        found = find_images([args.images], Path(scratch)) if args.images else []
        twin = write_twin(folder, [file.path for file in found if not file.problem])
    path = folder / ONNX_NAME
    print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; on {twin.images} images its probabilities differ from "
        f"PyTorch's by at most {twin.difference:.1g}."
    )
