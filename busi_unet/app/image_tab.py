"""The tab for one image: which event runs which handler."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from busi_unet.app import text
from busi_unet.app.analysis import Look
from busi_unet.app.downloads import as_files
from busi_unet.app.examples import thumbnails
from busi_unet.app.image_handlers import ImageHandlers
from busi_unet.app.image_parts import Parts, lay_out
from busi_unet.app.model import ModelInUse
from busi_unet.app.newest import CHECK_JS, COUNT_JS, NUMBER_JS, of_newest

# Copies the address of a kept result; the page may lie below any path, or in a frame of another page.
_LINK_JS = """(token) => {
    if (!token) return "";
    const address = new URL(window.location.href);
    address.search = "?result=" + encodeURIComponent(token);
    address.hash = "";
    return address.toString();
}"""
# On a phone the result lies below what was touched.
_SHOW_JS = """() => {
    const shown = window.innerWidth <= 640 && document.querySelector("#overlay img, #pair img");
    if (shown) document.querySelector("#layout").scrollIntoView({ behavior: "smooth" });
}"""

_LOOK = ("view", "color", "opacity", "diameters")
_DRAWN = (
    *("overlay", "pair", "legend", "probabilities", "report", "findings", "measurements"),
    *("agreement", "agreement_image", "drawn"),
)
# What is made of a result: put away when that changes, so that nothing stale is taken home.
_MADE = ("files", "link", "pair_file")
_WHOLE = (
    *(*_DRAWN, *_MADE, *_LOOK, "kept", "original", "clip_frame", "threshold", "anyway", "pixel_size"),
    *("reference", "editor", "number"),
)

_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# One run at a time over all events: they share the model and the CPU. A run learns which image is the newest
# when its turn comes, so one that waits will do; one more is put off until it is done.
_NETWORK: dict[str, Any] = {
    **_PRIVATE,
    "concurrency_id": "network",
    "concurrency_limit": 1,
    "trigger_mode": "always_last",
}
# What sets or shows the image goes one after the other, and reaches the browser in that order.
_IN_ORDER: dict[str, Any] = {
    **_PRIVATE,
    "show_progress": "hidden",
    "concurrency_id": "newest",
    "concurrency_limit": 1,
    "trigger_mode": "multiple",
}
# Past the queue, where an error would not be shown: for what cannot fail.
_HELPER: dict[str, Any] = {**_PRIVATE, "show_progress": "hidden", "queue": False}
_ACTION: dict[str, Any] = {**_PRIVATE, "show_progress": "minimal", "concurrency_limit": None}


def build_image_tab(model: Callable[[], ModelInUse], demo: gr.Blocks) -> None:
    """Build the tab inside the caller's `gr.Tab`; its one public event is `/predict`.

    Args:
        model: gives the weights in use; called when the first image arrives, not before.
        demo: the page, whose address may name a kept result.
    """
    handlers, parts = ImageHandlers(model), lay_out()
    _bind_sources(_Binder(parts), handlers, demo)
    _bind_display(_Binder(parts), handlers)
    _bind_actions(_Binder(parts), handlers)
    demo.load(thumbnails, outputs=parts["examples"], **_HELPER)
    # Gradio shows a number that is not set as 0.
    demo.load(None, outputs=parts["pixel_size"], js="() => null", **_PRIVATE)
    _build_call(handlers, parts)


class _Binder:
    """Binds events to handlers by the names of components."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def __call__(
        self,
        event: Any,
        handler: Callable[..., Any],
        inputs: Sequence[str],
        outputs: Sequence[str],
        **options: Any,
    ) -> Any:
        """Run a handler on an event; its answer names those of the outputs that change."""

        @functools.wraps(handler)
        def bound(*arguments: Any) -> Any:
            answer = handler(*arguments)
            values = [answer.get(name, gr.skip()) for name in outputs]
            return values if len(values) > 1 else values[0]

        return event(bound, self._named(inputs), self._named(outputs), **options)

    def _named(self, names: Sequence[str]) -> list[Any]:
        return [self.parts[name] for name in names]

    def empty(self, event: Any, names: Sequence[str]) -> None:
        """Empty components in the browser."""
        js = f"() => {json.dumps([None] * len(names))}"
        event(None, outputs=self._named(names), js=js if len(names) > 1 else "() => null", **_PRIVATE)

    def redraw(self, event: Any, handlers: ImageHandlers, **options: Any) -> None:
        """Draw the kept image anew on an event."""
        inputs = ("newest", "kept", "threshold", "layout", *_LOOK)
        handler = of_newest(as_files(handlers.redraw), numbered=True)
        js = self.bounded(inputs)
        self(event, handler, inputs, (*_DRAWN, "number"), js=js, **_HELPER, **options)

    def bounded(self, inputs: Sequence[str], *, then: str = "(...values) => values") -> str:
        """Return JavaScript that brings each slider's typed value into its bounds, as the slider does later.

        Gradio would answer one beyond them with an error, and leave the image at another value. `then` is
        more JavaScript, which the values pass through.
        """
        sliders = {
            index: self.parts[name].elem_id
            for index, name in enumerate(inputs)
            if isinstance(self.parts[name], gr.Slider)
        }
        return f"""(...values) => {{
    for (const [index, name] of Object.entries({json.dumps(sliders)})) {{
        const slider = document.querySelector(`#${{name}} input[type=range]`);
        if (slider) values[index] = Math.min(Math.max(values[index], slider.min), slider.max);
    }}
    return ({then})(...values);
}}"""


