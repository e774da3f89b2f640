"""The tab "One picture": components, their places, and which event runs which handler."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from busi_unet.app import text
from busi_unet.app.analysis import MEASUREMENT_HEADERS, MEASUREMENT_WIDTHS, VIEWS, Look
from busi_unet.app.downloads import as_files
from busi_unet.app.examples import thumbnails
from busi_unet.app.image_handlers import (
    BRUSH_COLOR,
    BRUSH_OPACITY,
    INVITATION,
    LAYOUTS,
    PIXEL_SIZE_INFO,
    THRESHOLD_INFO,
    ImageHandlers,
)
from busi_unet.app.model import ModelInUse
from busi_unet.app.newest import CHECK_JS, COUNT_JS, NUMBER_JS, Newest, of_newest
from busi_unet.config import CLASS_NAMES, Thresholds
from busi_unet.imaging.overlay import COLORS

_KEPT_SECONDS = 7200
# Copies the address of a kept result; the page may lie below any path, or in a frame of another page.
_LINK_JS = """(token) => {
    if (!token) return "";
    const address = new URL(window.location.href);
    address.search = "?result=" + encodeURIComponent(token);
    address.hash = "";
    return address.toString();
}"""
_EMPTY_JS = '() => [null, "", null]'
# On a phone the result lies below what was touched.
_SHOW_JS = """() => {
    const shown = window.innerWidth <= 640 && document.querySelector("#overlay img, #pair img");
    if (shown) document.querySelector("#layout").scrollIntoView({ behavior: "smooth" });
}"""


def build_image_tab(
    model: Callable[[], ModelInUse], demo: gr.Blocks, images: Callable[[], Iterable[Path]] = tuple
) -> None:
    """Builds the tab inside the caller's `gr.Tab`; its one public event is `/predict`.

    Args:
        model: gives the weights in use; called when the first picture arrives, not before.
        demo: the page, whose address may name a kept result.
        images: gives the files that the model brings to be tried with; called after the page has loaded.
    """
    handlers = ImageHandlers(model, images)
    # The picture that is worked on, and the same as last drawn: only a new picture writes both.
    kept, drawn = (gr.State(None, time_to_live=_KEPT_SECONDS) for _ in range(2))
    newest = gr.State(Newest())
    # Of the image that is shown; in the page, so that the browser tells when it changes.
    number = gr.Number(visible="hidden")
    with gr.Row(equal_height=False, elem_id="one-image"):
        with gr.Column(scale=2, min_width=280):
            # The file reaches our own decoder untouched; gr.Image would open it first, and a browser has no
            # preview for TIFF. Any may be chosen: DICOM files often have no ending.
            image = gr.File(
                label="Image",
                height=150,
                elem_id="image",
            )
            # What the API page puts in its code samples, instead of a PDF on another host.
            image.example_payload = lambda: {
                "path": "image.png",
                "orig_name": "image.png",
                "meta": {"_type": "gradio.FileData"},
            }
            examples, brought = (
                gr.Gallery(
                    label=label,
                    columns=3,
                    height=height,
                    allow_preview=False,
                    format="png",
                    object_fit="cover",
                    interactive=False,
                    visible=name == "examples",
                    buttons=[],
                    elem_id=name,
                )
                for name, label, height in (
                    ("examples", text.EXAMPLES, 130),
                    ("brought", "Or a picture that comes with the model", 200),
                )
            )
            gr.Markdown(text.EXAMPLES_SOURCE, elem_id="examples-source")
            with gr.Accordion("Or paste it, or use the camera", open=False):
                capture = gr.Image(
                    label="Paste or camera",
                    sources=["clipboard", "webcam"],
                    type="filepath",
                    image_mode=None,
                    height=240,
                    # A screen has to be read the right way round, and is in front of the phone.
                    webcam_options=gr.WebcamOptions(
                        mirror=False, constraints={"video": {"facingMode": "environment"}}
                    ),
                    elem_id="capture",
                )
            clip_frame = gr.Slider(
                *(1, 2, 1),
                step=1,
                label="Frame of the clip",
                visible=False,
                buttons=[],
                elem_id="clip-frame",
            )
            pixel_size = gr.Number(
                None,
                label="Pixel size, mm",
                info=PIXEL_SIZE_INFO,
                step=0.001,
                elem_id="pixel-size",
            )
            with gr.Accordion("How it is drawn", open=True, elem_id="drawn"):
                view = gr.Dropdown(list(VIEWS), value=Look.view, label="Show", elem_id="view")
                threshold = gr.Slider(
                    *(0.05, 0.95, Thresholds().mask),
                    step=0.01,
                    label="Threshold",
                    info=THRESHOLD_INFO,
                    # Gradio's own way back leads to the value above, not to that of the weights in use.
                    buttons=[],
                    elem_id="threshold",
                )
                opacity = gr.Slider(
                    *(0, 1, Look.opacity), step=0.05, label="Opacity", buttons=[], elem_id="opacity"
                )
                color = gr.Dropdown(list(COLORS), value=Look.color, label="Colour", elem_id="color")
                diameters = gr.Checkbox(Look.diameters, label="Draw the diameters", elem_id="diameters")
        with gr.Column(scale=5, min_width=320):
            layout = gr.Radio(
                list(LAYOUTS),
                value=LAYOUTS[0],
                label="Compare",
                show_label=False,
                container=False,
                elem_id="layout",
            )
            with gr.Row() as two_up:
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
            pair = gr.ImageSlider(
                label="Original and overlay: drag the line, zoom with the wheel",
                format="png",
                type="pil",
                max_height=480,
                interactive=False,
                visible=False,
                buttons=["fullscreen"],
                elem_id="pair",
            )
            legend = gr.Markdown("", elem_id="legend")
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
                    anyway = gr.Button("Analyse anyway", visible=False, size="sm", elem_id="anyway")
            with gr.Tabs(elem_id="more"):
                with gr.Tab("Measurements"):
                    measurements = gr.Dataframe(
                        headers=MEASUREMENT_HEADERS,
                        label="Lesions, the largest first",
                        type="array",
                        column_widths=MEASUREMENT_WIDTHS,
                        interactive=False,
                        wrap=True,
                        buttons=["copy"],
                        elem_id="measurements",
                    )
                with gr.Tab("Compare with a mask"):
                    reference = gr.File(
                        label="Reference masks, the size of the picture: white is lesion; several are united",
                        type="binary",
                        file_count="multiple",
                        height=120,
                        elem_id="reference",
                    )
                    agreement = gr.Markdown("", elem_id="agreement")
                    agreement_image = gr.Image(
                        label="Agreement",
                        format="png",
                        height=320,
                        interactive=False,
                        buttons=["download", "fullscreen"],
                        elem_id="agreement-image",
                    )
                with gr.Tab("Correct the outline") as correction:
                    with gr.Row():
                        start = gr.Button("Start from this outline", min_width=120, elem_id="correct-start")
                        apply = gr.Button(
                            "Measure it",
                            variant="primary",
                            min_width=120,
                            elem_id="correct-apply",
                        )
                        drop = gr.Button("Undo all", min_width=120, elem_id="correct-drop")
                    editor = gr.ImageEditor(
                        label="Paint the lesion, erase what is none",
                        type="numpy",
                        format="png",
                        sources=[],
                        transforms=(),
                        # The editor centres a mask on the larger of this and the picture.
                        canvas_size=(32, 32),
                        brush=gr.Brush(
                            colors=[("rgb({}, {}, {})".format(*BRUSH_COLOR), BRUSH_OPACITY)],
                            default_size="auto",
                            color_mode="fixed",
                        ),
                        layers=gr.LayerOptions(allow_additional_layers=False, layers=["lesion"]),
                        height=480,
                        elem_id="editor",
                    )
                    with gr.Row():
                        label = gr.Radio(
                            list(CLASS_NAMES), label="Class of the training pair", elem_id="pair-class"
                        )
                        make_pair = gr.Button("Make a training pair", elem_id="make-pair")
                    pair_file = gr.File(
                        label="Picture and mask, laid out as BUSI is",
                        interactive=False,
                        height=90,
                        elem_id="pair-file",
                    )
                with gr.Tab("Download"):
                    make_files = gr.Button("Make the files", variant="primary", elem_id="make-files")
                    files = gr.File(
                        label="Mask, overlay, values, report",
                        interactive=False,
                        height=260,
                        elem_id="downloads",
                    )
                    with gr.Row():
                        keep = gr.Button("Make a link to this result", elem_id="keep")
                        link = gr.Textbox(
                            label="Link, kept in memory for two hours: whoever has it sees the picture",
                            interactive=False,
                            buttons=["copy"],
                            elem_id="link",
                        )
                with gr.Tab("All values"):
                    report = gr.JSON(label="Report", show_label=False, elem_id="report")

    look = [view, color, opacity, diameters]
    drawing = [
        *(overlay, pair, legend, probabilities, report, findings, measurements),
        *(agreement, agreement_image, drawn),
    ]
    made = [files, link, pair_file]
    settled = [clip_frame, threshold, anyway, pixel_size, reference, editor, *made]
    whole = [*drawing, kept, original, *settled]
    settings = [kept, threshold, layout, *look]
    private: dict[str, Any] = {"api_visibility": "private"}
    # One run at a time over all events: they share the model and the CPU. A run learns which image is the
    # newest when its turn comes, so one that waits will do; one more is put off until it is done.
    network: dict[str, Any] = {
        **private,
        "show_progress_on": [overlay],
        "concurrency_id": "network",
        "concurrency_limit": 1,
        "trigger_mode": "always_last",
    }
    # What sets or shows the image goes one after the other, and reaches the browser in that order.
    in_order: dict[str, Any] = {
        **private,
        "show_progress": "hidden",
        "concurrency_id": "newest",
        "concurrency_limit": 1,
        "trigger_mode": "multiple",
    }
    # Past the queue, where an error would not be shown: for what cannot fail.
    helper: dict[str, Any] = {**private, "show_progress": "hidden", "queue": False}
    action: dict[str, Any] = {**private, "show_progress": "minimal", "concurrency_limit": None}

    redraw = of_newest(as_files(handlers.redraw), numbered=True)
    bounded: dict[str, Any] = {
        "inputs": [newest, *settings],
        "outputs": [*drawing, number],
        "js": _bounded([newest, *settings]),
        **helper,
    }

    def redraw_after(event: Any) -> None:
        """What was made of the result before is put away, so that nothing stale is taken home."""
        event.then(None, outputs=made, js=_EMPTY_JS, **private)
        event.then(redraw, **bounded)

    def failed(event: Any) -> None:
        """The queue is full: nothing is shown of what was there before."""
        event.failure(
            lambda *taken: handlers.take(None, *taken, findings=text.NOT_ANALYSED),
            [number, newest],
            [*whole, number],
            js=NUMBER_JS,
            **helper,
        )

    def analyse_and_show(taken: Any) -> Any:
        """Analyse what an event has set, and show it, if nothing newer has come by then."""
        analysed = taken.success(handlers.run, newest, **network)
        shown = analysed.success(handlers.show, newest, [*whole, *look, number], **in_order)
        failed(taken)
        failed(analysed)
        return shown

    def sets_image(
        event: Any, analyse: Callable[..., Any], *inputs: Any, others: Sequence[Any], **options: bool
    ) -> Any:
        """What an event does that sets the image: the other places to choose one are emptied at once."""
        if others:
            event(None, outputs=others, js=f"() => {json.dumps([None] * len(others))}", **private)
        inputs = (number, newest, *inputs, pixel_size, *look, layout)
        taken = event(
            _take(handlers, analyse, **options),
            inputs,
            [*whole, number],
            js=_bounded(inputs, then=NUMBER_JS),
            **in_order,
        )
        analyse_and_show(taken).success(None, js=_SHOW_JS, **private)
        return taken

    sets_image(image.upload, handlers.analyse_upload, image, others=[capture])
    sets_image(capture.upload, handlers.analyse_captured, capture, others=[image])
    sets_image(clip_frame.input, handlers.analyse_frame, image, clip_frame, others=[], frame_moves=True)
    for gallery, analyse in ((examples, handlers.analyse_example), (brought, handlers.analyse_brought)):
        chosen = sets_image(gallery.select, analyse, others=[image, capture], selected=True)
        chosen.then(lambda: gr.Gallery(selected_index=None), outputs=gallery, **helper)
    for source in (image, capture):
        cleared = source.clear(
            lambda *taken: handlers.take(None, *taken),
            [number, newest],
            [*whole, number],
            js=NUMBER_JS,
            **in_order,
        )
        failed(cleared)
    opened = demo.load(handlers.open_kept, [number, newest], [*whole, number], js=COUNT_JS, **in_order)
    analyse_and_show(opened)
    number.change(None, number, js=CHECK_JS, **private)

    for control in (view, threshold, opacity, color, diameters):
        control.input(redraw, **bounded, trigger_mode="always_last")
        control.input(None, outputs=made, js=_EMPTY_JS, **private)
    redraw_after(
        pixel_size.input(of_newest(handlers.measure_in_mm), [newest, kept, pixel_size], kept, **action)
    )
    laid_out = layout.input(
        lambda layout: (gr.Row(visible=layout == LAYOUTS[0]), gr.ImageSlider(visible=layout == LAYOUTS[1])),
        layout,
        [two_up, pair],
        **helper,
    )
    laid_out.then(redraw, **bounded)
    redraw_after(anyway.click(of_newest(handlers.analyse_again), [newest, kept], [kept, anyway], **helper))
    for change in (reference.upload, reference.clear, reference.delete):
        redraw_after(change(of_newest(handlers.compare), [newest, kept, reference], kept, **action))
    start.click(of_newest(handlers.start_correction), [newest, drawn], editor, **action)
    correction.select(of_newest(handlers.open_editor), [newest, drawn, editor], editor, **action)
    redraw_after(
        apply.click(of_newest(handlers.correct), [newest, kept, editor], [kept, threshold], **action)
    )
    redraw_after(
        drop.click(
            of_newest(handlers.drop_correction), [newest, kept, drawn], [kept, threshold, editor], **action
        )
    )
    make_pair.click(of_newest(handlers.training_pair), [newest, drawn, label], pair_file, **action)
    make_files.click(of_newest(handlers.downloads), [newest, drawn], files, **action)
    keep.click(of_newest(handlers.keep), [newest, drawn], link, **action).success(
        None, link, link, js=_LINK_JS, **private
    )
    demo.load(thumbnails, outputs=examples, **helper)
    # In the queue: the Hub may take its time.
    demo.load(handlers.brought, outputs=brought, **private, show_progress="hidden")
    # Gradio shows a number that is not set as 0.
    demo.load(None, outputs=pixel_size, js="() => null", **private)
    _build_call(handlers, image, view, color, diameters, [overlay, probabilities, report, findings])


def _build_call(
    handlers: ImageHandlers,
    image: gr.File,
    view: gr.Dropdown,
    color: gr.Dropdown,
    diameters: gr.Checkbox,
    answer: list[Any],
) -> None:
    """Adds `/predict`, with inputs that have no bounds: a value out of range gets the handler's sentence."""
    with gr.Row(visible=False):
        call = gr.Button("Predict")
        clip_frame = gr.Number(1, label="Frame of the clip")
        pixel_size = gr.Number(None, label="Pixel size, mm")
        analyse_anyway = gr.Checkbox(False, label="Analyse anyway")
        opacity = gr.Number(Look.opacity, label="Opacity")
        threshold = gr.Number(None, label="Threshold")
    # Not one of the page's own events: Gradio cannot answer assistants with what those keep, nor with a
    # queued answer part by part. Outside the queue, the handler lets one run after the other.
    call.click(
        as_files(handlers.predict),
        [image, clip_frame, pixel_size, analyse_anyway, view, color, opacity, diameters, threshold],
        answer,
        api_name="predict",
        queue=False,
    )


