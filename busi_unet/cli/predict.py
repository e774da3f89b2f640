"""busi-unet predict: masks, overlays, a table and a report of images, folders, zips, shards and data sets."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from busi_unet.app.memory import give_back_arrays
from busi_unet.cli import add_device, require, warn
from busi_unet.errors import UnreadableImageError
from busi_unet.imaging.formats import FORMATS
from busi_unet.io.decode import EXTENSIONS
from busi_unet.io.files import JsonLines, check_ours, scratch_folder
from busi_unet.io.find_images import SHARDS, ImageFile, find_images

if TYPE_CHECKING:
    from busi_unet.inference.predictor import Predictor

_SECONDS_BETWEEN_LINES = 10
_ON_THE_HUB = "hf://datasets/"
# Beyond, threads wait for one another: Python runs one at a time.
_MOST_WORKERS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="images (DICOM too), folders with all their subfolders, zips, shards (tar or Parquet files of "
        f"images), or data sets of the Hub ({_ON_THE_HUB}USER/NAME)",
    )
    parser.add_argument("--model", help="model folder or Hub id (default: the embedded weights)")
    parser.add_argument("--revision", help="branch, tag or commit of a Hub model")
    parser.add_argument(
        "--output", type=Path, default=Path("predictions"), help="folder to write (%(default)s)"
    )
    add_device(parser)
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="also analyse blank and out-of-distribution images; they stay marked",
    )
    parser.add_argument(
        "--frames",
        choices=("first", "all"),
        default="first",
        help="of a clip, analyse the first frame or all (%(default)s); all adds NAME_frames.csv, a row per "
        "frame, and NAME_overlay.webp, and the clip gets the result of its key frame",
    )
    parser.add_argument(
        "--views",
        nargs="+",
        metavar=("HOW", "COLUMN"),
        help="also write views.csv and views.jsonl, one row per group of images: `dicom` groups by patient "
        "and examination, `folder` by folder, `TABLE COLUMN` by a column of a table that has a column "
        "`image` too",
    )
    parser.add_argument(
        "--format",
        type=lambda text: tuple(dict.fromkeys(text.split(","))),
        default=("png",),
        metavar="NAME,…",
        help=f"one or more of {', '.join(FORMATS)}, with commas between (png); csv writes measurements, the "
        "others masks, dicom a segmentation (SEG) and a structured report (SR) of DICOM images",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in the output folder: do what is left, and the images that failed",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON line per image instead of text")
    parser.epilog = (
        "The output folder holds NAME_mask.png and NAME_overlay.jpg of each image, the files of other "
        "formats, predictions.jsonl, predictions.csv, report.html, written.sha256 and resume.jsonl; files "
        "that no earlier run wrote are not replaced. Processes that accelerate launch starts, or that are "
        "numbered by RANK and WORLD_SIZE, share the images; each has a resume.jsonl and a written.sha256 of "
        "its own, and any number of them can resume. "
        "Exit code 1: some images could not be used (the others were)."
    )


def run(args: argparse.Namespace) -> None:
    from busi_unet.inference.batch import predict_files
    from busi_unet.inference.clip import predict_all_frames
    from busi_unet.inference.run import JSON_LINES_NAME, WHOLE, Share
    from busi_unet.inference.summary import summary_line, write_summary

    require(
        args.views is None or len(args.views) == (1 if args.views[0] in ("dicom", "folder") else 2),
        "--views takes dicom, folder, or a table and the name of a column.",
    )
    share, lines = Share.from_environment(), args.output / JSON_LINES_NAME
    # A scheduler's way to stop a run; outside of the main thread there is none.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    give_back_arrays()
    with scratch_folder() as scratch:
        files = _find(args.images, scratch)
        workers = _share_cores(len(share.places(len(files))))
        predictor, weights = _load(args)
        groups = _views(args, files) if args.views else {}
        begun = joined = False
        progress = _Progress()
        run = predict_files(
            predictor,
            files,
            args.output,
            anyway=args.anyway,
            formats=args.format,
            model=weights,
            clips=predict_all_frames if args.frames == "all" else None,
            resume=args.resume,
            share=share,
            workers=workers,
            batch_size=_batch_size(predictor),
            begin=progress.begin,
        )
        try:
            # Closed, it writes the files that hold all images.
            with contextlib.closing(run):
                for record in run:
                    begun = True
                    line = json.dumps(record, ensure_ascii=False) if args.json else summary_line(record)
                    print(line, flush=True)
                    progress.step()
            joined = share.number == 0
        except KeyboardInterrupt:
            print("Run the same command with --resume to continue.", file=sys.stderr)
            raise
        finally:
            # Also when Ctrl-C stops it: what is done is kept, unless the disk refused it.
            if joined or (begun and share == WHOLE and lines.exists()):
                write_summary(JsonLines(lines), args.output, model=weights, date=f"{date.today()}")
                _summarise_views(groups, lines, args)
    if joined:
        _tell_failures(JsonLines(lines), lines)


def _tell_failures(records: Iterable[dict[str, Any]], lines: Path) -> None:
    counts = Counter()
    for record in records:
        counts.update(images=1, failures=bool(record["error"]), missing=bool(record["not_written"]))
    message, hint = (
        f"{counts['missing']} of {counts['images']} images could not be written in every format.",
        "",
    )
    if counts["failures"]:
        message = f"{counts['failures']} of {counts['images']} images could not be used; the others were."
        hint = " Replace them, and run this again with --resume."
    if counts["failures"] == counts["images"]:
        message, hint = "No image could be used.", ""
    if counts["failures"] or counts["missing"]:
        raise UnreadableImageError(message, f"See {lines}.{hint}")


def _find(images: list[str], scratch: Path) -> list[ImageFile]:
    """Return the images of what was named; data sets of the Hub are downloaded to its cache."""
    fetched = {}
    for named in images:
        if named.startswith(_ON_THE_HUB):
            from busi_unet.hub import fetch_dataset

            endings = sorted(EXTENSIONS | SHARDS | {".zip"})
            patterns = [f"*{ending}" for each in endings for ending in (each, each.upper())]
            repo_id = named.removeprefix(_ON_THE_HUB)
            fetched[fetch_dataset(repo_id, patterns=patterns)] = f"datasets/{repo_id}"
    paths = [Path(named) for named in images if not named.startswith(_ON_THE_HUB)]
    return find_images(
        [*paths, *fetched], scratch, shards=True, show=lambda path: fetched.get(path) or str(path)
    )


def _share_cores(images: int) -> int:
    """Return how many threads share the images; each runs the network on its share of the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # One more than cores: while one waits for a file or for another thread, the others go on.
    workers = max(1, min(cores + 1, _MOST_WORKERS, images))
    # Read when the network is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // workers)))
    return workers


