"""Pages from templates; those in HTML hold all they show: no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import functools
import io
from typing import TYPE_CHECKING, Any

from PIL import Image

from busi_unet.io.files import image_bytes

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure


def render(template: str, **values: Any) -> str:
    """Return a page from one of `busi_unet/templates`; in HTML, every value is escaped but `Markup`."""
    return _environment().get_template(template).render(**values)


def data_uri(data: bytes, kind: str) -> str:
    """Return a file of the MIME type `kind` as text that a page can hold."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def png_of(figure: Figure) -> bytes:
    """Return a plot as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def jpeg_uri(image: Image.Image) -> str:
    return data_uri(image_bytes(image, "JPEG", quality=84), "image/jpeg")


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=PackageLoader("busi_unet"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