def _take(
    handlers: ImageHandlers,
    analyse: Callable[..., Any],
    *,
    frame_moves: bool = False,
    selected: bool = False,
) -> Callable[..., Any]:
    """`ImageHandlers.take` for an event whose image `analyse` analyses, `selected` in a gallery or not."""

    def take(number: float, newest: Newest, *inputs: Any) -> Any:
        return handlers.take(analyse, number, newest, *inputs, frame_moves=frame_moves)

    def take_selected(event: gr.SelectData, number: float, newest: Newest, *inputs: Any) -> Any:
        return take(number, newest, event, *inputs)

    return take_selected if selected else take


def _bounded(inputs: Sequence[Any], *, then: str = "(...values) => values") -> str:
    """JavaScript that brings each slider's typed value into its bounds, as the slider itself does later.

    Gradio would answer one beyond them with an error, and leave the picture at another value. `then` is more
    JavaScript, which the values pass through.
    """
    sliders = {index: block.elem_id for index, block in enumerate(inputs) if isinstance(block, gr.Slider)}
    return f"""(...values) => {{
    for (const [index, name] of Object.entries({json.dumps(sliders)})) {{
        const slider = document.querySelector(`#${{name}} input[type=range]`);
        if (slider) values[index] = Math.min(Math.max(values[index], slider.min), slider.max);
    }}
    return ({then})(...values);
}}"""
