"""BUSI (Al-Dhabyani et al., Data in Brief 28:104863, 2020), and anything else with a folder per class.

Beside each image `benign (1).png` lie its masks `benign (1)_mask.png`, `benign (1)_mask_1.png`, …, one per
lesion.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

from busi_unet.config import CLASS_NAMES
from busi_unet.data.readers import (
    COPY_OF_MASK,
    MASK_STEM,
    Case,
    Layout,
    Scan,
    children,
    composed,
    folders,
    images_below,
    is_image,
)
from busi_unet.errors import DataLayoutError


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
        images = len(images_below(child)) if child.is_dir() else 0
        if images:
            found.problems.append(
                f"{child.name}/: unknown folder with {images} images; "
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
    images: dict[str, Path] = {}
    masks: dict[str, list[Path]] = defaultdict(list)
    for path in children(folder):
        name, stem = f"{folder.name}/{path.name}", composed(path.stem)
        if not is_image(path):
            inside = f" with its {len(images_below(path))} images" if path.is_dir() else ""
            found.warnings.append(f"{name}: not an image, left out{inside}")
        elif match := MASK_STEM.fullmatch(stem):
            masks[match["image"]].append(path)
        elif COPY_OF_MASK.fullmatch(stem):
            found.warnings.append(f"{name}: named like a copy of a mask, left out")
        elif stem in images:
            found.problems.append(f"{name}: same name as {images[stem].name}; keep one of the two")
        else:
            images[stem] = path
    # A normal image without a mask file is one without a lesion; any other was not outlined.
    none = () if label == "normal" else None
    found.cases += [Case(stem, path, label, tuple(masks[stem]) or none) for stem, path in images.items()]
    bare = [stem for stem in images if not masks[stem]] if masked else []
    if bare and label == "normal":
        found.warnings.append(
            f"{folder.name}/: {len(bare)} images have no mask file, taken as empty masks ({bare[0]}, …)"
        )
    elif bare and len(bare) == len(images):
        found.problems.append(
            f"{folder.name}/: none of its {len(images)} images has a mask; "
            f"add '{bare[0]}_mask.png' and so on beside them"
        )
    else:
        found.problems += [
            f"{folder.name}/{images[stem].name}: has no mask; add '{stem}_mask.png', or move the image away"
            for stem in bare
        ]
    for stem, paths in masks.items():
        if stem not in images:
            found.problems += [
                f"{folder.name}/{path.name}: is a mask without an image; add '{stem}.png', or move it away"
                for path in paths
            ]
    if not images:
        found.problems.append(f"{folder.name}/: holds no image")


LAYOUT = Layout(
    "Class folders, as BUSI has them",
    "folders benign, malignant and normal, with masks 'benign (1)_mask.png' beside 'benign (1).png'",
    _find,
    _scan,
)
