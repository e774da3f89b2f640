"""The components of the tab for one image and their places; each has a name, by which events find it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from busi_unet.app import text
from busi_unet.app.analysis import MEASUREMENT_WIDTHS, Look
from busi_unet.app.clip import lay_out_clip, lay_out_clip_results
from busi_unet.app.image_answer import card
from busi_unet.app.newest import Newest
from busi_unet.app.strips import strip
from busi_unet.config import CLASS_NAMES, Thresholds
from busi_unet.imaging.formats import FORMATS
from busi_unet.imaging.overlay import COLORS

Parts = dict[str, Any]
BRUSH_COLOR, BRUSH_OPACITY = (230, 159, 0), 0.4
_KEPT_SECONDS = 7200


def lay_out() -> Parts:
    """Return the components by name, laid out inside the caller's `gr.Tab`."""
    parts: Parts = {
        # The analysis that is worked on, see `Analysis`.
        "kept": gr.State(None, time_to_live=_KEPT_SECONDS),
        "newest": gr.State(Newest()),
        # Of the image that is shown; a component, so that the browser notices when it changes.
        "number": gr.Number(visible="hidden"),
    }
    with gr.Row(equal_height=False, elem_id="one-image"):
        with gr.Column(scale=2, min_width=280, elem_id="sources"):
            parts |= {**_sources(), **_display()}
        with gr.Column(scale=5, min_width=320):
            parts |= _result()
            with gr.Tabs(overflow_behavior="wrap", elem_id="more"):
                parts |= {**_measurements(), **_comparison(), **_correction(), **_downloads()}
                with gr.Tab(text.ALL_VALUES):
                    parts["report"] = gr.JSON(label=text.REPORT, show_label=False, elem_id="report")
    return parts


def _sources() -> Parts:
    # Not gr.Image, which would decode the file itself and shows no TIFF. Any file may be chosen: DICOM files
    # often have no ending.
    image = gr.File(label=text.IMAGE, height=150, elem_id="image")
    # What the API page puts in its code samples, instead of a PDF on another host.
    image.example_payload = lambda: {
        "path": "image.png",
        "orig_name": "image.png",
        "meta": {"_type": "gradio.FileData"},
    }
    examples = strip(text.EXAMPLES, text.EXAMPLE, "examples")
    gr.Markdown(text.EXAMPLES_SOURCE, elem_id="examples-source")
    recent = strip(text.RECENT, text.LAST_IMAGE, "recent")
    with gr.Accordion(text.OTHER_SOURCES, open=False):
        capture = gr.Image(
            label=text.CAPTURE,
            sources=["clipboard", "webcam"],
            type="filepath",
            image_mode=None,
            height=240,
            # For photos of a screen: not mirrored, and by the rear camera of a phone.
            webcam_options=gr.WebcamOptions(
                mirror=False, constraints={"video": {"facingMode": "environment"}}
            ),
            elem_id="capture",
        )
    return {
        "image": image,
        "examples": examples,
        "recent": recent,
        "capture": capture,
        "clip_frame": gr.Slider(
            *(1, 2, 1), step=1, label=text.CLIP_FRAME, visible=False, buttons=[], elem_id="clip-frame"
        ),
        "pixel_size": gr.Number(
            None, label=text.PIXEL_SIZE, info=text.PIXEL_SIZE_INFO, step=0.001, elem_id="pixel-size"
        ),
    }


def _display() -> Parts:
    with gr.Accordion(text.DISPLAY, open=True, elem_id="display"):
        return {
            "view": gr.Dropdown(list(text.VIEWS), value=Look.view, label=text.VIEW, elem_id="view"),
            "threshold": gr.Slider(
                *(0.05, 0.95, Thresholds().mask),
                step=0.01,
                label=text.THRESHOLD,
                info=text.THRESHOLD_INFO,
                # Gradio's reset button would restore the value above, not that of the weights in use.
                buttons=[],
                elem_id="threshold",
            ),
            "opacity": gr.Slider(
                *(0, 1, Look.opacity), step=0.05, label=text.OPACITY, buttons=[], elem_id="opacity"
            ),
            "color": gr.Dropdown(list(COLORS), value=Look.color, label=text.COLOR, elem_id="color"),
            "diameters": gr.Checkbox(Look.diameters, label=text.DIAMETERS, elem_id="diameters"),
        }