def _bind_sources(bind: _Binder, handlers: ImageHandlers, demo: gr.Blocks) -> None:
    """Bind what sets the image, or takes it away."""
    parts = bind.parts

    def clear(event: Any, *, findings: str, **options: Any) -> Any:
        def cleared(number: float, newest: Any) -> Any:
            return handlers.take(None, number, newest, findings=findings)

        return bind(event, cleared, ("number", "newest"), _WHOLE, js=NUMBER_JS, **options)

    def failed(event: Any) -> None:
        """The queue is full: nothing is shown of what was there before."""
        clear(event.failure, findings=text.not_analysed(text.TRY_AGAIN), **_HELPER)

    def analyse_and_show(taken: Any) -> Any:
        """Analyse what an event has set, and show it, if nothing newer has come by then."""
        analysed = taken.success(
            handlers.run, parts["newest"], show_progress_on=[parts["overlay"]], **_NETWORK
        )
        shown = bind(analysed.success, handlers.show, ("newest",), _WHOLE, **_IN_ORDER)
        failed(taken)
        failed(analysed)
        return shown

    def sets_image(
        event: Any, analyse: Callable[..., Any], *inputs: str, others: Sequence[str], **options: bool
    ) -> Any:
        """The other places to choose an image are emptied at once."""
        if others:
            bind.empty(event, others)
        inputs = ("number", "newest", *inputs, "pixel_size", *_LOOK, "layout")
        taken = bind(
            event,
            _take(handlers, analyse, **options),
            inputs,
            _WHOLE,
            js=bind.bounded(inputs, then=NUMBER_JS),
            **_IN_ORDER,
        )
        analyse_and_show(taken).success(None, js=_SHOW_JS, **_PRIVATE)
        return taken

    sets_image(parts["image"].upload, handlers.analyse_upload, "image", others=["capture"])
    sets_image(parts["capture"].upload, handlers.analyse_captured, "capture", others=["image"])
    frame = parts["clip_frame"].input
    sets_image(frame, handlers.analyse_frame, "image", "clip_frame", others=[], frame_moves=True)
    examples = parts["examples"]
    chosen = sets_image(examples.select, handlers.analyse_example, others=["image", "capture"], selected=True)
    chosen.then(lambda: gr.Gallery(selected_index=None), outputs=examples, **_HELPER)
    for name in ("image", "capture"):
        failed(clear(parts[name].clear, findings=text.INVITATION, **_IN_ORDER))
    opened = bind(demo.load, handlers.open_kept, ("number", "newest"), _WHOLE, js=COUNT_JS, **_IN_ORDER)
    analyse_and_show(opened)
    parts["number"].change(None, parts["number"], js=CHECK_JS, **_PRIVATE)


