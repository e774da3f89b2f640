"""The handlers of the tab for many images, which are analysed one after the other."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from busi_unet.app import text
from busi_unet.app.answers import ProgressText, answer_folder, cache_scratch, shown_errors
from busi_unet.app.image_answer import card
from busi_unet.app.model import ModelInUse
from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.inference.batch import predict_files
from busi_unet.inference.run import JSON_LINES_NAME
from busi_unet.inference.summary import FLAGGED, count_by_outcome, table_row, write_summary
from busi_unet.inference.views import NAMES, describe_views, group_by_dicom, summarise_views, write_views
from busi_unet.io.find_images import ImageFile, find_images

MAX_IMAGES = 500
MAX_MEGABYTES = 500
MAX_SHOWN = 100
HEADERS = list(text.BATCH_HEADERS)
_THUMBNAIL = (640, 480)


class BatchAnswer(NamedTuple):
    """One value per output component, in the order of the API.

    Attributes:
        archive: path of the zip with masks, overlays, CSV, JSON lines and report; None until all is done.
        rows: see `table`.
        status: one sentence of Markdown.
        gallery: (path of a PNG, caption) of the first overlays.
    """

    archive: str | None
    rows: dict[str, Any]
    status: str
    gallery: list[tuple[str, str]]


class BatchHandlers:
    """Handlers of the tab's events."""

    def __init__(self, model: Callable[[], ModelInUse]) -> None:
        # Loaded when the first batch runs, not before.
        self._model = model
        self._cancelled: set[str | None] = set()

    def begin(self, request: gr.Request) -> None:
        """Forget an earlier cancellation of this visitor, so that it does not stop the next run."""
        self._cancelled.discard(request.session_hash)

    def cancel(self, request: gr.Request) -> str:
        """Stop this visitor's run after the image at hand; what is done is kept."""
        self._cancelled.add(request.session_hash)
        return text.BATCH_STOPPING

    def predict_many(
        self,
        images: list[str] | None,
        request: gr.Request,
        formats: list[str] | None = None,
    ) -> Iterator[BatchAnswer]:
        """Outline lesions in many breast ultrasound images and classify each; give one zip back.

        An image that cannot be used becomes a row with the reason and never stops the others. The zip holds
        an overlay per image, a mask where it was analysed, a table (CSV and JSON lines), a report (HTML) and
        the other formats that were chosen.

        Args:
            images: PNG, JPEG, GIF, WebP, BMP, TIFF or DICOM files and zips of them, 500 at most.
            formats: any of png (masks, the default), csv (a row per lesion), coco, yolo, nifti and dicom
                (segmentation and report of DICOM files; they copy the patient's data from the header).

        Raises:
            gr.Error: nothing was given, or too much; or no weights can be loaded.
        """
        paths = [Path(path) for path in images or ()]
        with shown_errors():
            _check_size(paths)
            model = self._model()
            with cache_scratch() as scratch:
                unpacked, output = scratch / "unpacked", scratch / "results"
                unpacked.mkdir()
                files = find_uploads(paths, unpacked)
                name = f"{paths[0].stem}_results.zip" if len(paths) == 1 else "busi-unet-results.zip"
                # Files that answers name lie outside the scratch folder; Gradio deletes them later.
                archive = answer_folder() / name
                yield from self._run(files, model, output, archive, formats or ["png"], request.session_hash)

    # Not offered to assistants: as Gradio describes a list of files to them, no call succeeds.
    predict_many._mcp_type = None

    def _run(
        self,
        files: Sequence[ImageFile],
        model: ModelInUse,
        output: Path,
        archive: Path,
        formats: Sequence[str],
        session: str | None,
    ) -> Iterator[BatchAnswer]:
        records, rows, gallery = [], [], []
        progress = ProgressText("images")
        run = predict_files(model.predictor, files, output, formats=formats, model=model.origin_line())
        # Closing it writes the files that cover all images, also after a cancellation.
        with contextlib.closing(run):
            for record in run:
                records.append(record)
                rows.append(_row(len(records), record))
                if not record["error"] and len(gallery) < MAX_SHOWN:
                    gallery.append(_thumbnail(output / record["overlay"], archive.parent, record))
                stopped = session in self._cancelled
                if stopped:
                    break
                if len(records) < len(files) and (told := progress.tell(len(records), len(files))):
                    yield BatchAnswer(None, table(rows), told, list(gallery))
        status = text.batch_ended(
            count_by_outcome(records),
            len(files),
            flagged=sum(bool(record["flagged"]) for record in records),
            cancelled=stopped,
            shown=MAX_SHOWN if len(gallery) == MAX_SHOWN < len(records) else None,
        )
        if model.notice:
            status = f"{model.notice}\n\n{status}"
        write_summary(records, output, model=model.origin_line(), date=date.today().isoformat())
        _pack(output, archive)
        yield BatchAnswer(str(archive), table(rows), status, gallery)


def _check_size(paths: Sequence[Path]) -> None:
    if not paths:
        raise UsageError(*text.BATCH_EMPTY)
    megabytes = sum(path.stat().st_size for path in paths) / 1024**2
    if len(paths) > MAX_IMAGES or megabytes > MAX_MEGABYTES:
        raise UsageError(*text.batch_too_large(len(paths), round(megabytes, 1), MAX_IMAGES, MAX_MEGABYTES))


def find_uploads(paths: Iterable[str | Path], unpacked: Path) -> list[ImageFile]:
    """Return the images of uploads, zips unpacked to an existing folder; raises as `find_images` does."""
    most = {"max_images": MAX_IMAGES, "max_bytes": MAX_MEGABYTES * 1024**2, "max_files": 5000}
    return find_images(map(Path, paths), unpacked, show=lambda path: path.name, **most)