def _result() -> Parts:
    parts: Parts = {
        "verdict": gr.HTML(
            card("empty", "", [text.INVITATION]), label=text.VERDICT, padding=False, elem_id="verdict"
        ),
    }
    with gr.Row(elem_id="tools"):
        for name, label in (
            ("anyway", text.ANYWAY),
            ("crop_start", text.CROP_START),
            ("crop", text.CROP),
            ("crop_cancel", text.CANCEL),
            ("left", text.LEFT),
            ("right", text.RIGHT),
            ("blacken", text.BLACKEN),
        ):
            parts[name] = gr.Button(
                label,
                # page.css shows them while a box is drawn.
                visible=name in ("crop", "crop_cancel"),
                size="sm",
                min_width=120,
                variant="primary" if name == "crop" else "secondary",
                elem_id=name.replace("_", "-"),
            )
    gr.Markdown(text.CROP_HINT, elem_id="crop-hint")
    # Left, top, right and bottom in pixels; what is drawn over the image is written here.
    parts["crop_box"] = gr.Textbox(visible="hidden", elem_id="crop-box")
    parts |= lay_out_clip()
    with gr.Row(elem_id="shown"):
        parts |= {
            name: _shown_image(name, label, min_width=150)
            for name, label in (("original", text.ORIGINAL), ("overlay", text.OVERLAY))
        }
    parts["legend"] = gr.Markdown("", elem_id="legend")
    parts |= lay_out_clip_results()
    parts["findings"] = gr.Markdown("", label=text.FINDINGS, elem_id="findings")
    return parts


def _shown_image(name: str, label: str, **options: Any) -> gr.Image:
    return gr.Image(
        label=label,
        format="png",
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_id=name,
        **options,
    )


def _measurements() -> Parts:
    with gr.Tab(text.MEASUREMENTS):
        parts: Parts = {
            "measurements": gr.Dataframe(
                headers=list(text.MEASUREMENT_HEADERS),
                label=text.MEASUREMENTS_LABEL,
                type="array",
                column_widths=MEASUREMENT_WIDTHS,
                interactive=False,
                wrap=True,
                buttons=["copy"],
                elem_id="measurements",
            )
        }
        gr.Markdown(text.MEASUREMENT_LEGEND, elem_id="measurement-legend")
    return parts


def _comparison() -> Parts:
    with gr.Tab(text.REFERENCE):
        return {
            "reference": gr.File(
                label=text.REFERENCE_LABEL,
                type="binary",
                file_count="multiple",
                height=120,
                elem_id="reference",
            ),
            "agreement": gr.Markdown("", elem_id="agreement"),
            "agreement_image": _shown_image("agreement-image", text.AGREEMENT, height=320),
        }


def brush(radius: int | str) -> gr.Brush:
    """Return the brush of the editor; its radius in pixels of the image."""
    color = "rgb({}, {}, {})".format(*BRUSH_COLOR)
    return gr.Brush(colors=[(color, BRUSH_OPACITY)], default_size=radius, color_mode="fixed")


def _correction() -> Parts:
    parts: Parts = {}
    with gr.Tab(text.CORRECT, elem_id="correct"):
        with gr.Row():
            parts["mode"] = gr.Radio(
                list(text.CORRECT_MODES),
                value=text.LESION_HERE,
                label=text.CORRECT_MODE,
                scale=4,
                min_width=320,
                elem_id="correct-mode",
            )
            for name, label in (("undo", text.CORRECT_UNDO), ("drop", text.CORRECT_DROP)):
                parts[name] = gr.Button(label, scale=1, min_width=100, elem_id=f"correct-{name}")
        parts["hint"] = gr.Markdown(text.CORRECT_HINT, elem_id="correct-hint")
        # Where a click is, which page.js writes.
        parts["clicked"] = gr.Textbox(visible="hidden", elem_id="clicked")
        with gr.Column(visible=False) as parts["brush"]:
            parts["editor"] = gr.ImageEditor(
                label=text.EDITOR,
                type="numpy",
                format="png",
                sources=[],
                transforms=(),
                # Small, as the editor centres a mask on the larger of this and the image.
                canvas_size=(32, 32),
                brush=brush("auto"),
                layers=gr.LayerOptions(allow_additional_layers=False, layers=["lesion"]),
                height=480,
                elem_id="editor",
            )
            parts["apply"] = gr.Button(text.CORRECT_APPLY, variant="primary", elem_id="correct-apply")
        with gr.Row():
            parts["pair_class"] = gr.Radio(list(CLASS_NAMES), label=text.PAIR_CLASS, elem_id="pair-class")
            parts["make_pair"] = gr.Button(text.MAKE_PAIR, elem_id="make-pair")
        parts["pair_file"] = gr.File(label=text.PAIR_FILE, interactive=False, height=90, elem_id="pair-file")
    return parts


def formats_to_choose(elem_id: str) -> gr.CheckboxGroup:
    """Return the choice of the formats of `imaging.formats`, PNG chosen."""
    return gr.CheckboxGroup(
        [(each.title, name) for name, each in FORMATS.items()],
        value=["png"],
        label=text.FORMATS,
        info=text.FORMATS_INFO,
        elem_id=elem_id,
    )


def _downloads() -> Parts:
    with gr.Tab(text.DOWNLOAD):
        return {
            "share": gr.Markdown("", elem_id="share"),
            "formats": formats_to_choose("formats"),
            "make_files": gr.Button(text.MAKE_FILES, variant="primary", elem_id="make-files"),
            "files": gr.File(label=text.FILES, interactive=False, elem_id="downloads"),
        }
