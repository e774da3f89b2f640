"""The page: components, their places, and which event runs which handler."""

from __future__ import annotations

from typing import Any

import gradio as gr

from busi_unet.imaging.decode import EXTENSIONS
from busi_unet.interface.about import build_about_tab
from busi_unet.interface.batch import build_batch_tab
from busi_unet.interface.examples import thumbnails
from busi_unet.interface.handlers import INVITATION, Handlers, nothing

TITLE = "Breast ultrasound: lesion outline and class"
MAX_FILE_SIZE = "50mb"
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
#findings p { margin: 0 0 .6rem; }
#findings p:nth-child(n+2):last-child { color: var(--body-text-color-subdued); font-size: var(--text-sm); }
#findings blockquote {
    margin: 0 0 .8rem; padding: .5rem .75rem; border-left: 4px solid #e69f00;
    background: var(--background-fill-secondary);
}
#findings blockquote p { margin: 0 !important; }
@media (max-width: 640px) { #original, #overlay { height: 210px !important; } }
"""

LAUNCH_OPTIONS: dict[str, Any] = {
    # Only fonts that the reader's machine has: the page must not call other hosts.
    "theme": gr.themes.Base(
        primary_hue="orange",
        neutral_hue="slate",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    ),
    "css": _CSS,
    "footer_links": ["api", "settings"],
    "max_file_size": MAX_FILE_SIZE,
    # Medical pictures: Gradio would keep every run in the reader's browser.
    "run_history": False,
    "ssr_mode": False,
}


def build_page(requested: str | None = None) -> gr.Blocks:
    """Builds the app without loading any weights.

    Args:
        requested: Hub id or folder of the weights; None for the embedded ones.

    Returns:
        Blocks to launch with `LAUNCH_OPTIONS`. Its API has two calls: `/predict`, a picture in and
        an `Answer` out, and `/predict_many`.
    """
    handlers = Handlers(requested)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(_HOUR, _HOUR)) as demo:
        gr.Markdown(
            f"# {TITLE}\n"
            "A U-Net outlines lesions and weighs three classes: normal, benign, malignant. "
            "**Research use only, not a medical device.**",
            elem_id="intro",
        )
        with gr.Tab("One picture"):
            with gr.Row():
                with gr.Column(scale=2, min_width=280):
                    # The bytes reach our own decoder untouched; gr.Image would open the file first, and
                    # a browser has no preview for TIFF.
                    picture = gr.File(
                        label="Picture: PNG, JPEG, WebP, BMP, TIFF, DICOM",
                        type="binary",
                        file_types=sorted(EXTENSIONS),
                        height=170,
                        elem_id="picture",
                    )
                    # What the API page puts in its code samples, instead of a PDF on another host.
                    picture.example_payload = lambda: {
                        "path": "picture.png",
                        "orig_name": "picture.png",
                        "meta": {"_type": "gradio.FileData"},
                    }
                    examples = gr.Gallery(
                        label="Or a synthetic example",
                        columns=3,
                        height=130,
                        allow_preview=False,
                        format="png",
                        object_fit="cover",
                        interactive=False,
                        buttons=[],
                        elem_id="examples",
                    )
                with gr.Column(scale=5, min_width=320):
                    with gr.Row():
                        original, overlay = (
                            gr.Image(
                                label=label,
                                format="png",
                                height=360,
                                min_width=150,
                                interactive=False,
                                buttons=["download", "fullscreen"],
                                elem_id=name,
                            )
                            for name, label in (("original", "Original"), ("overlay", "Overlay"))
                        )
                    with gr.Row():
                        probabilities = gr.Label(
                            label="Class probabilities",
                            num_top_classes=3,
                            show_heading=False,
                            scale=2,
                            min_width=240,
                            elem_id="probabilities",
                        )
                        with gr.Column(scale=3, min_width=280):
                            findings = gr.Markdown(INVITATION, label="Findings", elem_id="findings")
                    with gr.Accordion("All values as JSON", open=False):
                        report = gr.JSON(label="Report", show_label=False, elem_id="report")

            answer = [overlay, probabilities, report, findings, original]
            # One run at a time over all events: they share the model and the CPU.
            run = {
                "outputs": answer,
                "show_progress_on": [overlay],
                "concurrency_id": "network",
                "concurrency_limit": 1,
            }
            helper = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
            uploaded = picture.upload(handlers.analyse, picture, api_name="predict", **run)
            chosen = examples.select(handlers.analyse_example, api_visibility="private", **run)
            chosen.then(
                lambda: (None, gr.Gallery(selected_index=None)), outputs=[picture, examples], **helper
            )
            for event in (uploaded, chosen):
                event.failure(lambda: nothing("The last picture was not analysed."), outputs=answer, **helper)
            picture.clear(nothing, outputs=answer, **helper)
            demo.load(thumbnails, outputs=examples, **helper)
        with gr.Tab("Many pictures"):
            build_batch_tab(lambda: handlers.model)
        with gr.Tab("About this model") as about:
            build_about_tab(lambda: handlers.model, about)
    return demo
