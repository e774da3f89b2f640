"""Cards from the templates beside this module."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

NOT_A_DEVICE = "**Research use only. Not a medical device: do not use it to find or rule out cancer.**"


def render(template: str, **values: Any) -> str:
    """Return a Markdown page; a value that the template names and is not given is an error."""
    return _environment().get_template(template).render(not_a_device=NOT_A_DEVICE, **values)


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        # Markdown, not HTML.
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
