"""The tab for many images: one after the other, with progress, until done or cancelled."""

from __future__ import annotations

import contextlib
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from busi_unet.app import text
from busi_unet.app.answers import answer_folder, cache_folder, shown_errors
from busi_unet.app.image_parts import formats_to_choose
from busi_unet.app.model import ModelInUse
from busi_unet.app.views import Views, offer
from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.inference.batch import predict_files
from busi_unet.inference.summary import FLAGGED, count_by_outcome, table_row, write_summary
from busi_unet.io.find_images import ImageFile, find_images

MAX_IMAGES = 500
MAX_MEGABYTES = 500
MAX_SHOWN = 100
ARCHIVE_NAME = "busi-unet-results.zip"

HEADERS = list(text.BATCH_HEADERS)
_NUMBERS = {"No.", *(name.capitalize() for name in CLASS_NAMES), "Lesions", "Longest"}
DATATYPES = ["number" if name in _NUMBERS else "str" for name in HEADERS]
# Together they fill a window of 1280 pixels.
_COLUMN_WIDTHS = [f"{width}px" for width in (44, 166, 124, 104, 76, 76, 98, 104, 76, 82, 54, 244)]

_INVITATION = text.batch_invitation(MAX_IMAGES, MAX_MEGABYTES)
_THUMBNAIL = (640, 480)
_LIMITS = {"max_images": MAX_IMAGES, "max_bytes": MAX_MEGABYTES * 1024**2, "max_files": 5000}
# A page redraws a few times a second without effort; each redraw sends the whole table.
_SECONDS_BETWEEN_UPDATES = 0.7


class BatchAnswer(NamedTuple):
    """One value per output component, in the order of the API.

    Attributes:
        archive: path of the zip with masks, overlays, CSV, JSON lines and report; None until all is done.
        rows: `data` with a list per image, see `HEADERS`, and how it is coloured.
        status: one sentence of Markdown.
        gallery: (path of a PNG, caption) of the first overlays.
    """

    archive: str | None
    rows: dict[str, Any]
    status: str
    gallery: list[tuple[str, str]]


class BatchHandlers:
    """The functions behind the tab."""

    def __init__(self, model: Callable[[], ModelInUse]) -> None:
        # Asked when the first batch runs, not before.
        self._model = model
        self._cancelled: set[str | None] = set()

    def begin(self, request: gr.Request) -> str:
        """Forget an earlier cancellation of this visitor, so that it does not stop the next run."""
        self._cancelled.discard(request.session_hash)
        return text.WAIT

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
            # Deleted when the generator ends, also when the visitor has gone.
            with tempfile.TemporaryDirectory(
                prefix="batch-", dir=cache_folder(), ignore_cleanup_errors=True
            ) as scratch:
                unpacked = Path(scratch) / "unpacked"
                unpacked.mkdir()
                files = find_images(paths, unpacked, show=lambda path: path.name, **_LIMITS)
                archive = f"{paths[0].stem}_results.zip" if len(paths) == 1 else ARCHIVE_NAME
                output = Path(scratch) / "results"
                yield from self._run(files, model, output, archive, formats or ["png"], request.session_hash)

    # No tool of assistants: Gradio describes a list of files to them in a way that no call fits.
    predict_many._mcp_type = None

    def _run(
        self,
        files: Sequence[ImageFile],
        model: ModelInUse,
        output: Path,
        archive: str,
        formats: Sequence[str],
        session: str | None,
    ) -> Iterator[BatchAnswer]:
        # What the answer names lies outside the scratch folder: Gradio deletes it when its time is up.
        kept = answer_folder()
        records, rows, gallery = [], [], []
        start = shown = time.monotonic()
        run = predict_files(model.predictor, files, output, formats=formats, model=model.origin_line())
        # Closed, it writes the files that hold all images.
        with contextlib.closing(run):
            for record in run:
                records.append(record)
                rows.append(_row(len(records), record))
                if not record["error"] and len(gallery) < MAX_SHOWN:
                    gallery.append(_thumbnail(output / record["overlay"], kept, record))
                now = time.monotonic()
                left = (now - start) / len(records) * (len(files) - len(records))
                stopped = session in self._cancelled
                if stopped:
                    break
                if now - shown > _SECONDS_BETWEEN_UPDATES and len(records) < len(files):
                    shown = now
                    done = text.progress(len(records), len(files), "images", left)
                    yield BatchAnswer(None, _table(rows), done, list(gallery))
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
        yield BatchAnswer(str(_pack(output, kept / archive)), _table(rows), status, gallery)


def build_batch_tab(model: Callable[[], ModelInUse]) -> tuple[gr.Dataframe, gr.File]:
    """Build the tab inside the caller's `gr.Tab`, public event `/predict_many`; return table and files."""
    handlers = BatchHandlers(model)
    images, formats, buttons, answer, views = _lay_out()
    start, cancel, _, shown = buttons
    archive, table, status, _ = answer
    views.bind(images, archive, _LIMITS)
    rows = gr.State([], time_to_live=7200)
    private = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    begun = start.click(handlers.begin, outputs=status, **private)
    begun.then(lambda: _active(False, True, False), outputs=buttons, **private)
    begun.then(lambda: offer([]), outputs=views.outputs, **private)
    done = begun.then(
        handlers.predict_many,
        [images, formats],
        answer,
        api_name="predict_many",
        # The status counts already.
        show_progress="hidden",
        # Beside single images, not before them: a batch lasts minutes.
        concurrency_id="batch",
        concurrency_limit=1,
    )
    done.success(lambda: _active(True, False, True), outputs=buttons, **private)
    done.success(lambda rows: rows, table, rows, **private)
    done.success(offer, table, views.outputs, **private)
    shown.input(lambda rows, choice: _table(filtered(rows, choice)), [rows, shown], table, **private)
    done.failure(lambda: _active(True, False, False), outputs=buttons, **private)
    done.failure(lambda: BatchAnswer(None, _table([]), text.BATCH_FAILED, []), outputs=answer, **private)
    cancel.click(handlers.cancel, outputs=status, **private)
    images.clear(lambda: BatchAnswer(None, _table([]), _INVITATION, []), outputs=answer, **private)
    images.clear(lambda: _active(True, False, False), outputs=buttons, **private)
    images.clear(lambda: offer([]), outputs=views.outputs, **private)
    return table, images


