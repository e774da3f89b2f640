"""Rows of a batch that show one lesion or patient, summarised together."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from busi_unet.app import text
from busi_unet.app.answers import answer_folder, cache_folder, shown_errors
from busi_unet.app.image_answer import card
from busi_unet.errors import UsageError
from busi_unet.inference.run import JSON_LINES_NAME
from busi_unet.inference.views import NAMES, describe_views, group_by_dicom, summarise_views, write_views
from busi_unet.io.find_images import ImageFile, find_images

_TITLE = "Several images of one lesion or patient"
_CHOICE, _INFO = "Rows", "Two or more. Without any, DICOM files are grouped by patient and examination."
_START, _FILES = "Summarise together", "Summary (JSON lines, CSV)"
_TOO_FEW = (
    "There are not two images to summarise.",
    "Choose two rows or more; without any, the files need DICOM tags of patient and examination.",
)


class Views:
    """The part of the tab below the table, laid out inside the caller's `gr.Tab`."""

    def __init__(self) -> None:
        with gr.Accordion(_TITLE, open=False, visible=False, elem_id="views") as self.panel:
            self.chosen = gr.Dropdown([], multiselect=True, label=_CHOICE, info=_INFO, elem_id="views-chosen")
            self._button = gr.Button(_START, size="md", elem_id="views-start")
            self.shown = gr.HTML("", padding=False, elem_id="views-shown")
            self.files = gr.File(
                label=_FILES, interactive=False, visible=False, height=150, elem_id="views-files"
            )

    @property
    def outputs(self) -> list[Any]:
        """What `offer` answers."""
        return [self.panel, self.chosen, self.shown, self.files]

    def bind(self, images: gr.File, archive: gr.DownloadButton, limits: Mapping[str, Any]) -> None:
        """Summarise on a click; `limits` are those of `find_images`."""

        @shown_errors()
        def summarise(
            chosen: list[int] | None, paths: list[str] | None, results: str | None
        ) -> tuple[Any, ...]:
            return summarise_rows(chosen, paths, results, limits)

        self._button.click(
            *(summarise, [self.chosen, images, archive], [self.shown, self.files]),
            api_visibility="private",
            concurrency_limit=None,
        )
        # What is shown belongs to what was chosen.
        outputs = [self.shown, self.files]
        self.chosen.change(None, outputs=outputs, js="() => ['', null]", api_visibility="private")


def offer(rows: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """Return the panel for the rows of a batch that is done."""
    choices = [(f"{number}. {image}", number) for number, image, *_ in rows]
    return gr.Accordion(visible=len(rows) > 1), gr.Dropdown(choices=choices, value=None), "", _no_files()


def summarise_rows(
    chosen: Sequence[int] | None, paths: list[str] | None, archive: str | None, limits: Mapping[str, Any]
) -> tuple[str, Any]:
    """Summarise rows of a batch, by their numbers; without any, DICOM files by patient and examination.

    Returns:
        The summaries as HTML, and the component with their files.

    Raises:
        UsageError: other files are chosen by now; too few rows, or of different patients.
    """
    with tempfile.TemporaryDirectory(dir=cache_folder(), ignore_cleanup_errors=True) as folder:
        files = find_images(map(Path, paths or ()), Path(folder), show=lambda path: path.name, **limits)
        records = _records(archive, files)
        found = {file.shown: file.path for file in files}
        told = dict(zip(found, records, strict=False))
        known = {name: found[name] for name, record in told.items() if not record["error"]}
        names = list(found)
        groups = {"": [names[number - 1] for number in chosen]} if chosen else group_by_dicom(known)
        if not groups or (chosen and len(chosen) == 1):
            raise UsageError(*_TOO_FEW)
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
    """Return the records of a batch, those of its files; a cancelled one has fewer."""
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
    kind, headline = "malignant" if summary["flagged"] else agreed, sentences.pop(0).rstrip(".")
    return card(kind, headline, sentences, name=images, flagged=summary["flagged"])


def _no_files() -> gr.File:
    return gr.File(value=None, visible=False)
