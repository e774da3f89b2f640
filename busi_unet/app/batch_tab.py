"""The tab for many images: its components, and which event runs which handler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from busi_unet.app import text
from busi_unet.app.answers import shown_errors
from busi_unet.app.batch import (
    HEADERS,
    MAX_IMAGES,
    MAX_MEGABYTES,
    BatchHandlers,
    filtered,
    summarise_rows,
    table,
)
from busi_unet.app.image_parts import Parts, formats_to_choose
from busi_unet.app.model import ModelInUse
from busi_unet.config import CLASS_NAMES

_NUMBERS = {"No.", *(name.capitalize() for name in CLASS_NAMES), "Lesions", "Longest"}
# Together they fill a window of 1280 pixels.
_COLUMN_WIDTHS = [f"{width}px" for width in (44, 214, 124, 104, 76, 76, 98, 104, 76, 82, 54, 196)]
_INVITATION = text.batch_invitation(MAX_IMAGES, MAX_MEGABYTES)


def build_batch_tab(model: Callable[[], ModelInUse]) -> tuple[gr.Dataframe, gr.File]:
    """Build the tab inside the caller's `gr.Tab`, with `/predict_many`; return its table and its files."""
    handlers = BatchHandlers(model)
    parts = _lay_out()
    images, shown = parts["images"], parts["table"]
    changed = [part for name, part in parts.items() if name not in ("images", "formats")]

    def named(answer: dict[str, Any]) -> dict[Any, Any]:
        return {parts[name]: value for name, value in answer.items()}

    def begin(request: gr.Request) -> dict[Any, Any]:
        handlers.begin(request)
        return named({"status": text.WAIT, **_controls(running=True), **_offer([])})

    def end(rows: list[list[Any]]) -> dict[Any, Any]:
        return named({"rows": rows, **_controls(done=True), **_offer(rows)})

    def clear(status: str) -> dict[Any, Any]:
        return named({"status": status, "table": table([]), "gallery": [], **_controls(), **_offer([])})

    private = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    begun = parts["start"].click(begin, outputs=changed, **private)
    done = begun.then(
        handlers.predict_many,
        [images, parts["formats"]],
        [parts[name] for name in ("archive", "table", "status", "gallery")],
        api_name="predict_many",
        # The status shows the progress.
        show_progress="hidden",
        # A queue of its own: a batch lasts minutes, and single images must not wait for it.
        concurrency_id="batch",
        concurrency_limit=1,
    )
    done.success(end, shown, changed, **private)
    done.failure(lambda: clear(text.BATCH_FAILED), outputs=changed, **private)
    parts["cancel"].click(handlers.cancel, outputs=parts["status"], **private)
    images.clear(lambda: clear(_INVITATION), outputs=changed, **private)
    parts["filter"].input(
        lambda rows, choice: table(filtered(rows, choice)), [parts["rows"], parts["filter"]], shown, **private
    )
    summaries = [parts["views_shown"], parts["views_files"]]
    parts["views_start"].click(
        shown_errors()(summarise_rows),
        [parts["views_chosen"], images, parts["archive"]],
        summaries,
        api_visibility="private",
        concurrency_limit=None,
    )
    # A summary is removed when other rows are chosen.
    parts["views_chosen"].change(None, outputs=summaries, js="() => ['', null]", api_visibility="private")
    return shown, images


def _controls(*, running: bool = False, done: bool = False) -> dict[str, Any]:
    """Return what can be pressed, while a batch runs and when it is done."""
    archive = (
        gr.DownloadButton(interactive=True) if done else gr.DownloadButton(value=None, interactive=False)
    )
    return {
        "start": gr.Button(interactive=not running),
        "cancel": gr.Button(interactive=running),
        "archive": archive,
        "filter": gr.Radio(value=text.BATCH_ALL, interactive=done),
    }


def _offer(rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return the panel that summarises rows of a batch that is done."""
    choices = [(f"{number}. {image}", number) for number, image, *_ in rows]
    return {
        "views": gr.Accordion(visible=len(rows) > 1),
        "views_chosen": gr.Dropdown(choices=choices, value=None),
        "views_shown": "",
        "views_files": gr.File(value=None, visible=False),
    }


def _lay_out() -> Parts:
    """Return the components by name."""
    parts: Parts = {}
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=280):
            # DICOM files often have no ending, so every file may be chosen; a bad one gives a row.
            parts["images"] = gr.File(
                label=text.BATCH_FILES, file_count="multiple", height=170, elem_id="batch-images"
            )
            parts["images"].example_payload = lambda: [
                {"path": name, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
                for name in ("first.png", "second.dcm")
            ]
        with gr.Column(scale=2, min_width=280):
            gr.Button(text.BATCH_FOLDER, size="md", elem_id="batch-folder")
            with gr.Accordion(text.FORMATS, open=False):
                parts["formats"] = formats_to_choose("batch-formats")
            with gr.Row():
                parts["start"] = gr.Button(
                    text.BATCH_START, variant="primary", min_width=120, elem_id="batch-start"
                )
                parts["cancel"] = gr.Button(
                    text.CANCEL,
                    variant="stop",
                    min_width=120,
                    interactive=False,
                    elem_id="batch-cancel",
                )
            parts["archive"] = gr.DownloadButton(
                text.BATCH_DOWNLOAD, interactive=False, elem_id="batch-archive"
            )
        with gr.Column(scale=4, min_width=320):
            parts["status"] = gr.Markdown(
                _INVITATION, label=text.BATCH_PROGRESS, elem_id="batch-status", min_height=60
            )
            parts["filter"] = gr.Radio(
                [text.BATCH_ALL, text.BATCH_FLAGGED, text.BATCH_REFUSED],
                value=text.BATCH_ALL,
                label=text.BATCH_FILTER,
                show_label=False,
                container=False,
                interactive=False,
                elem_id="batch-filter",
            )
            gr.Markdown(text.BATCH_TABLE_HINT, elem_id="batch-hint")
    parts["table"] = gr.Dataframe(
        label=text.BATCH_TABLE,
        headers=HEADERS,
        datatype=["number" if name in _NUMBERS else "str" for name in HEADERS],
        column_widths=_COLUMN_WIDTHS,
        type="array",
        interactive=False,
        wrap=True,
        max_height=420,
        buttons=["copy", "fullscreen"],
        elem_id="batch-table",
    )
    parts |= _views()
    parts["gallery"] = gr.Gallery(
        label=text.OVERLAYS,
        columns=4,
        height=560,
        format="png",
        object_fit="contain",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="batch-gallery",
    )
    parts["rows"] = gr.State([], time_to_live=7200)
    return parts


def _views() -> Parts:
    """Return the panel that summarises several rows."""
    with gr.Accordion(text.SUMMARY, open=False, visible=False, elem_id="views") as panel:
        return {
            "views": panel,
            "views_chosen": gr.Dropdown(
                [],
                multiselect=True,
                label=text.SUMMARY_ROWS,
                info=text.SUMMARY_INFO,
                elem_id="views-chosen",
            ),
            "views_start": gr.Button(text.SUMMARY_START, size="md", elem_id="views-start"),
            "views_shown": gr.HTML("", padding=False, elem_id="views-shown"),
            "views_files": gr.File(
                label=text.SUMMARY_FILES,
                interactive=False,
                visible=False,
                height=150,
                elem_id="views-files",
            ),
        }
