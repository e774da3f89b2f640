"""Strips of small images to choose from: the examples and the last images of a page."""

from __future__ import annotations

import gradio as gr
import numpy as np
from PIL import Image

from busi_unet.io.html import jpeg_uri

_SIZE = (160, 120)
_TEMPLATE = """<p>{{label}}</p>
{{#each value}}<button type="button" data-key="{{this.key}}" title="{{this.name}}"
aria-label="{{../kind}}, {{this.name}}"><img alt="" src="{{this.source}}"><span>{{this.name}}</span>
</button>{{/each}}"""
# Not gr.Gallery, which loses a click that comes as its images change.
_CLICKED_JS = """element.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) trigger("select", { key: button.dataset.key });
});"""


def strip(label: str, kind: str, elem_id: str) -> gr.HTML:
    """Return a strip whose values are lists of `thumbnail`; its `select` event has the key that was clicked.

    Args:
        label: above it.
        kind: of each image, before its name, for screen readers.
        elem_id: of the component.
    """
    return gr.HTML(
        [],
        label=label,
        html_template=_TEMPLATE,
        js_on_load=_CLICKED_JS,
        elem_id=elem_id,
        apply_default_css=False,
        elem_classes="strip",
        kind=kind,
    )


def thumbnail(key: int, name: str, pixels: np.ndarray) -> dict[str, str]:
    """Return a grey image (uint8, height × width) for a strip, JPEG in an address of its own.

    The name must hold neither `$` nor a backslash, as those of `image_handlers.result_name` do not: Gradio
    evaluates the template, once it is filled, as a template string of JavaScript.
    """
    small = Image.fromarray(pixels)
    small.thumbnail(_SIZE)
    return {"key": str(key), "name": name, "source": jpeg_uri(small)}
