"""The tab for many images: one after the other, with progress, until done or cancelled."""

from __future__ import annotations

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
from busi_unet.app.model import ModelInUse
from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.inference.batch import count_by_outcome, predict_files, table_row, write_summary
from busi_unet.io.find_images import ImageFile, find_images

MAX_IMAGES = 500
MAX_MEGABYTES = 500
MAX_SHOWN = 100
ARCHIVE_NAME = "busi-unet-results.zip"

HEADERS = [
    *text.BATCH_HEADERS[:2],
    *(name.capitalize() for name in CLASS_NAMES),
    *text.BATCH_HEADERS[2:],
]
DATATYPES = ["str", "str", *["number"] * len(CLASS_NAMES), *["number"] * 3, "str", "str"]
_COLUMN_WIDTHS = [f"{width}px" for width in (185, 112, 76, 76, 98, 84, 76, 84, 76, 200)]

_INVITATION = text.batch_invitation(MAX_IMAGES, MAX_MEGABYTES)
_THUMBNAIL = (640, 480)
_LIMITS = {"max_images": MAX_IMAGES, "max_bytes": MAX_MEGABYTES * 1024**2, "max_files": 5000}
# A page redraws a few times a second without effort; each redraw sends the whole table.
_SECONDS_BETWEEN_UPDATES = 0.7


class BatchAnswer(NamedTuple):
    """One value per output component, in the order of the API.

    Attributes:
        archive: path of the zip with masks, overlays, CSV, JSON lines and report; None until all is done.
        rows: a list per image, see `HEADERS`.
        status: one sentence of Markdown.
        gallery: (path of a PNG, caption) of the first overlays.
    """

    archive: str | None
    rows: list[list[Any]]
    status: str
    gallery: list[tuple[str, str]]


