"""The tab for one image: which event runs which handler."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from busi_unet.app import text
from busi_unet.app.analysis import Analysis, Look
from busi_unet.app.answers import shown_errors
from busi_unet.app.clip import CLIP, ClipHandlers
from busi_unet.app.image_actions import ImageActions
from busi_unet.app.image_answer import DRAWN, WHOLE, Answer
from busi_unet.app.image_handlers import ImageHandlers
from busi_unet.app.image_parts import Parts, lay_out
from busi_unet.app.model import ModelInUse
from busi_unet.app.newest import CHECK_JS, FILE_JS, FRAME_JS, NUMBER_JS, Newest, of_newest
from busi_unet.app.strips import example_thumbnails

# Brings typed values of sliders into their bounds, as the sliders do later: Gradio would answer a value out
# of bounds with an error, and the image would not follow.
_BOUNDED_JS = """(...values) => {
    %s.forEach((name, index) => {
        const slider = document.querySelector(`#${name} input[type=range]`);
        if (slider) values[index] = Math.min(Math.max(values[index], slider.min), slider.max);
    });
    return values;
}"""
# On a phone the result lies below what was touched.
_SHOW_JS = """() => {
    const shown = window.innerWidth <= 640 && document.querySelector("#overlay img");
    if (shown) document.querySelector("#verdict").scrollIntoView({ behavior: "smooth" });
}"""

# A typed pixel size is kept when page.js clears an image to replace it.
_CLEARED_SIZE_JS = """(size) => {
    const kept = window.replacing ? size : null;
    window.replacing = false;
    return kept;
}"""
_FIRST_TAB_JS = """() => document.querySelector("button[role=tab]").click()"""

_LOOK = ("view", "color", "opacity", "diameters")
_SETTINGS = ("threshold", *_LOOK)
# Files made of a result; removed when that changes, so that nobody downloads stale ones.
_MADE = ("files", "pair_file")
# What a new image changes.
_NEW_IMAGE = (*WHOLE, "number", "recent")

_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# So many that usual images need not wait for a large one; the network takes one at a time anyway.
_AT_ONCE = 4
# Events that set or show the image run one after the other, and reach the browser in that order.
_IN_ORDER: dict[str, Any] = {
    **_PRIVATE,
    "show_progress": "hidden",
    "concurrency_id": "newest",
    "concurrency_limit": 1,
    "trigger_mode": "multiple",
}
# Outside the queue, where errors are not shown: only for what cannot fail.
_HELPER: dict[str, Any] = {**_PRIVATE, "show_progress": "hidden", "queue": False}


def build_image_tab(model: Callable[[], ModelInUse], demo: gr.Blocks) -> Callable[..., None]:
    """Build the tab inside the caller's `gr.Tab`; its one public event is `/predict`.

    Args:
        model: gives the weights in use; called when the first image arrives, not before.
        demo: the page.

    Returns:
        A function of a batch's table and the component with its files, which lets its rows open here.
    """
    handlers, actions, parts = ImageHandlers(model), ImageActions(model), lay_out()
    bind = _Binder(parts)
    open_row = _bind_sources(bind, handlers)
    demo.unload(handlers.recent.forget)
    for name in _SETTINGS:
        bind.redraw(parts[name].input, actions, trigger_mode="always_last")
        bind.empty(parts[name].input, _MADE)
    _bind_actions(bind, actions)
    _bind_clip(bind, ClipHandlers(model))
    demo.load(example_thumbnails, outputs=parts["examples"], **_HELPER)
    # Gradio shows a number that is not set as 0.
    bind.empty(demo.load, ["pixel_size"])
    _build_call(handlers, parts)
    return open_row


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
        """Run a handler on an event; its answer has values, by name, of the outputs that change."""

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
        js = f"() => {json.dumps([None] * len(names) if len(names) > 1 else None)}"
        event(None, outputs=self._named(names), js=js, **_PRIVATE)

    def redraw(self, event: Any, actions: ImageActions, **options: Any) -> None:
        """Draw the kept image anew on an event."""
        inputs = ("newest", "kept", *_SETTINGS)
        handler = of_newest(shown_errors()(actions.redraw))
        self(event, handler, inputs, (*DRAWN, "number"), js=self.bounded_js(inputs), **_HELPER, **options)

    def bounded_js(self, inputs: Sequence[str]) -> str:
        return _BOUNDED_JS % json.dumps([self.parts[name].elem_id for name in inputs])


def _take(
    handlers: ImageHandlers, analyse: Callable[..., Analysis], needs: Sequence[str], *, frame_moves: bool
) -> Callable[..., Answer]:
    """Return the handler of an event that sets an image.

    Args:
        analyse: analyses that image.
        needs: what else `analyse` takes by name: the `event`, which says what was clicked, the `session`.
        frame_moves: whether the image is another frame of the file at hand.
    """

    def take(
        number: float,
        newest: Newest,
        view: str,
        color: str,
        opacity: float,
        diameters: bool,
        *inputs: Any,
        **needed: Any,
    ) -> Answer:
        look = Look(view, color, opacity, diameters)
        analysed = functools.partial(analyse, *inputs, **needed)
        return handlers.take(number, newest, analysed, look, frame_moves=frame_moves)

    def take_clicked(request: gr.Request, event: gr.EventData, *values: Any) -> Answer:
        known = {"event": event, "session": request.session_hash}
        return take(*values, **{name: known[name] for name in needs})

    return take_clicked if needs else take


def _bind_sources(bind: _Binder, handlers: ImageHandlers) -> Callable[..., None]:
    """Bind what sets the image, or takes it away; return what binds the rows of a batch."""
    parts = bind.parts

    def clear(event: Any, *, error: str = "", **options: Any) -> Any:
        handler = functools.partial(handlers.clear, error=error)
        return bind(event, handler, ("number", "newest"), _NEW_IMAGE, js=NUMBER_JS, **options)

    def failed(event: Any) -> None:
        """Empty the page if the event fails, as it does when the queue is full."""
        clear(event.failure, error=text.TRY_AGAIN, **_HELPER)

    def sets_image(
        event: Any,
        analyse: Callable[..., Analysis],
        *inputs: str,
        needs: Sequence[str] = (),
        frame_moves: bool = False,
    ) -> None:
        """Analyse what an event sets, and show it unless a newer image has been set by then.

        The other places to choose an image are emptied at once. The arguments are those of `_take`.
        """
        take = _take(handlers, analyse, needs, frame_moves=frame_moves)
        if not frame_moves:
            bind.empty(event, [name for name in ("image", "capture") if name not in inputs])
        inputs = ("number", "newest", *_LOOK, *inputs)
        number_js = FRAME_JS if frame_moves else NUMBER_JS
        js = f"(...values) => ({number_js})(...({bind.bounded_js(inputs)})(...values))"
        taken = bind(event, take, inputs, _NEW_IMAGE, js=js, **_IN_ORDER)
        analysed = taken.success(
            handlers.run,
            parts["newest"],
            show_progress_on=[parts["overlay"]],
            concurrency_id="network",
            concurrency_limit=_AT_ONCE,
            # A run takes whichever image is the newest when its turn comes, so one waiting run is enough.
            trigger_mode="always_last",
            **_PRIVATE,
        )
        shown = bind(analysed.success, handlers.show, ("newest",), _NEW_IMAGE, **_IN_ORDER)
        shown.success(None, js=_SHOW_JS, **_PRIVATE)
        failed(taken)
        failed(analysed)

    def open_row(table: gr.Dataframe, images: gr.File) -> None:
        parts["batch"] = images
        sets_image(table.select, handlers.analyse_row, "batch", "pixel_size", needs=["event"])
        table.select(None, js=_FIRST_TAB_JS, **_PRIVATE)

    sets_image(parts["image"].upload, handlers.analyse, "image", "pixel_size")
    sets_image(parts["capture"].upload, handlers.analyse, "capture", "pixel_size")
    frame = ("image", "pixel_size", "clip_frame")
    sets_image(parts["clip_frame"].input, handlers.analyse, *frame, frame_moves=True)
    sets_image(parts["examples"].select, handlers.analyse_example, "pixel_size", needs=["event"])
    sets_image(parts["crop"].click, handlers.analyse_part, "kept", "crop_box")
    for side, name in enumerate(("left", "right")):
        sets_image(parts[name].click, functools.partial(handlers.analyse_panel, side), "kept")
    sets_image(parts["blacken"].click, handlers.analyse_blackened, "kept")
    sets_image(parts["recent"].select, handlers.go_back, "pixel_size", needs=["event", "session"])
    for name in ("image", "capture"):
        size = parts["pixel_size"]
        parts[name].clear(None, size, size, js=_CLEARED_SIZE_JS, **_PRIVATE)
        failed(clear(parts[name].clear, **_IN_ORDER))
    parts["number"].change(None, parts["number"], js=CHECK_JS, **_PRIVATE)
    return open_row


def _bind_actions(bind: _Binder, actions: ImageActions) -> None:
    """Bind what is done with the image that is shown."""
    parts = bind.parts

    def act(event: Any, handler: Callable[..., Any], inputs: Sequence[str], *outputs: str) -> None:
        handler = of_newest(shown_errors()(handler))
        options = {**_PRIVATE, "show_progress": "minimal", "concurrency_limit": None}
        done = bind(event, handler, ("newest", "kept", *inputs), outputs, **options)
        if "kept" in outputs:
            bind.empty(done.then, _MADE)
            bind.redraw(done.then, actions)

    act(parts["pixel_size"].input, actions.measure_in_mm, ["pixel_size"], "kept", "pixel_size")
    act(parts["anyway"].click, actions.analyse_again, [], "kept")
    reference = parts["reference"]
    for change in (reference.upload, reference.clear, reference.delete):
        act(change, actions.compare, ["reference"], "kept", "reference")
    act(parts["mode"].input, actions.choose_mode, ["mode", *_SETTINGS], "brush", "editor", "hint")
    corrected = ("kept", "threshold", "hint", "editor")
    act(parts["clicked"].change, actions.click, ["clicked", "mode", *_SETTINGS], *corrected)
    act(parts["apply"].click, actions.paint, ["editor"], *corrected)
    act(parts["undo"].click, actions.undo, ["mode", *_SETTINGS], *corrected)
    act(parts["drop"].click, actions.undo_all, ["mode", *_SETTINGS], *corrected)
    act(parts["make_pair"].click, actions.training_pair, ["pair_class", *_SETTINGS], "pair_file")
    act(parts["make_files"].click, actions.downloads, ["formats", *_SETTINGS], "files")
    bind.empty(parts["formats"].input, ["files"])


def _bind_clip(bind: _Binder, handlers: ClipHandlers) -> None:
    """Bind what is done with all frames of a clip."""
    parts = bind.parts
    start = parts["clip_all"].click
    outputs = ("clip_run", *CLIP)
    begun = bind(start, handlers.begin, ("number", "newest"), outputs, js=FILE_JS, **_IN_ORDER)
    run = begun.then(
        handlers.run,
        [parts[name] for name in ("newest", "clip_run", "image", "kept")],
        parts["clip"],
        # A queue of its own: a clip may last minutes, and single images must not wait for it.
        concurrency_id="clip",
        concurrency_limit=1,
        show_progress="hidden",
        **_PRIVATE,
    )
    bind(run.then, handlers.show, ("newest", "clip_run"), CLIP, **_IN_ORDER)
    parts["clip_cancel"].click(handlers.cancel, parts["clip_run"], **_HELPER)


def _build_call(handlers: ImageHandlers, parts: Parts) -> None:
    """Add `/predict`; its inputs have no bounds, so that the handler answers a value out of range."""
    with gr.Row(visible=False):
        call = gr.Button("Predict")
        probabilities = gr.Label(label=text.PROBABILITIES)
        mask = gr.Image(label=text.MASK, format="png")
        contours = gr.JSON(label=text.CONTOURS)
        unbounded = {
            "clip_frame": gr.Number(1, label=text.CLIP_FRAME),
            "pixel_size": gr.Number(None, label=text.PIXEL_SIZE),
            "analyse_anyway": gr.Checkbox(False, label=text.ANYWAY),
            "opacity": gr.Number(Look.opacity, label=text.OPACITY),
            "threshold": gr.Number(None, label=text.THRESHOLD),
        }
    inputs = ("image", "clip_frame", "pixel_size", "analyse_anyway", *_LOOK, "threshold")
    # An event of its own: Gradio can give assistants neither the state that the page's events keep nor a
    # queued answer. A plain HTTP call is queued all the same.
    call.click(
        handlers.predict,
        [unbounded.get(name) or parts[name] for name in inputs],
        [parts["overlay"], probabilities, parts["report"], parts["findings"], mask, contours],
        api_name="predict",
        queue=False,
        concurrency_limit=_AT_ONCE,
    )
