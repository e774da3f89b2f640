"""What a reader of a layout returns: images with their masks, class, patient and fold, not yet opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Case:
    """An image, the files that belong to it, and what its source says about it.

    Attributes:
        image_id: name of the image, unique within its source.
        image: the file.
        label: one of `CLASS_NAMES`; None where it is not known.
        masks: one file per lesion, their union is the mask; () where the image is known to show no lesion;
            None where nobody outlined the lesions.
        outline: draws the mask, bool (H, W) from (H, W), where it does not come from files.
        scale_mask: scale a mask of another size than its image instead of refusing it.
        patient: None where it is not known.
        fold: the published one, 0 to 4; None where there is none.
    """

    image_id: str
    image: Path
    label: str | None = None
    masks: tuple[Path, ...] | None = None
    outline: Callable[[tuple[int, int]], np.ndarray] | None = None
    scale_mask: bool = False
    patient: str | None = None
    fold: int | None = None


@dataclass
class Scan:
    """What a folder holds: the cases, every problem, every oddity let pass."""

    base: Path
    cases: list[Case] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """How one published data set, or one common form, lies on disk.

    Attributes:
        name: how messages call it.
        wanted: what a folder of this layout holds, in a few words.
        find: returns the folder at or below another one that has this layout, or None.
        scan: lists what that folder holds.
        source: what the column `source` says; None for the name of the folder.
        general: tried after the layouts that are not.
    """

    name: str
    wanted: str
    find: Callable[[Path], Path | None]
    scan: Callable[[Path], Scan]
    source: str | None = None
    general: bool = False
