"""The layout of BUSI on disk: which picture belongs to which class, and which masks to which picture.

There is a folder per class; beside each picture `benign (1).png` lie its masks `benign (1)_mask.png`,
`benign (1)_mask_1.png`, …, one per lesion. Files are told apart by name; nothing here opens them.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import DataLayoutError
from busi_unet.io.decode import EXTENSIONS

LAYOUT_HINT = (
    "BUSI has one folder per class, normal, benign and malignant, and beside each picture its masks: "
    "'benign (1).png', 'benign (1)_mask.png', 'benign (1)_mask_1.png'."
)
FIX_HINT = "Mend what is named above, or move it away, then run this again; nothing has been written."

_MASK_STEM = re.compile(r"(?P<image>.+)_mask(?:_\d+)?", re.IGNORECASE)
_SEARCH_DEPTH = 4


@dataclass(frozen=True)
class Case:
    """A picture and its mask files.

    Attributes:
        image_id: file stem, "benign (1)"; "label/stem" where two classes use the same stem.
        label: one of `CLASS_NAMES`.
        image_path: the picture.
        mask_paths: one file per lesion; empty only for a normal picture.
    """

    image_id: str
    label: str
    image_path: Path
    mask_paths: tuple[Path, ...]


@dataclass
class Scan:
    """What the class folders of `base` hold: the cases, every problem, every oddity let pass."""

    base: Path
    cases: list[Case] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def scan_folder(root: str | os.PathLike) -> list[Case]:
    """Lists the pictures and masks of a folder in the layout of BUSI, without opening them.

    Args:
        root: the folder that holds normal, benign and malignant, or one above it.

    Raises:
        DataLayoutError: no such folder; missing, empty or unknown class folders; masks without a picture
            and lesions without a mask. Lists every problem.
    """
    root = Path(root)
    found = scan(root) if root.is_dir() else None
    if found is None:
        raise DataLayoutError(
            f"No folder called normal, benign or malignant at or below {root}.", hint=LAYOUT_HINT
        )
    if found.problems:
        raise DataLayoutError(f"{found.base} cannot be used:", found.problems, FIX_HINT)
    return found.cases


def scan(root: Path) -> Scan | None:
    """What `scan_folder` lists, with problems and warnings beside it; None where there is no class folder.

    Raises:
        DataLayoutError: several data sets below `root`.
    """
    base = _find_base(root)
    if base is None:
        return None
    found = Scan(base)
    class_folders = _class_folders(base)
    for child in _children(base):
        if child in class_folders.values():
            continue
        pictures = _count_pictures(child) if child.is_dir() else 0
        if pictures:
            found.problems.append(
                f"{child.name}/: unknown folder with {pictures} pictures; "
                f"rename it to one of {', '.join(CLASS_NAMES)}, or move it away"
            )
        else:
            found.warnings.append(f"{child.name}: not part of the layout, left out")
    for label in CLASS_NAMES:
        if label in class_folders:
            _scan_class(class_folders[label], label, found)
        else:
            found.problems.append(f"{label}/: this class folder is missing; each class needs some pictures")
    used = Counter(case.image_id for case in found.cases)
    found.cases = [
        case if used[case.image_id] == 1 else replace(case, image_id=f"{case.label}/{case.image_id}")
        for case in found.cases
    ]
    return found


def folders(root: Path, depth: int = _SEARCH_DEPTH) -> Iterator[Path]:
    """The folder and those below it, nearest first, without hidden ones and macOS archive leftovers."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [child for folder in level for child in _children(folder) if child.is_dir()]


def natural_order(text: str) -> list[Any]:
    """Sort key that puts "benign (2)" before "benign (10)"."""
    # Digits and other text alternate, so that numbers only ever meet numbers.
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", text))]


def _children(folder: Path) -> list[Path]:
    hidden = (".", "__MACOSX", "Thumbs.db", "desktop.ini")
    try:
        found = [child for child in folder.iterdir() if not child.name.startswith(hidden)]
    except PermissionError:
        return []
    return sorted(found, key=lambda child: natural_order(child.name))


def _class_folders(folder: Path) -> dict[str, Path]:
    return {
        child.name.casefold(): child
        for child in _children(folder)
        if child.is_dir() and child.name.casefold() in CLASS_NAMES
    }


def _find_base(root: Path) -> Path | None:
    """The folder with the most class folders, the nearest of several."""
    found = [(len(_class_folders(folder)), folder) for folder in folders(root)]
    best = max((count for count, _ in found), default=0)
    candidates = [folder for count, folder in found if count == best]
    if best == len(CLASS_NAMES) and len(candidates) > 1:
        raise DataLayoutError(
            f"{root} holds several data sets:",
            [
                f"{folder.relative_to(root).as_posix()}: has normal, benign and malignant"
                for folder in candidates
            ],
            "Name one of these folders.",
        )
    return candidates[0] if best else None


def _count_pictures(folder: Path) -> int:
    return sum(path.suffix.lower() in EXTENSIONS for inner in folders(folder) for path in _children(inner))


def _scan_class(folder: Path, label: str, found: Scan) -> None:
    images: dict[str, Path] = {}
    masks: dict[str, list[Path]] = defaultdict(list)
    for path in _children(folder):
        name = f"{folder.name}/{path.name}"
        if path.is_dir() or path.suffix.lower() not in EXTENSIONS:
            inside = f" with its {_count_pictures(path)} pictures" if path.is_dir() else ""
            found.warnings.append(f"{name}: not a picture, left out{inside}")
        elif match := _MASK_STEM.fullmatch(path.stem):
            masks[match["image"]].append(path)
        elif path.stem in images:
            found.problems.append(f"{name}: same name as {images[path.stem].name}; keep one of the two")
        else:
            images[path.stem] = path
    found.cases += [Case(stem, label, path, tuple(masks[stem])) for stem, path in images.items()]
    bare = [stem for stem in images if not masks[stem]]
    if bare and label == "normal":
        found.warnings.append(
            f"{folder.name}/: {len(bare)} pictures have no mask file, taken as empty masks ({bare[0]}, …)"
        )
    elif bare and len(bare) == len(images):
        found.problems.append(
            f"{folder.name}/: none of its {len(images)} pictures has a mask; "
            f"add '{bare[0]}_mask.png' and so on beside them"
        )
    else:
        found.problems += [
            f"{folder.name}/{images[stem].name}: has no mask; add '{stem}_mask.png', or move the picture away"
            for stem in bare
        ]
    for stem, paths in masks.items():
        if stem not in images:
            found.problems += [
                f"{folder.name}/{path.name}: is a mask without a picture; add '{stem}.png', or move it away"
                for path in paths
            ]
    if not images:
        found.problems.append(f"{folder.name}/: holds no picture; each class needs some pictures")
