"""One module per layout. A module of this folder that defines `LAYOUT` is found without being listed."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path

from busi_unet.data.cases import Layout, Scan
from busi_unet.errors import DataLayoutError


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


def scan_folder(root: Path) -> Scan:
    """List the images and masks of a folder without opening them.

    Raises:
        DataLayoutError: no such folder, a layout that is not known, or any problem with its files.
    """
    recognised = recognise(root) if root.is_dir() else None
    if recognised is None:
        wanted = [f"{layout.name}: {layout.wanted}" for layout in layouts()]
        raise DataLayoutError(f"{root} cannot be recognised. What was looked for in it:", wanted)
    layout, base = recognised
    found = layout.scan(base)
    if found.problems:
        raise DataLayoutError(f"{base} cannot be used:", found.problems)
    return found
