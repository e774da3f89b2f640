"""All frames of a clip on the page: progress, timeline, key frame, overlay clip and table."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from busi_unet.app import text
from busi_unet.app.answers import ProgressText, answer_folder
from busi_unet.app.model import ModelInUse
from busi_unet.app.newest import Newest
from busi_unet.errors import BusiUNetError
from busi_unet.imaging.measure import quantity
from busi_unet.inference.clip import Clip, overlay_clip
from busi_unet.io.decode import MAX_FRAMES
from busi_unet.io.html import render

if TYPE_CHECKING:
    from busi_unet.app.analysis import Analysis

CLIP = (
    *("clip_frame", "clip_panel", "clip", "clip_all", "clip_cancel"),
    *("clip_results", "clip_overlays", "clip_files"),
)
"""Names of the components that belong to a whole clip."""


class _ReplacedError(Exception):
    """A newer file was chosen, so the run over this one stops."""


@dataclass
class ClipRun:
    """A run over all frames of a file, and its answer; `file` is the number of the event that set it."""

    file: int
    cancelled: bool = False
    answer: dict[str, Any] | None = None


class ClipHandlers:
    """Handlers of the clip's events; their answers name `clip_run` and components of `CLIP`."""

    def __init__(self, model: Callable[[], ModelInUse]) -> None:
        self._model = model

    def begin(self, file: float, newest: Newest) -> dict[str, Any]:
        """Start a run over the file of this number, unless a newer one was chosen."""
        if file != newest.file:
            return {}
        buttons = {"clip_all": gr.Button(visible=False), "clip_cancel": gr.Button(visible=True)}
        return {"clip_run": ClipRun(newest.file), "clip": _shown(newest.file, text.WAIT), **buttons}

    def cancel(self, run: ClipRun | None) -> None:
        """Stop the run after the frame at hand; what is done is kept."""
        if run:
            run.cancelled = True

    def run(
        self, newest: Newest, run: ClipRun | None, path: str | None, kept: Analysis | None
    ) -> Iterator[str]:
        """Analyse the frames of the file and yield the progress; stop when a newer file is chosen.

        Pixel size and "analyse anyway" of the frame that is shown count for all.
        """
        if run is None or run.answer or run.file != newest.file or path is None:
            return
        try:
            yield from self._run(newest, run, path, kept)
        except _ReplacedError:
            return
        except BusiUNetError as error:
            run.answer = {"clip": _shown(run.file, str(error))}
        except Exception:
            traceback.print_exc()
            run.answer = {"clip": _shown(run.file, text.TRY_AGAIN)}

    def show(self, newest: Newest, run: ClipRun | None) -> dict[str, Any]:
        """Return what the page shows of a run that has ended; nothing if a newer file was chosen."""
        if run is None or run.file != newest.file or run.answer is None:
            return {}
        return {"clip_cancel": gr.Button(visible=False), "clip_all": gr.Button(visible=True), **run.answer}

    def _run(self, newest: Newest, run: ClipRun, path: str, kept: Analysis | None) -> Iterator[str]:
        model = self._model()
        clip = Clip()
        settings = {"spacing_mm": kept.typed_mm, "anyway": kept.anyway} if kept else {}
        threshold = model.predictor.config.thresholds.malignant
        frames = model.predictor.predict_clip(path, name="The file", **settings)
        folder = answer_folder()
        name = kept.name if kept else "clip"
        overlays, table = folder / f"{name}_overlay.webp", folder / f"{name}_frames.csv"
        progress = ProgressText("frames")
        with overlays.open("w+b") as file, overlay_clip(file, Path(path)) as add:
            for prediction in frames:
                if run.file != newest.file:
                    # Not `return`, after which the overlays would still be written.
                    raise _ReplacedError
                clip.add(prediction)
                add(prediction)
                if run.cancelled:
                    break
                if told := progress.tell(len(clip.rows), prediction.frames):
                    yield _shown(run.file, told, clip, threshold)
            yield _shown(run.file, text.CLIP_WRITING, clip, threshold)
        table.write_bytes(clip.to_csv())
        ended = text.clip_ended(len(clip.rows), clip.to_dict())
        run.answer = {
            "clip": _shown(run.file, ended, clip, threshold, ended=True),
            "clip_all": gr.Button(visible=len(clip.rows) < prediction.frames),
            "clip_results": gr.Accordion(visible=True),
            "clip_overlays": str(overlays),
            "clip_files": [str(table), str(overlays)],
        }


