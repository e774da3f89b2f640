"""busi-unet export: model.onnx beside the weights, which ONNX Runtime runs without PyTorch; or a page."""

from __future__ import annotations

import argparse
from pathlib import Path

from busi_unet.cli import require


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model folder, or embedded")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="compare it with PyTorch on the images in this folder too, not only on three examples",
    )
    parser.add_argument(
        "--web",
        type=Path,
        metavar="DIR",
        help="write a page here that runs the model in the browser, static files (needs npm)",
    )


def run(args: argparse.Namespace) -> None:
    from busi_unet.config import ONNX_NAME
    from busi_unet.inference.predictor import EMBEDDED
    from busi_unet.inference.twin import EXAMPLES, write_twin
    from busi_unet.io.files import scratch_folder
    from busi_unet.io.find_images import find_images
    from busi_unet.models.folder import find_twin, load_config

    folder = EMBEDDED if args.model == "embedded" else Path(args.model)
    require(folder.is_dir(), f"{folder} is not a folder.")
    with scratch_folder() as scratch:
        found = find_images([args.images], scratch) if args.images else []
        images = [file.path for file in found if not file.problem]
        if not (args.web and find_twin(folder, load_config(folder))):
            difference = write_twin(folder, images).difference
            _say(folder / ONNX_NAME, len(EXAMPLES) + len(images), difference, "PyTorch")
        if args.web:
            from busi_unet.publish.web import build_web_page

            difference = build_web_page(folder, args.web, images)
            _say(args.web, len(EXAMPLES) + len(images), difference, ONNX_NAME)


def _say(path: Path, images: int, difference: float, other: str) -> None:
    files = path.iterdir() if path.is_dir() else [path]
    print(
        f"{path}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB; on {images} images its "
        f"probabilities differ from those of {other} by at most {difference:.1g}."
    )
