"""The events of the tab for one image where two of them meet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.state_holder import SessionState
from PIL import Image

from busi_unet.app import image_answer
from busi_unet.app.analysis import Analysis, Look
from busi_unet.app.image_answer import DRAWN, WHOLE, awaited, empty, nothing_drawn
from busi_unet.app.image_tab import build_image_tab
from busi_unet.app.model import LazyModel
from busi_unet.data.phantom import make_phantom
from busi_unet.io.decode import MAX_FRAMES, DecodedImage


@pytest.mark.parametrize("frames", [1, 2, MAX_FRAMES + 1])
def test_every_value_of_an_answer_has_its_component(
    analysis: Analysis,
    shown: Callable[..., dict[str, Any]],
    redraw: Callable[..., dict[str, Any]],
    frames: int,
) -> None:
    """What is bound are `DRAWN` and `WHOLE`; a value of another name would be dropped in silence."""
    analysis = replace(analysis, image=replace(analysis.image, frames=frames))
    assert set(redraw(analysis)) == set(nothing_drawn()) == set(DRAWN)
    assert set(shown(analysis)) | set(awaited()) | set(empty()) <= set(WHOLE)


def test_a_reference_mask_that_arrives_while_a_redraw_runs_is_not_lost(
    model: LazyModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gr.Blocks(analytics_enabled=False) as demo:
        build_image_tab(model, demo)

    def event(name: str) -> Any:
        return next(event for event in demo.fns.values() if getattr(event.fn, "__name__", "") == name)

    redraw, compare = event("redraw"), event("compare")
    kept, _ = compare.outputs
    pixels = make_phantom("benign", seed=1, size=(64, 80)).image
    session = SessionState(demo)
    session[kept._id] = Analysis(DecodedImage(pixels), model().predictor.run([pixels])[0])
    mask = cache / "mask.png"
    cache.mkdir()
    Image.fromarray(np.pad(np.full((20, 30), 255, np.uint8), ((22, 22), (25, 25)))).save(mask)

    drawing, go_on, draw = threading.Event(), threading.Event(), image_answer.draw

    def slow(*arguments: Any) -> Image.Image:
        drawing.set()
        assert go_on.wait(60)
        return draw(*arguments)

    monkeypatch.setattr(image_answer, "draw", slow)

    async def meet() -> None:
        look = [Look.view, Look.color, Look.opacity, Look.diameters]
        running = asyncio.create_task(demo.process_api(redraw, [None, None, 0.3, *look], state=session))
        assert await asyncio.to_thread(drawing.wait, 60)
        uploaded = {"path": str(mask), "meta": {"_type": "gradio.FileData"}}
        await demo.process_api(compare, [None, None, [uploaded]], state=session)
        go_on.set()
        await running

    asyncio.run(meet())
    assert session[kept._id].reference.pixels.sum() == 600
