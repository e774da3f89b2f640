"""One module per layout. A module of this folder that defines `LAYOUT` is found without being listed."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path

from busi_unet.data.layout import Layout


@cache
def layouts() -> tuple[Layout, ...]:
    """Return every layout, the general ones last."""
    modules = (import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))
    return tuple(sorted((module.LAYOUT for module in modules), key=lambda layout: layout.general))


def recognise(root: Path) -> tuple[Layout, Path] | None:
    """Return the layout of a folder and the folder at or below it that has it; None for any other folder.

    Raises:
        DataLayoutError: several data sets below `root`.
    """
    for layout in layouts():
        if (base := layout.find(root)) is not None:
            return layout, base
    return None