def _batch_size(predictor: Predictor) -> int:
    """Return how many images a thread takes at a time; on processors, batches make no network faster."""
    device = getattr(predictor.runtime, "device", None)
    return 1 if device is None or device.type == "cpu" else 8


def _load(args: argparse.Namespace) -> tuple[Predictor, str]:
    """Return the model, and what is said of it."""
    from busi_unet.inference.predictor import Predictor

    predictor = Predictor.from_pretrained(args.model, revision=args.revision, device=args.device)
    weights = f"{predictor.source} weights"
    if not predictor.config.calibration.fitted:
        weights += ", not calibrated"
        warn(
            "the model's probabilities are not calibrated and may be overconfident: "
            "use the folder model/ of a finished run."
        )
    return predictor, weights


def _views(args: argparse.Namespace, files: list[ImageFile]) -> dict[str, dict[str, Path]]:
    """Return the images of each lesion or patient by its name, with their files; refuse mixed patients."""
    from busi_unet.inference import views

    check_ours(args.output, views.NAMES)
    require(all(file.place is None for file in files), "--views does not look into shards: unpack them.")
    paths = {file.shown: file.path for file in files if not file.problem}
    how, *column = args.views
    if column:
        groups = views.group_by_table(paths, Path(how), *column)
    else:
        groups = (views.group_by_dicom if how == "dicom" else views.group_by_folder)(paths)
    require(groups, "No image has DICOM tags for patient and examination. Use --views TABLE COLUMN.")
    found = {group: {name: paths[name] for name in names} for group, names in groups.items()}
    for images in found.values():
        views.check_one_patient(images)
    return found


def _summarise_views(groups: dict[str, dict[str, Path]], lines: Path, args: argparse.Namespace) -> None:
    """Print and write the summaries of images that belong together, as far as a run came."""
    from busi_unet.inference import views

    if not groups:
        return
    # Where the row of each image starts: all rows may be too many for the memory.
    starts, end, summaries = {}, 0, []
    with lines.open("rb") as rows:
        for row in rows:
            starts[json.loads(row)["image"]] = end
            end += len(row)

        def row_of(image: str) -> dict[str, Any]:
            rows.seek(starts[image])
            return json.loads(rows.readline())

        for name, images in groups.items():
            if found := {image: row_of(image) for image in images if image in starts}:
                summaries.append(views.summarise_views(found, name=name, files=images))
    for told in summaries:
        print(json.dumps(told, ensure_ascii=False) if args.json else " ".join(views.describe_views(told)))
    if summaries:
        views.write_views(summaries, args.output)


class _Progress:
    """Tells on stderr how far a run is where its lines on stdout go to a file or a pipe."""

    def begin(self, images: int) -> None:
        """Note how many images are to be done."""
        self._images, self._done = images, 0
        self._start = self._told = time.monotonic()

    def step(self) -> None:
        """Count an image."""
        self._done += 1
        now, left = time.monotonic(), self._images - self._done
        if not sys.stdout.isatty() and (now - self._told >= _SECONDS_BETWEEN_LINES or not left):
            self._told = now
            seconds = f", about {(now - self._start) / self._done * left:.0f} s left" if left else ""
            print(f"{self._done} of {self._images} images done{seconds}.", file=sys.stderr, flush=True)
