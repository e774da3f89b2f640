"""COCO JSON (https://cocodataset.org/#format-data), as annotation tools export it.

The class of an image is that of its annotations, malignant before benign; an image without any is normal
where the categories name the classes. Polygons and run lengths are read; boxes alone outline no lesion.
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from busi_unet.config import CLASS_NAMES
from busi_unet.data.readers import Case, Layout, Scan, children, folders, images_below, is_image, named
from busi_unet.errors import DataLayoutError, first_line
from busi_unet.io.files import composed

_KEYS = ("images", "annotations", "categories")
_MAX_BYTES = 500 * 1024**2


def _load(path: Path) -> dict[str, Any] | None:
    """Return what an annotation file holds; None for any other file."""
    try:
        if path.suffix.lower() != ".json" or not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    is_coco = isinstance(content, dict) and all(isinstance(content.get(key), list) for key in _KEYS)
    return content if is_coco else None


def _find(root: Path) -> Path | None:
    return root if any(_load(path) for folder in folders(root) for path in children(folder)) else None


def _scan(base: Path) -> Scan:
    found = Scan(base)
    paths = [path for folder in folders(base) for path in children(folder)]
    for path in paths:
        try:
            if content := _load(path):
                _scan_file(path, content, found)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataLayoutError(
                f"{path} is not COCO JSON ({type(error).__name__}: {first_line(error)}).",
                hint="Export it again from the annotation tool.",
            ) from error
    return found


def _scan_file(path: Path, content: dict[str, Any], found: Scan) -> None:
    category = {item["id"]: str(item["name"]).lower() for item in content["categories"]}
    has_classes = bool(set(category.values()) & set(CLASS_NAMES))
    if has_classes and (others := sorted(set(category.values()) - set(CLASS_NAMES))):
        found.warnings.append(f"{path.name}: categories that are no class: {named(others)}")
    files = {composed(file.name): file for file in images_below(path.parent)}
    annotations = defaultdict(list)
    images = {entry["id"] for entry in content["images"]}
    for item in content["annotations"]:
        annotations[item["image_id"]].append(item)
        # Its image would be taken for one without a lesion.
        if item["image_id"] not in images or item["category_id"] not in category:
            found.problems.append(
                f"{path.name}: an annotation names an image or category that is not in its lists"
            )
    taken = {case.image_id for case in found.cases}
    for entry in content["images"]:
        name = Path(str(entry["file_name"]).replace("\\", "/"))
        image = path.parent / name
        if not is_image(image):
            image = files.get(composed(name.name), image)
        if not is_image(image):
            found.problems.append(f"{path.name}: the image {entry['file_name']} is not beside it")
            continue
        items = annotations[entry["id"]]
        labels = {category.get(item["category_id"]) for item in items}
        label = next((label for label in reversed(CLASS_NAMES) if label in labels), None)
        if not items and has_classes:
            label = "normal"
        drawn = [item["segmentation"] for item in items if item.get("segmentation")]
        if items and not drawn and label != "normal":
            outline = None
        else:
            size = int(entry["height"]), int(entry["width"])
            outline = partial(_draw, segments=drawn, size=size, name=name.name)
        key = name.stem if name.stem not in taken else f"{path.parent.name}/{name.stem}"
        taken.add(key)
        found.cases.append(Case(key, image, label, outline=outline))


def _draw(shape: tuple[int, int], segments: list[Any], size: tuple[int, int], name: str) -> np.ndarray:
    """Return the union of COCO segmentations as bool (H, W)."""
    if shape != size:
        raise ValueError(f"{name} is {shape[1]}×{shape[0]} pixels, its annotations {size[1]}×{size[0]}")
    canvas = Image.new("1", (size[1], size[0]))
    mask = np.zeros(size, bool)
    for segment in segments:
        if isinstance(segment, dict):
            mask |= _decode_runs(segment["counts"], size)
        else:
            for polygon in segment:
                if len(polygon) >= 6:
                    ImageDraw.Draw(canvas).polygon([float(number) for number in polygon], fill=1)
    return mask | np.asarray(canvas)


def _decode_runs(counts: Any, size: tuple[int, int]) -> np.ndarray:
    """Return a mask from its run lengths, column by column; compressed ones are text."""
    runs = _decompress(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise ValueError("run lengths that do not fill the image")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size[::-1]).T


def _decompress(text: str) -> list[int]:
    """Return the run lengths of pycocotools' text: groups of 5 bits, each run less the one two before."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


LAYOUT = Layout("COCO", "a .json with images, annotations and categories beside the images", _find, _scan)
