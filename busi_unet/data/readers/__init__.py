"""One module per layout, found by its `LAYOUT`; and what they share: cases, files."""

from __future__ import annotations

import functools
import pkgutil
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from busi_unet.config import CLASS_NAMES
from busi_unet.io.decode import EXTENSIONS
from busi_unet.io.files import composed, readable
from busi_unet.io.tables import read_table

MASK_STEM = re.compile(r"(?P<image>.+)_mask(?:_[0-9]+)?", re.IGNORECASE)
# "normal (1)_mask - Copy", "normal (1)_mask(1)": neither an image nor one more lesion.
COPY_OF_MASK = re.compile(r".+_mask(?![a-z]).*", re.IGNORECASE)
_HIDDEN = (".", "__MACOSX", "Thumbs.db", "desktop.ini")
_SEARCH_DEPTH = 4


@dataclass(frozen=True)
class Case:
    """An image, the files that belong to it, and what its source says about it; not yet decoded."""

    image_id: str  # unique within its source
    image: Path | bytes  # file, or what is in it
    label: str | None = None  # one of `CLASS_NAMES`; None where it is not known
    # One file per lesion, their union is the mask; () where the image is known to show no lesion, None where
    # nobody outlined the lesions.
    masks: tuple[Path | bytes, ...] | None = None
    # Draws the mask, bool (H, W) from (H, W), where it does not come from files.
    outline: Callable[[tuple[int, int]], np.ndarray] | None = None
    scale_mask: bool = False  # scale a mask of another size than its image instead of refusing it
    patient: str | None = None  # of a prepared data set, the group
    fold: int | None = None  # the published or prepared one, 0 to 4
    source: str | None = None  # of a prepared data set, which may hold several


@dataclass
class Scan:
    """What a folder holds: the cases, every problem, every oddity let pass."""

    base: Path
    cases: list[Case] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def name(self, path: Path) -> str:
        """Return how messages call a file."""
        return readable(_within(path, self.base).as_posix())

    def listed(
        self, table: Path, columns: Sequence[str], images: Mapping[str, Path]
    ) -> Iterator[tuple[Case, dict[str, str]]]:
        """Yield each image, by stem, that is here and in a table, with its class and its row.

        The first two columns name the image, with or without its ending, and its class. Classes that are not
        known, images of the table that are not here, and images that are not in the table are reported.
        """
        rows = read_table(table, columns)
        name, label = (column.lower() for column in columns[:2])
        stems = [Path(row[name]).stem for row in rows]
        for stem, row in zip(stems, rows, strict=True):
            if stem not in images:
                continue
            if row[label].lower() not in CLASS_NAMES:
                self.problems.append(f"{table.name}: the class {row[label]!r} of {row[name]} is not known")
            yield Case(stem, images[stem], row[label].lower()), row
        absent = [stem for stem in stems if stem not in images]
        if absent:
            self.warnings.append(f"{table.name}: {len(absent)} of its images are not here ({named(absent)})")
        strays = sorted(images[stem] for stem in images.keys() - set(stems))
        self.problems += [f"{self.name(path)}: is not in {table.name}" for path in strays]

    def by_key(self, paths: Iterable[Path], base: Path) -> dict[str, Path]:
        """Return files by their name within a folder, without its ending; two of one name are a problem."""
        by_key: dict[str, Path] = {}
        for path in paths:
            if (other := by_key.setdefault(key_of(path, base), path)) != path:
                self.problems.append(f"{self.name(path)}: same name as {other.name}; keep one of the two")
        return by_key


def key_of(path: Path, base: Path) -> str:
    """Return the name of a file within a folder, without its ending."""
    return composed(_within(path, base).with_suffix("").as_posix())


def _within(path: Path, base: Path) -> Path:
    return path.relative_to(base) if path.is_relative_to(base) else path


def masks_by_image(
    images: Mapping[str, Path], masks: Mapping[str, Path]
) -> tuple[dict[str, list[Path]], list[Path]]:
    """Match masks to images by their names; return those of each image, and those of none."""
    masks_of: dict[str, list[Path]] = defaultdict(list)
    strays = []
    for key, path in masks.items():
        match = MASK_STEM.fullmatch(key)
        if key in images:
            masks_of[key].append(path)
        elif match and match["image"] in images:
            masks_of[match["image"]].append(path)
        else:
            strays.append(path)
    return masks_of, strays


@dataclass(frozen=True)
class Citation:
    """What a card says of a source."""

    title: str  # as people call it, with where it comes from
    licence: str = "Licence: CC BY 4.0."  # one sentence
    licence_id: str = "cc-by-4.0"  # as the Hub writes it
    citation: str = ""  # the reference to give with every result
    limits: tuple[str, ...] = ()  # one sentence each


@dataclass(frozen=True)
class Layout:
    """How one published data set, or one common form, lies on disk."""

    name: str  # in messages
    wanted: str  # what a folder of this layout holds, in a few words
    find: Callable[[Path], Path | None]  # returns the folder at or below another one that has this layout
    scan: Callable[[Path], Scan]  # lists what that folder holds
    source: str | None = None  # what the column `source` says; None for the name of the folder
    general: bool = False  # tried after the layouts that are not
    citations: Mapping[str, Citation] = field(default_factory=dict)  # by what the column `source` says


@functools.cache
def layouts() -> tuple[Layout, ...]:
    """Return every layout, the general ones last."""
    modules = (import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))
    return tuple(sorted((module.LAYOUT for module in modules), key=lambda layout: layout.general))


def citation_of(source: str) -> Citation:
    """Return what is known of a source; of data of one's own, that its owner has to say it."""
    unknown = Citation(source, "Licence and citation: to be added by whoever publishes this.", "unknown")
    return next((layout.citations[source] for layout in layouts() if source in layout.citations), unknown)


def recognise(root: Path) -> tuple[Layout, Path] | None:
    """Return the layout of a folder and the folder at or below it that has it; None for any other folder."""
    for layout in layouts():
        if (base := layout.find(root)) is not None:
            return layout, base
    return None


# --- Files ---------------------------------------------------------------------------------------


def natural_order(text: str) -> list[Any]:
    """Sort key that puts "benign (2)" before "benign (10)"."""
    # Digits and other text alternate, so that numbers only ever meet numbers.
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"([0-9]+)", text))]


def children(folder: Path) -> list[Path]:
    """Return what a folder holds, without hidden files and archive leftovers; nothing where it is closed."""
    try:
        found = [child for child in folder.iterdir() if not child.name.startswith(_HIDDEN)]
    except PermissionError:
        return []
    return sorted(found, key=lambda child: natural_order(child.name))


def folders(root: Path) -> Iterator[Path]:
    """Yield the folder and those up to four levels below it, nearest first, without hidden ones."""
    level = [root]
    for _ in range(_SEARCH_DEPTH + 1):
        yield from level
        level = [child for folder in level for child in children(folder) if child.is_dir()]


def is_image(path: Path) -> bool:
    """Whether a file is named like an image."""
    return path.suffix.lower() in EXTENSIONS and path.is_file()


def images_below(folder: Path) -> list[Path]:
    """Return the images in a folder and those below it."""
    return [path for inner in folders(folder) for path in children(inner) if is_image(path)]


def subfolder(folder: Path, name: str) -> Path | None:
    """Return the folder of this name, whatever the case of its letters."""
    return next((path for path in children(folder) if path.is_dir() and path.name.casefold() == name), None)


def named(names: Sequence[str]) -> str:
    """Return the first three of several names, for a message."""
    return ", ".join(names[:3]) + (", …" if names[3:] else "")