def _take(
    handlers: ImageHandlers,
    analyse: Callable[..., Any],
    *,
    frame_moves: bool = False,
    selected: bool = False,
) -> Callable[..., Any]:
    """Return `ImageHandlers.take` for an image that `analyse` analyses, `selected` in a gallery or not."""

    def take(number: float, newest: Any, *inputs: Any) -> Any:
        return handlers.take(analyse, number, newest, *inputs, frame_moves=frame_moves)

    def take_selected(event: gr.SelectData, number: float, newest: Any, *inputs: Any) -> Any:
        return take(number, newest, event, *inputs)

    return take_selected if selected else take


def _bind_display(bind: _Binder, handlers: ImageHandlers) -> None:
    """Bind the controls of how the image is drawn."""
    parts = bind.parts
    for name in ("threshold", *_LOOK):
        bind.redraw(parts[name].input, handlers, trigger_mode="always_last")
        bind.empty(parts[name].input, _MADE)
    laid_out = bind(
        parts["layout"].input,
        lambda layout: {
            "two_up": gr.Row(visible=layout == text.LAYOUTS[0]),
            "pair": gr.ImageSlider(visible=layout == text.LAYOUTS[1]),
        },
        ("layout",),
        ("two_up", "pair"),
        **_HELPER,
    )
    bind.redraw(laid_out.then, handlers)


def _bind_actions(bind: _Binder, handlers: ImageHandlers) -> None:
    """Bind what is done with the image that is shown."""
    parts = bind.parts

    def act(event: Any, handler: Callable[..., Any], inputs: Sequence[str], *outputs: str) -> Any:
        done = bind(event, of_newest(handler), ("newest", *inputs), outputs, **_ACTION)
        if "kept" in outputs:
            bind.empty(done.then, _MADE)
            bind.redraw(done.then, handlers)
        return done

    act(parts["pixel_size"].input, handlers.measure_in_mm, ("kept", "pixel_size"), "kept")
    act(parts["anyway"].click, handlers.analyse_again, ("kept",), "kept", "anyway")
    reference = parts["reference"]
    for change in (reference.upload, reference.clear, reference.delete):
        act(change, handlers.compare, ("kept", "reference"), "kept")
    act(parts["correction"].select, handlers.open_editor, ("drawn", "editor"), "editor")
    act(parts["start"].click, handlers.start_correction, ("drawn",), "editor")
    act(parts["apply"].click, handlers.correct, ("kept", "editor"), "kept", "threshold")
    act(parts["drop"].click, handlers.drop_correction, ("kept", "drawn"), "kept", "threshold", "editor")
    act(parts["make_pair"].click, handlers.training_pair, ("drawn", "pair_class"), "pair_file")
    act(parts["make_files"].click, handlers.downloads, ("drawn",), "files")
    kept = act(parts["keep"].click, handlers.keep, ("drawn",), "link")
    kept.success(None, parts["link"], parts["link"], js=_LINK_JS, **_PRIVATE)


def _build_call(handlers: ImageHandlers, parts: Parts) -> None:
    """Add `/predict`, with inputs that have no bounds: a value out of range gets the handler's sentence."""
    with gr.Row(visible=False):
        call = gr.Button("Predict")
        unbounded = {
            "clip_frame": gr.Number(1, label=text.CLIP_FRAME),
            "pixel_size": gr.Number(None, label=text.PIXEL_SIZE),
            "analyse_anyway": gr.Checkbox(False, label=text.ANYWAY),
            "opacity": gr.Number(Look.opacity, label=text.OPACITY),
            "threshold": gr.Number(None, label=text.THRESHOLD),
        }
    inputs = ("image", "clip_frame", "pixel_size", "analyse_anyway", "view", "color", "opacity", "diameters")
    # Not one of the page's own events: Gradio cannot answer assistants with what those keep, nor with a
    # queued answer part by part. Outside the queue, the handler lets one run after the other.
    call.click(
        as_files(handlers.predict),
        [unbounded.get(name) or parts[name] for name in (*inputs, "threshold")],
        [parts[name] for name in ("overlay", "probabilities", "report", "findings")],
        api_name="predict",
        queue=False,
    )