def lay_out_clip() -> dict[str, Any]:
    """Return the components by name."""
    parts: dict[str, Any] = {"clip_run": gr.State(None, time_to_live=7200)}
    with gr.Column(visible=False, elem_id="clip") as parts["clip_panel"], gr.Row(equal_height=False):
        parts["clip"] = gr.HTML("", label=text.CLIP, padding=False, elem_id="clip-timeline")
        parts["clip_all"] = gr.Button("", variant="primary", size="sm", elem_id="clip-all")
        parts["clip_cancel"] = gr.Button(
            text.CANCEL, variant="stop", size="sm", visible=False, elem_id="clip-cancel"
        )
    return parts


def lay_out_clip_results() -> dict[str, Any]:
    """Return the components of the downloads, by name."""
    parts: dict[str, Any] = {}
    results = gr.Accordion(text.CLIP_RESULTS, open=False, visible=False)
    with results, gr.Row():
        parts["clip_results"] = results
        parts["clip_overlays"] = gr.Image(
            label=text.OVERLAYS,
            format="webp",
            interactive=False,
            buttons=["download", "fullscreen"],
            height=300,
            elem_id="clip-overlays",
        )
        parts["clip_files"] = gr.File(
            label=text.CLIP_FILES,
            interactive=False,
            height=150,
            elem_id="clip-files",
        )
    return parts


def no_clip() -> dict[str, Any]:
    """Return the values of a page without a clip."""
    return {
        "clip_frame": gr.Slider(visible=False),
        "clip_panel": gr.Column(visible=False),
        "clip": "",
        "clip_results": gr.Accordion(visible=False),
        "clip_overlays": None,
        "clip_files": None,
    }


def offer_clip(analysis: Analysis) -> dict[str, Any]:
    """Return what says that only one frame is analysed, and offers to analyse the others."""
    frames = analysis.image.frames
    at_hand = analysis.in_box
    if frames == 1:
        return no_clip()
    return {
        **no_clip(),
        "clip_frame": gr.Slider(value=analysis.image.index + 1, maximum=frames, visible=at_hand),
        "clip_panel": gr.Column(visible=True),
        "clip": _shown(analysis.number, text.clip_offer(frames, MAX_FRAMES, at_hand=at_hand)),
        "clip_all": gr.Button(text.CLIP_ALL.format(frames), visible=at_hand and frames <= MAX_FRAMES),
        "clip_cancel": gr.Button(visible=False),
    }


def _shown(
    file: int, status: str, clip: Clip | None = None, threshold: float = 0, *, ended: bool = False
) -> str:
    """Return the panel as HTML; the browser hides it when the number of the file is no longer the newest."""
    plot = _plot(clip, threshold) if clip and clip.rows else None
    buttons = _buttons(clip) if clip and ended else []
    return render("clip.html", file=file, status=status, plot=plot, buttons=buttons, legend=text.CLIP_LEGEND)


def _plot(clip: Clip, threshold: float) -> dict[str, Any]:
    """Return the paths of the timeline: a frame is one unit wide, malignancy above, area below."""
    areas = clip.areas
    largest = max(filter(None, areas), default=0)
    bars = (
        f"M{place} 100V{100 - 44 * area / largest:.1f}h1V100Z" for place, area in enumerate(areas) if area
    )
    line = []
    before = None
    for place, share in enumerate(clip.malignant):
        if share is not None:
            point = f"{place + 0.5} {46 - 42 * share:.1f}"
            line.append(f"M{point}h.01" if before is None else f"L{point}")
        before = share
    refused = (f"M{place} 0h1V100h-1Z" for place, area in enumerate(areas) if area is None)
    return {
        "frames": clip.rows[0]["frames"],
        "areas": "".join(bars),
        "malignant": "".join(line),
        "refused": "".join(refused),
        "threshold": f"{46 - 42 * threshold:.1f}",
        "key": clip.key_frame,
        "largest": f" to {_area(largest, clip.unit)}" if largest else "",
    }


def _buttons(clip: Clip) -> list[tuple[int, str]]:
    told = clip.to_dict()
    if not told["analysed"]:
        return []
    share, frame = text.percent(told["highest_p_malignant"]), told["highest_p_malignant_frame"]
    buttons = [
        (told["key_frame"], text.KEY_FRAME.format(told["key_frame"])),
        (frame, text.MOST_MALIGNANT.format(share, frame)),
    ]
    if frame := told["largest_area_frame"]:
        area = _area(told["largest_area"], told["largest_area_unit"])
        buttons.append((frame, text.LARGEST.format(area, frame)))
    return buttons


def _area(area: float, unit: str) -> str:
    return quantity(area, unit="mm²" if unit == "mm2" else "px²")
