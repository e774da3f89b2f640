"""BUSI (Al-Dhabyani et al., Data in Brief 28:104863, 2020), and anything else with a folder per class.

Beside each image `benign (1).png` lie its masks `benign (1)_mask.png`, `benign (1)_mask_1.png`, …, one per
lesion.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from busi_unet.config import CLASS_NAMES
from busi_unet.data.readers import (
    COPY_OF_MASK,
    MASK_STEM,
    Case,
    Citation,
    Layout,
    Scan,
    children,
    folders,
    images_below,
    is_image,
    masks_by_image,
    named,
)
from busi_unet.errors import DataLayoutError
from busi_unet.io.files import composed


def _class_folders(folder: Path) -> dict[str, Path]:
    return {
        child.name.casefold(): child
        for child in children(folder)
        if child.is_dir() and child.name.casefold() in CLASS_NAMES
    }


def _find(root: Path) -> Path | None:
    """Return the folder with the most class folders, the nearest of several."""
    found = [(len(_class_folders(folder)), folder) for folder in folders(root)]
    best = max((count for count, _ in found), default=0)
    candidates = [folder for count, folder in found if count == best]
    if best == len(CLASS_NAMES) and len(candidates) > 1:
        raise DataLayoutError(
            f"{root} holds several data sets:",
            [f"{path.relative_to(root).as_posix()}: has normal, benign and malignant" for path in candidates],
            "Name these folders one by one.",
        )
    return candidates[0] if best else None


def _scan(base: Path) -> Scan:
    found = Scan(base)
    class_folders = _class_folders(base)
    for child in children(base):
        if child in class_folders.values():
            continue
        if child.is_dir() and images_below(child):
            found.problems.append(
                f"{child.name}/: unknown folder with images; "
                f"rename it to one of {', '.join(CLASS_NAMES)}, or move it away"
            )
        else:
            found.warnings.append(f"{child.name}: not part of the layout, left out")
    masked = any(MASK_STEM.fullmatch(path.stem) for path in images_below(base))
    for label in CLASS_NAMES:
        if label in class_folders:
            _scan_class(class_folders[label], label, masked, found)
        elif label != "normal":
            found.problems.append(f"{label}/: this class folder is missing")
    if not masked:
        found.warnings.append("there are no masks: the lesions of these images are not outlined")
    used = Counter(case.image_id for case in found.cases)
    found.cases = [
        case if used[case.image_id] == 1 else replace(case, image_id=f"{case.label}/{case.image_id}")
        for case in found.cases
    ]
    return found


def _scan_class(folder: Path, label: str, masked: bool, found: Scan) -> None:
    files = []
    for path in children(folder):
        stem = composed(path.stem)
        if not is_image(path):
            inside = f"; images in it: {len(images_below(path))}" if path.is_dir() else ""
            found.warnings.append(f"{found.name(path)}: not an image, left out{inside}")
        elif COPY_OF_MASK.fullmatch(stem) and not MASK_STEM.fullmatch(stem):
            found.warnings.append(f"{found.name(path)}: named like a copy of a mask, left out")
        else:
            files.append(path)
    by_key = found.by_key(files, folder)
    images = {key: path for key, path in by_key.items() if not MASK_STEM.fullmatch(key)}
    masks_of, strays = masks_by_image(
        images, {key: path for key, path in by_key.items() if key not in images}
    )
    # A normal image without a mask file is one without a lesion; any other was not outlined.
    none = () if label == "normal" else None
    cases = [Case(key, path, label, tuple(masks_of[key]) or none) for key, path in images.items()]
    found.cases += cases
    bare = [key for key in images if not masks_of[key]] if masked else []
    if bare and label == "normal":
        found.warnings.append(
            f"{folder.name}/: without a mask file, taken to show no lesion: {len(bare)} of its images "
            f"({named(bare)})"
        )
    elif bare and len(bare) == len(images):
        found.problems.append(
            f"{folder.name}/: none of its images has a mask; add '{bare[0]}_mask.png' and so on beside them"
        )
    else:
        found.problems += [
            f"{found.name(images[key])}: has no mask; add '{key}_mask.png', or move the image away"
            for key in bare
        ]
    found.problems += [f"{found.name(path)}: is a mask without an image; move it away" for path in strays]
    if not images:
        found.problems.append(f"{folder.name}/: holds no image")


# The source is called "busi" where the pixels are those of the published folds.
_BUSI = Citation(
    "BUSI (Cairo, 2018)",
    "Licence: not stated clearly by its owners; copies name different ones.",
    "unknown",
    "Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Dataset of breast ultrasound images. "
    "Data in Brief 28:104863 (2020). On its duplicates: Pawłowska A, Karwat P, Żołek N. "
    "Data in Brief 48:109247 (2023).",
    (
        "BUSI is from one hospital and two scanners of one maker, of women aged 25 to 75.",
        "BUSI has no patient ids: its folds separate duplicates and views of one lesion, not patients. "
        "Results on it are optimistic.",
    ),
)
LAYOUT = Layout(
    "Class folders, as BUSI has them",
    "folders benign, malignant and normal, with masks 'benign (1)_mask.png' beside 'benign (1).png'",
    _find,
    _scan,
    citations={"busi": _BUSI},
)
