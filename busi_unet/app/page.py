"""The page: its tabs, its looks and its limits."""

from __future__ import annotations

from typing import Any

import gradio as gr

from busi_unet.app import text
from busi_unet.app.about import build_about_tab
from busi_unet.app.batch import build_batch_tab
from busi_unet.app.batch_handlers import MAX_MEGABYTES
from busi_unet.app.image_tab import build_image_tab
from busi_unet.app.model import LazyModel

# How many may wait; whoever comes then is told at once that the app is busy.
MAX_WAITING = 40
_HOUR = 3600

_CSS = """
.gradio-container { width: 100%; max-width: 1120px !important; margin: 0 auto !important; }
#intro h1 { margin-bottom: 0; }
#intro p { margin: .3rem 0 0; color: var(--body-text-color-subdued); }
#intro strong { color: var(--body-text-color); }
#examples .grid-wrap { padding-top: 2.25rem; overflow: hidden; }
#examples .grid-container { grid-template-columns: repeat(3, minmax(0, 1fr)); }
#examples .thumbnail-item { aspect-ratio: 4 / 3; height: auto; }
#examples .caption-label { padding: 0 .3rem; font-size: .65rem; max-width: 100%; text-transform: capitalize; }
#examples-source p { margin: 0; color: var(--body-text-color-subdued); font-size: var(--text-xs); }
#findings p { margin: 0 0 .6rem; }
#findings p:nth-child(n+2):last-child { color: var(--body-text-color-subdued); font-size: var(--text-sm); }
#findings blockquote {
    margin: 0 0 .8rem; padding: .5rem .75rem; border-left: 4px solid #e69f00;
    background: var(--background-fill-secondary);
}
#findings blockquote p { margin: 0 !important; }
body:not(.dark) button[role="tab"].selected { color: var(--primary-700); }
#original img, #overlay img, #agreement-image img { object-fit: contain !important; }
body[data-stale] :is(#original, #overlay, #pair, #legend, #probabilities, #findings, #more) {
    visibility: hidden;
}
:root { --focus: var(--primary-700); }
.dark { --focus: var(--primary-400); }
input[type="range"]:focus-visible, input[type="radio"]:focus-visible,
.wrap-inner:has(input[role="combobox"]:focus-visible) {
    outline: 2px solid var(--focus); outline-offset: 2px;
}
/* On a phone the result comes before the settings of how it is drawn. */
@media (max-width: 640px) {
    #original, #overlay { height: 210px !important; }
    #one-image { flex-direction: column; flex-wrap: nowrap; }
    #one-image > .column { display: contents; }
    #display { order: 1; }
    #more { order: 2; }
}
"""

# Names for what Gradio leaves without one, for screen readers: the button around an image, the place where
# one is missing, the examples and the two images that are compared.
_JS = """() => {
    const name = () => {
        for (const button of document.querySelectorAll("button:not([aria-label]):has(> .image-frame)")) {
            const label = button.closest(".block")?.querySelector("[data-testid='block-label']");
            button.setAttribute("aria-label", label?.textContent.trim() || "Image");
        }
        for (const empty of document.querySelectorAll("div.empty[aria-label]:not([role])")) {
            empty.setAttribute("role", "img");
        }
        for (const example of document.querySelectorAll("#examples .thumbnail-item")) {
            const caption = example.querySelector(".caption-label")?.textContent.trim();
            if (caption) example.setAttribute("aria-label", `Example, ${caption}`);
        }
        document.querySelectorAll("#pair img").forEach((image, number) => {
            image.alt = number ? "Overlay" : "Original";
        });
    };
    new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
    name();
}"""

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
    "css": _CSS,
    "js": _JS,
    "footer_links": ["api", "settings"],
    # A batch may be one zip; for a single image its handler has a limit of its own.
    "max_file_size": f"{MAX_MEGABYTES}mb",
    # Medical images: Gradio would keep every run in the reader's browser.
    "run_history": False,
    "ssr_mode": False,
    # What is kept of a visitor's image lies in memory; the visitor of longest ago makes room.
    "state_session_capacity": 200,
    "mcp_server": True,
}


class Page(gr.Blocks):
    """Blocks whose public calls need not name the inputs that have a default.

    Gradio's own clients fill in what is left out; a plain HTTP call would be refused.
    """

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        """Fill in the defaults of the trailing inputs that are missing, in place."""
        if block_fn.api_visibility == "public":
            inputs += [block.value for block in block_fn.inputs[len(inputs) :]]
        super().validate_inputs(block_fn, inputs)


def build_page(requested: str | None = None) -> Page:
    """Build the app without loading any weights.

    Args:
        requested: Hub id or folder of the weights; None for the embedded ones.

    Returns:
        Blocks to launch with `LAUNCH_OPTIONS`. Its API has two calls: `/predict`, an image in and
        a `PublicAnswer` out, and `/predict_many`.
    """
    model = LazyModel(requested)
    with Page(title=text.TITLE, analytics_enabled=False, delete_cache=(_HOUR, _HOUR)) as demo:
        gr.Markdown(f"# {text.TITLE}\n{text.INTRODUCTION}", elem_id="intro")
        with gr.Tab(text.ONE_IMAGE):
            build_image_tab(model, demo)
        with gr.Tab(text.MANY_IMAGES):
            build_batch_tab(model)
        with gr.Tab(text.ABOUT) as about:
            build_about_tab(model, about)
    return demo.queue(max_size=MAX_WAITING)
