"""What visitors and callers give: checked, or refused in a sentence."""

from __future__ import annotations

import math
import re
from typing import Any

import gradio as gr

from busi_unet.app import text
from busi_unet.errors import UsageError
from busi_unet.imaging.quality import Box
from busi_unet.io.scale import is_plausible


def number(value: Any, name: str) -> float | None:
    """Return a number that a caller of the API may have sent as text."""
    try:
        given = None if value is None else float(value)
    except (TypeError, ValueError):
        given = math.nan
    if given is not None and not math.isfinite(given):
        raise UsageError(f"{name} is {str(value)[:20]!r}, not a number.", "Send a number, such as 0.5.")
    return given


def switch(value: Any, name: str) -> bool:
    """Return a truth value that a caller of the API may have sent as text."""
    given = {"true": True, "1": True, "false": False, "0": False, "none": False}.get(str(value).lower())
    if given is None:
        raise UsageError(f"{name} is {str(value)[:20]!r}.", "Send true or false.")
    return given


def box(value: str) -> Box:
    """Return the box that was drawn over the image."""
    if not re.fullmatch(r"-?\d+(,-?\d+){3}", value):
        raise UsageError(*text.NO_BOX)
    return tuple(map(int, value.split(",")))


def pixel_size(value: float | None) -> float | None:
    """Return a pixel size in millimetres; `UsageError` if it is not plausible."""
    if value is None:
        return None
    if not is_plausible((value, value)):
        raise UsageError(f"A pixel of {value:g} mm is not plausible.", "Type millimetres, such as 0.08.")
    return float(value)


def typed_size(value: float | None) -> float | None:
    """Return the pixel size in the page's field, or None with a warning: the image itself can be used.

    An emptied field may give 0.
    """
    try:
        return pixel_size(value or None)
    except UsageError as error:
        gr.Warning(f"{error} It is not used.")
        return None