class BatchHandlers:
    """The functions behind the tab.

    Args:
        model: gives the weights in use; called when the first batch runs, not before.
    """

    def __init__(self, model: Callable[[], ModelInUse]) -> None:
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
    ) -> Iterator[BatchAnswer]:
        """Outline lesions in many breast ultrasound images and classify each; give one zip back.

        An image that cannot be used becomes a row with the reason and never stops the others. The zip holds
        a mask and an overlay per image, a table (CSV and JSON lines) and a report (HTML).

        Args:
            images: PNG, JPEG, WebP, BMP, TIFF or DICOM files and zips of them, 500 at most.

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
                yield from self._run(files, model, Path(scratch) / "results", request.session_hash)

    def _run(
        self,
        files: Sequence[ImageFile],
        model: ModelInUse,
        output: Path,
        session: str | None,
    ) -> Iterator[BatchAnswer]:
        # What the answer names lies outside the scratch folder: Gradio deletes it when its time is up.
        kept = answer_folder()
        records, rows, gallery = [], [], []
        start = shown = time.monotonic()
        for record in predict_files(model.predictor, files, output):
            records.append(record)
            rows.append(_row(record))
            if "error" not in record and len(gallery) < MAX_SHOWN:
                gallery.append(_thumbnail(output / record["overlay"], kept, record))
            now = time.monotonic()
            left = (now - start) / len(records) * (len(files) - len(records))
            stopped = session in self._cancelled
            if stopped:
                break
            if now - shown > _SECONDS_BETWEEN_UPDATES and len(records) < len(files):
                shown = now
                done = text.batch_running(len(records), len(files), left)
                yield BatchAnswer(None, list(rows), done, list(gallery))
        status = text.batch_ended(
            count_by_outcome(records),
            len(files),
            cancelled=stopped,
            shown=MAX_SHOWN if len(gallery) == MAX_SHOWN < len(records) else None,
        )
        if model.notice:
            status = f"{model.notice}\n\n{status}"
        write_summary(records, output, model=model.origin_line(), date=date.today().isoformat())
        yield BatchAnswer(str(_pack(output, kept / ARCHIVE_NAME)), rows, status, gallery)


def build_batch_tab(model: Callable[[], ModelInUse]) -> None:
    """Build the tab inside the caller's `gr.Tab`; its one public event is `/predict_many`.

    Args:
        model: gives the weights in use; called when the first batch runs, not before.
    """
    handlers = BatchHandlers(model)
    images, buttons, answer = _lay_out()
    start, cancel, _ = buttons
    archive, _, status, _ = answer
    private = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    begun = start.click(handlers.begin, outputs=status, **private)
    begun.then(lambda: _active(False, True, False), outputs=buttons, **private)
    done = begun.then(
        handlers.predict_many,
        images,
        answer,
        api_name="predict_many",
        # The status counts already.
        show_progress="hidden",
        # Beside single images, not before them: a batch lasts minutes.
        concurrency_id="batch",
        concurrency_limit=1,
    )
    done.success(lambda: _active(True, False, True), outputs=buttons, **private)
    done.failure(lambda: _active(True, False, False), outputs=buttons, **private)
    done.failure(lambda: BatchAnswer(None, [], text.BATCH_FAILED, []), outputs=answer, **private)
    cancel.click(handlers.cancel, outputs=status, **private)
    images.clear(lambda: BatchAnswer(None, [], _INVITATION, []), outputs=answer, **private)
    images.clear(lambda: gr.DownloadButton(interactive=False), outputs=archive, **private)


def _lay_out() -> tuple[gr.File, list[Any], list[Any]]:
    """Return where images are chosen; start, cancel and download; and the components of a `BatchAnswer`."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=280):
            # DICOM files often have no ending, so every file may be chosen; a bad one gives a row.
            images = gr.File(
                label=text.BATCH_FILES, file_count="multiple", height=190, elem_id="batch-images"
            )
            images.example_payload = lambda: [
                {"path": name, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
                for name in ("first.png", "second.dcm")
            ]
            with gr.Row():
                start = gr.Button(text.BATCH_START, variant="primary", min_width=120, elem_id="batch-start")
                cancel = gr.Button(
                    text.BATCH_CANCEL,
                    variant="stop",
                    min_width=120,
                    interactive=False,
                    elem_id="batch-cancel",
                )
            archive = gr.DownloadButton(text.BATCH_DOWNLOAD, interactive=False, elem_id="batch-archive")
        with gr.Column(scale=5, min_width=320):
            status = gr.Markdown(
                _INVITATION, label=text.BATCH_PROGRESS, elem_id="batch-status", min_height=60
            )
            gallery = gr.Gallery(
                label=text.BATCH_OVERLAYS,
                columns=3,
                height=300,
                format="png",
                object_fit="contain",
                interactive=False,
                buttons=["fullscreen"],
                elem_id="batch-gallery",
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
    return images, [start, cancel, archive], [archive, table, status, gallery]


def _active(start: bool, cancel: bool, archive: bool) -> tuple[gr.Button, gr.Button, gr.DownloadButton]:
    return (
        gr.Button(interactive=start),
        gr.Button(interactive=cancel),
        gr.DownloadButton(interactive=archive),
    )


def _check_size(paths: Sequence[Path]) -> None:
    if not paths:
        raise UsageError(*text.BATCH_EMPTY)
    megabytes = sum(path.stat().st_size for path in paths) / 1024**2
    if len(paths) > MAX_IMAGES or megabytes > MAX_MEGABYTES:
        raise UsageError(*text.batch_too_large(len(paths), megabytes, MAX_IMAGES, MAX_MEGABYTES))


def _row(record: dict[str, Any]) -> list[Any]:
    row = table_row(record)
    unit = "px" if row["longest_diameter_mm"] is None else "mm"
    shares = [None if row[f"p_{name}"] is None else round(100 * row[f"p_{name}"], 1) for name in CLASS_NAMES]
    label = text.BATCH_NOT_USED if "error" in record else row["label"] or text.NOT_ANALYSED.lower()
    measured = [None, None, None]
    if row["lesions"]:
        area, length = row[f"lesion_area_{'px' if unit == 'px' else 'mm2'}"], row[f"longest_diameter_{unit}"]
        measured = [round(area, 1), round(length, 1), "px" if unit == "px" else "mm², mm"]
    return [row["image"], label, *shares, row["lesions"], *measured, row["remarks"] or ""]


def _thumbnail(overlay: Path, folder: Path, record: dict[str, Any]) -> tuple[str, str]:
    path = folder / overlay.name
    with Image.open(overlay) as both:
        # The file shows the original at the left; here there is only room for the overlay.
        image = both.crop((both.width - record["width"], 0, both.width, both.height))
        image.thumbnail(_THUMBNAIL)
        image.save(path)
    label = record["label"] if record["label"] and not record["refused"] else text.NOT_ANALYSED.lower()
    return str(path), f"{label}: {Path(record['image']).name}"


def _pack(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zip_file:
        for path in sorted(folder.iterdir()):
            # PNG is packed already.
            method = zipfile.ZIP_STORED if path.suffix == ".png" else zipfile.ZIP_DEFLATED
            zip_file.write(path, path.name, compress_type=method)
    return archive
