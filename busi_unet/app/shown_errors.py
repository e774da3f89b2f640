"""Errors of the package as the page shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from busi_unet.errors import BusiUNetError


@contextmanager
def shown_errors() -> Iterator[None]:
    """Turn an error of this package into one sentence on the page and in the API, without a traceback."""
    try:
        yield
    except BusiUNetError as error:
        raise gr.Error(str(error), duration=30, print_exception=False) from error