def find_row(row: Sequence[Any], images: list[str] | None, unpacked: Path) -> Path:
    """Return the file of a row, by its number and name, unpacked to an existing folder where it is in a zip.

    Raises:
        UsageError: the files have changed, or this one cannot be used.
    """
    number, shown = row[:2]
    files = find_uploads(images or (), unpacked)
    if number > len(files) or files[number - 1].shown != shown:
        raise UsageError(*text.BATCH_CHANGED)
    if files[number - 1].problem:
        raise UsageError(files[number - 1].problem)
    return files[number - 1].path


def table(rows: Sequence[list[Any]]) -> dict[str, Any]:
    """Return rows in the order of `HEADERS` as the value of the table, class and flag marked by a colour."""

    def style(row: list[Any], name: str) -> str:
        marked = (row[2] in CLASS_NAMES and name == "Class") or (row[3] and name == "Flag")
        color = row[2] if name == "Class" else "malignant"
        return f"box-shadow: inset 8px 0 var(--{color}); padding-left: 16px" if marked else ""

    styling = [[style(row, name) for name in HEADERS] for row in rows]
    shown = [["" if value is None else str(value) for value in row] for row in rows]
    return {"headers": HEADERS, "data": list(rows), "metadata": {"styling": styling, "display_value": shown}}


def filtered(rows: Sequence[list[Any]], choice: str) -> list[list[Any]]:
    if choice == text.BATCH_FLAGGED:
        return [row for row in rows if row[3]]
    return [row for row in rows if row[2] not in CLASS_NAMES or choice == text.BATCH_ALL]


def _row(number: int, record: dict[str, Any]) -> list[Any]:
    row = table_row(record)
    unit = "px" if row["longest_diameter_mm"] is None else "mm"
    shares = [None if row[f"p_{name}"] is None else round(100 * row[f"p_{name}"], 1) for name in CLASS_NAMES]
    label = text.BATCH_NOT_USED if record["error"] else row["label"] or text.NOT_ANALYSED.lower()
    length = [round(row[f"longest_diameter_{unit}"], 1), unit] if row["lesions"] else [None, None]
    classes = (row["prediction_set"] or "").replace(" ", ", ")
    found = [label, text.BATCH_FLAG if row["flagged"] else "", *shares, classes, row["lesions"], *length]
    # The flag has its own column.
    return [number, row["image"], *found, (row["remarks"] or "").removeprefix(FLAGGED).strip()]


def _thumbnail(overlay: Path, folder: Path, record: dict[str, Any]) -> tuple[str, str]:
    path = folder / overlay.name
    with Image.open(overlay) as both:
        # The file shows the original at the left; here there is only room for the overlay.
        image = both.crop((both.width - record["width"], 0, both.width, both.height))
        image.thumbnail(_THUMBNAIL)
        image.save(path)
    label = record["label"] if record["label"] and not record["refused"] else text.NOT_ANALYSED.lower()
    flag = "⚑ " if record["flagged"] else ""
    return str(path), f"{flag}{label}: {record['image']}"


def _pack(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zip_file:
        for path in sorted(folder.iterdir()):
            # Images are compressed already.
            method = zipfile.ZIP_STORED if path.suffix in (".png", ".jpg") else zipfile.ZIP_DEFLATED
            zip_file.write(path, path.name, compress_type=method)


def summarise_rows(
    chosen: Sequence[int] | None, paths: list[str] | None, archive: str | None
) -> tuple[str, gr.File]:
    """Summarise the chosen rows of a batch; if none are, its DICOM files by patient and examination.

    Returns:
        The summaries as HTML, and the component with their files.

    Raises:
        UsageError: the files have changed; too few rows, or rows of different patients.
    """
    with cache_scratch() as folder:
        files = find_uploads(paths or (), folder)
        records = _records(archive, files)
        found = {file.shown: file.path for file in files}
        told = dict(zip(found, records, strict=False))
        known = {name: found[name] for name, record in told.items() if not record["error"]}
        names = list(found)
        groups = {"": [names[number - 1] for number in chosen]} if chosen else group_by_dicom(known)
        if not groups or (chosen and len(chosen) == 1):
            raise UsageError(*text.SUMMARY_TOO_FEW)
        summaries = [
            summarise_views(
                {name: told[name] for name in group}, name=key, files={name: found[name] for name in group}
            )
            for key, group in groups.items()
        ]
    output = answer_folder()
    write_views(summaries, output)
    written = gr.File(value=[str(output / name) for name in NAMES], visible=True)
    return "\n".join(_card(summary) for summary in summaries), written


def _records(archive: str | None, files: Sequence[ImageFile]) -> list[dict[str, Any]]:
    """Return the records of a batch in the order of its files; a cancelled batch has fewer."""
    if archive is None:
        raise UsageError(*text.BATCH_CHANGED)
    with zipfile.ZipFile(archive) as results:
        records = [json.loads(line) for line in results.read(JSON_LINES_NAME).splitlines()]
    if [record["image"] for record in records] != [file.shown for file in files[: len(records)]]:
        raise UsageError(*text.BATCH_CHANGED)
    return records


def _card(summary: Mapping[str, Any]) -> str:
    images, *sentences = describe_views(summary)
    if summary["p_malignant"] is None:
        return card("refused", text.NOT_ANALYSED, sentences, name=images)
    agreed = next(iter(summary["labels"].values())) if summary["agree"] else "mixed"
    kind = "malignant" if summary["flagged"] else agreed
    headline = sentences.pop(0).rstrip(".")
    return card(kind, headline, sentences, name=images, flagged=summary["flagged"])
