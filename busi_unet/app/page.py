"""The page: its tabs, its looks and its limits."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import gradio as gr

from busi_unet.app import text
from busi_unet.app.about import build_about_tab
from busi_unet.app.batch import MAX_IMAGES, MAX_MEGABYTES
from busi_unet.app.batch_tab import build_batch_tab
from busi_unet.app.image_handlers import MAX_IMAGE_MEGABYTES
from busi_unet.app.image_tab import build_image_tab
from busi_unet.app.memory import share_heaps
from busi_unet.app.model import LazyModel
from busi_unet.io.decode import EXTENSIONS
from busi_unet.io.find_images import DICOM_RESULTS, RESULT_NAMES

# How many may wait; whoever comes then is told at once that the app is busy.
MAX_WAITING = 40
_HOUR = 3600
_FOLDER = Path(__file__).parent

# What the browser needs to know of files before it uploads them: limits, and what to take from a folder.
_FILES = {
    "limits": {
        "#image": {
            "files": 1,
            "megabytes": MAX_IMAGE_MEGABYTES,
            "told": " ".join(text.too_many_megabytes("{megabytes}", MAX_IMAGE_MEGABYTES)),
        },
        "#batch-images": {
            "files": MAX_IMAGES,
            "megabytes": MAX_MEGABYTES,
            "told": " ".join(text.batch_too_large("{files}", "{megabytes}", MAX_IMAGES, MAX_MEGABYTES)),
        },
    },
    "endings": sorted({*EXTENSIONS, ".zip"}),
    "results": [RESULT_NAMES.pattern, *(f"{re.escape(ending)}$" for ending in DICOM_RESULTS)],
}

_THEME = gr.themes.Base(
    primary_hue="orange",
    neutral_hue="slate",
    # Only fonts that the reader's machine has: the page must not call other hosts.
    font=("system-ui", "sans-serif"),
    font_mono=("ui-monospace", "monospace"),
).set(
    # The theme's own are too faint for many eyes (WCAG 2.2 asks for a contrast of 4.5).
    body_text_color_subdued="*neutral_600",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_hover_dark="*primary_800",
)

LAUNCH_OPTIONS: dict[str, Any] = {
    "theme": _THEME,
    "css": _FOLDER.joinpath("page.css").read_text(encoding="utf-8"),
    "js": _FOLDER.joinpath("page.js").read_text(encoding="utf-8").replace("__FILES__", json.dumps(_FILES)),
    "head": f"<script>{_FOLDER.joinpath('stream.js').read_text(encoding='utf-8')}</script>",
    "footer_links": ["api", "settings"],
    # A batch may be one zip; for a single image its handler has a limit of its own.
    "max_file_size": f"{MAX_MEGABYTES}mb",
    # Medical images: Gradio would keep every run in the reader's browser.
    "run_history": False,
    "ssr_mode": False,
    # What is kept of visitors' images is in memory; those who came longest ago are dropped.
    "state_session_capacity": 200,
    "mcp_server": True,
}


class Page(gr.Blocks):
    """Blocks whose public calls leave nothing behind.

    Gradio keeps a copy of the whole page for each plain call, and these soon push out what it keeps for
    visitors.
    """

    async def process_api(self, block_fn: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Answer a call, and forget its session if that holds no state."""
        try:
            return await super().process_api(block_fn, *arguments, **options)
        finally:
            session, state = options.get("session_hash"), options.get("state")
            if session and state and not state.state_data and block_fn.api_visibility == "public":
                self.state_holder.session_data.pop(session, None)
                self.state_holder.time_last_used.pop(session, None)


def build_page(requested: str | None = None) -> Page:
    """Build the app without loading any weights.

    Args:
        requested: Hub id or folder of the weights; None for the embedded ones.

    Returns:
        Blocks to launch with `LAUNCH_OPTIONS`. Its API has two calls: `/predict`, an image in and
        a `PublicAnswer` out, and `/predict_many`.
    """
    share_heaps()
    # Gradio's statistics: nobody reads them, and each call computes them again from all calls so far.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
    model = LazyModel(requested)
    with Page(title=text.TITLE, analytics_enabled=False, delete_cache=(_HOUR, _HOUR)) as demo:
        gr.Markdown(f"# {text.TITLE}\n{text.INTRODUCTION}", elem_id="intro")
        with gr.Tabs(overflow_behavior="wrap"):
            with gr.Tab(text.ONE_IMAGE):
                open_row = build_image_tab(model, demo)
            with gr.Tab(text.MANY_IMAGES):
                open_row(*build_batch_tab(model))
            with gr.Tab(text.ABOUT) as about:
                build_about_tab(model, about)
    return demo.queue(max_size=MAX_WAITING)
