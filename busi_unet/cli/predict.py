"""busi-unet predict: masks, overlays, a table and a report of images, folders and zips."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from busi_unet.cli.common import add_device, require, warn
from busi_unet.errors import UnreadableImageError
from busi_unet.imaging.formats import FORMATS
from busi_unet.io.files import check_ours
from busi_unet.io.find_images import ImageFile

_SECONDS_BETWEEN_LINES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images",
        nargs="+",
        type=Path,
        metavar="IMAGE",
        help="images (DICOM too), folders with all their subfolders, or zips",
    )
    parser.add_argument("--model", help="model folder or Hub id (default: the embedded weights)")
    parser.add_argument("--revision", help="branch, tag or commit of a Hub model")
    parser.add_argument(
        "--output", type=Path, default=Path("predictions"), help="folder to write (%(default)s)"
    )
    add_device(parser)
    parser.add_argument(
        "--anyway", action="store_true", help="analyse blank and out-of-distribution images, too; marked"
    )
    parser.add_argument(
        "--frames",
        choices=("first", "all"),
        default="first",
        help="of a clip: the first frame alone, or all, with NAME_frames.csv, a row per frame, and "
        "NAME_overlay.webp; its key frame then stands for it (%(default)s)",
    )
    parser.add_argument(
        "--views",
        nargs="+",
        metavar=("HOW", "COLUMN"),
        help="summarise images of one lesion or patient in views.csv and views.jsonl; together are those of "
        "a DICOM examination (dicom), of a folder (folder), or with one entry in a column of a CSV with a "
        "column `image` (TABLE COLUMN)",
    )
    parser.add_argument(
        "--format",
        type=lambda text: tuple(dict.fromkeys(text.split(","))),
        default=("png",),
        metavar="NAME,…",
        help=f"how masks and measurements are written: {', '.join(FORMATS)} (png); dicom needs DICOM images, "
        "copies their header, and writes a segmentation (SEG) and a structured report (SR)",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON line per image instead of text")
    parser.epilog = (
        "The output folder holds NAME_mask.png and NAME_overlay.png of each image, the files of other "
        "formats, predictions.jsonl, predictions.csv, report.html and written.sha256; files that no earlier "
        "run wrote are not replaced. "
        "Exit code 1: some images could not be used (the others were)."
    )


def run(args: argparse.Namespace) -> None:
    from busi_unet.inference.batch import JSON_LINES_NAME, predict_files, summary_line, write_summary
    from busi_unet.inference.clip import predict_all_frames
    from busi_unet.inference.predictor import Predictor
    from busi_unet.io.find_images import find_images

    require(
        args.views is None or len(args.views) == (1 if args.views[0] in ("dicom", "folder") else 2),
        "--views takes dicom, folder, or a CSV and the name of a column.",
    )
    predictor = Predictor.from_pretrained(args.model, revision=args.revision, device=args.device)
    weights = f"{predictor.source} weights"
    if not predictor.config.calibration.fitted:
        weights += ", not calibrated"
        warn(
            "the model's probabilities are not calibrated, they may be far too sure: "
            "use the folder model/ of a finished run."
        )
    records = []
    with tempfile.TemporaryDirectory(prefix="busi-unet-", ignore_cleanup_errors=True) as scratch:
        files = find_images(args.images, Path(scratch))
        groups = _views(args, files) if args.views else {}
        try:
            run = predict_files(
                predictor,
                files,
                args.output,
                anyway=args.anyway,
                formats=args.format,
                model=weights,
                predict=predict_all_frames if args.frames == "all" else None,
            )
            for record in _with_progress(run, len(files)):
                records.append(record)
                line = json.dumps(record, ensure_ascii=False) if args.json else summary_line(record)
                print(line, flush=True)
        finally:
            # Also when Ctrl-C stops it: what is done is kept.
            if records:
                write_summary(records, args.output, model=weights, date=f"{date.today()}")
                _summarise_views(groups, records, args)
    if failures := sum(bool(record["error"]) for record in records):
        message = f"{failures} of {len(records)} images could not be used; the others were."
        if failures == len(records):
            message = "No image could be used."
        raise UnreadableImageError(message, f"See {args.output / JSON_LINES_NAME}.")
    if missing := sum(bool(record["not_written"]) for record in records):
        raise UnreadableImageError(
            f"{missing} of {len(records)} images could not be written in every format.",
            f"See {args.output / JSON_LINES_NAME}.",
        )


def _views(args: argparse.Namespace, files: list[ImageFile]) -> dict[str, dict[str, Path]]:
    """Return the images of each lesion or patient by its name, with their files; refuse mixed patients."""
    from busi_unet.inference import views

    check_ours(args.output, views.NAMES)
    paths = {file.shown: file.path for file in files if not file.problem}
    how, *column = args.views
    if column:
        groups = views.group_by_table(paths, Path(how), *column)
    else:
        groups = (views.group_by_dicom if how == "dicom" else views.group_by_folder)(paths)
    require(groups, "No image tells patient and examination in DICOM tags. Use --views TABLE COLUMN.")
    found = {group: {name: paths[name] for name in names} for group, names in groups.items()}
    for images in found.values():
        views.check_one_patient(images)
    return found


def _summarise_views(
    groups: dict[str, dict[str, Path]], records: list[dict[str, Any]], args: argparse.Namespace
) -> None:
    """Print and write the summaries of images that belong together, as far as a run came."""
    from busi_unet.inference import views

    known = {record["image"]: record for record in records}
    summaries = [
        views.summarise_views(found, name=name, files=images)
        for name, images in groups.items()
        if (found := {image: known[image] for image in images if image in known})
    ]
    for summary in summaries:
        told = (
            json.dumps(summary, ensure_ascii=False) if args.json else " ".join(views.describe_views(summary))
        )
        print(told)
    if summaries:
        views.write_views(summaries, args.output)


def _with_progress(records: Iterable[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    """Tell on stderr how far a run is where its lines on stdout go to a file or a pipe."""
    start = told = time.monotonic()
    for done, record in enumerate(records, start=1):
        yield record
        now = time.monotonic()
        if not sys.stdout.isatty() and (now - told >= _SECONDS_BETWEEN_LINES or done == total):
            told = now
            left = (now - start) / done * (total - done)
            print(f"{done} of {total} images done, about {left:.0f} s left.", file=sys.stderr, flush=True)