def _lay_out() -> tuple[gr.File, gr.CheckboxGroup, list[Any], list[Any], Views]:
    """Return images and formats; start, cancel, download, filter; the parts of a `BatchAnswer`; views."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=280):
            # DICOM files often have no ending, so every file may be chosen; a bad one gives a row.
            images = gr.File(
                label=text.BATCH_FILES, file_count="multiple", height=170, elem_id="batch-images"
            )
            images.example_payload = lambda: [
                {"path": name, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
                for name in ("first.png", "second.dcm")
            ]
        with gr.Column(scale=2, min_width=280):
            gr.Button(text.BATCH_FOLDER, size="md", elem_id="batch-folder")
            with gr.Accordion(text.FORMATS, open=False):
                formats = formats_to_choose("batch-formats")
            with gr.Row():
                start = gr.Button(text.BATCH_START, variant="primary", min_width=120, elem_id="batch-start")
                cancel = gr.Button(
                    text.CANCEL,
                    variant="stop",
                    min_width=120,
                    interactive=False,
                    elem_id="batch-cancel",
                )
            archive = gr.DownloadButton(text.BATCH_DOWNLOAD, interactive=False, elem_id="batch-archive")
        with gr.Column(scale=4, min_width=320):
            status = gr.Markdown(
                _INVITATION, label=text.BATCH_PROGRESS, elem_id="batch-status", min_height=60
            )
            shown = gr.Radio(
                [text.BATCH_ALL, text.BATCH_FLAGGED, text.BATCH_REFUSED],
                value=text.BATCH_ALL,
                label=text.BATCH_FILTER,
                show_label=False,
                container=False,
                interactive=False,
                elem_id="batch-filter",
            )
            gr.Markdown(text.BATCH_TABLE_HINT, elem_id="batch-hint")
    table = gr.Dataframe(
        label=text.BATCH_TABLE,
        headers=HEADERS,
        datatype=DATATYPES,
        column_widths=_COLUMN_WIDTHS,
        type="array",
        interactive=False,
        wrap=True,
        max_height=420,
        buttons=["copy", "fullscreen"],
        elem_id="batch-table",
    )
    views = Views()
    gallery = gr.Gallery(
        label=text.BATCH_OVERLAYS,
        columns=4,
        height=560,
        format="png",
        object_fit="contain",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="batch-gallery",
    )
    return images, formats, [start, cancel, archive, shown], [archive, table, status, gallery], views


def _active(start: bool, cancel: bool, archive: bool) -> tuple[gr.Component, ...]:
    return (
        gr.Button(interactive=start),
        gr.Button(interactive=cancel),
        gr.DownloadButton(interactive=archive),
        gr.Radio(value=text.BATCH_ALL, interactive=archive),
    )


def _check_size(paths: Sequence[Path]) -> None:
    if not paths:
        raise UsageError(*text.BATCH_EMPTY)
    megabytes = sum(path.stat().st_size for path in paths) / 1024**2
    if len(paths) > MAX_IMAGES or megabytes > MAX_MEGABYTES:
        raise UsageError(*text.batch_too_large(len(paths), round(megabytes, 1), MAX_IMAGES, MAX_MEGABYTES))


def find_row(row: Sequence[Any], images: list[str] | None, unpacked: Path) -> Path:
    """Return the file of a row, by its number and name, unpacked to an existing folder where it is in a zip.

    Raises:
        UsageError: other files are chosen by now, or the file cannot be used.
    """
    number, shown = row[:2]
    files = find_images(map(Path, images or ()), unpacked, show=lambda path: path.name, **_LIMITS)
    if number > len(files) or files[number - 1].shown != shown:
        raise UsageError(*text.BATCH_CHANGED)
    if files[number - 1].problem:
        raise UsageError(files[number - 1].problem)
    return files[number - 1].path


def _table(rows: Sequence[list[Any]]) -> dict[str, Any]:
    """Return rows as the table takes them, the class marked by its colour."""

    def style(row: list[Any], name: str) -> str:
        marked = (row[2] in CLASS_NAMES and name == "Class") or (row[3] and name == "Flag")
        color = row[2] if name == "Class" else "malignant"
        return f"box-shadow: inset 8px 0 var(--{color}); padding-left: 16px" if marked else ""

    styling = [[style(row, name) for name in HEADERS] for row in rows]
    shown = [["" if value is None else str(value) for value in row] for row in rows]
    for row in shown:
        row[1] = text.breakable(row[1])
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
    return str(path), f"{flag}{label}: {text.breakable(record['image'])}"


def _pack(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zip_file:
        for path in sorted(folder.iterdir()):
            # They are packed already.
            method = zipfile.ZIP_STORED if path.suffix in (".png", ".jpg") else zipfile.ZIP_DEFLATED
            zip_file.write(path, path.name, compress_type=method)
    return archive
