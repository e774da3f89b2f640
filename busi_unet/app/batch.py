"""The tab for many images: components, their places, and which event runs which handler."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from busi_unet.app import text
from busi_unet.app.batch_handlers import (
    COLUMN_WIDTHS,
    DATATYPES,
    HEADERS,
    MAX_IMAGES,
    MAX_MEGABYTES,
    BatchAnswer,
    BatchHandlers,
)
from busi_unet.app.model import ModelInUse

_INVITATION = text.batch_invitation(MAX_IMAGES, MAX_MEGABYTES)


def build_batch_tab(model: Callable[[], ModelInUse]) -> None:
    """Build the tab inside the caller's `gr.Tab`; its one public event is `/predict_many`.

    Args:
        model: gives the weights in use; called when the first batch runs, not before.
    """
    handlers = BatchHandlers(model)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=280):
            images = gr.File(
                label=text.BATCH_FILES,
                file_count="multiple",
                # DICOM files often have no ending, so every file may be chosen; a bad one gives a row.
                file_types=None,
                height=190,
                elem_id="batch-images",
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
        column_widths=COLUMN_WIDTHS,
        type="array",
        interactive=False,
        wrap=True,
        max_height=420,
        buttons=["copy", "fullscreen"],
        elem_id="batch-table",
    )

    answer = [archive, table, status, gallery]
    private = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    buttons = [start, cancel, archive]
    begun = start.click(handlers.begin, **private)
    begun.then(
        lambda: (_active(False), _active(True), _download(False), text.WAIT),
        outputs=[*buttons, status],
        **private,
    )
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
    done.failure(lambda: BatchAnswer(None, [], text.BATCH_FAILED, []), outputs=answer, **private)
    for event, ready in ((done.success, True), (done.failure, False)):
        event(
            lambda ready=ready: (_active(True), _active(False), _download(ready)), outputs=buttons, **private
        )
    cancel.click(handlers.cancel, outputs=status, **private)
    images.clear(lambda: BatchAnswer(None, [], _INVITATION, []), outputs=answer, **private)
    images.clear(lambda: _download(False), outputs=archive, **private)


def _active(value: bool) -> gr.Button:
    return gr.Button(interactive=value)


def _download(ready: bool) -> gr.DownloadButton:
    return gr.DownloadButton(interactive=ready)
