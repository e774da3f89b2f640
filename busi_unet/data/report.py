"""The data report: one HTML page about a prepared data set, read in one pass over its images."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from busi_unet.data.prepared import class_name, decode_row, shrink, summarise
from busi_unet.data.readers import natural_order
from busi_unet.imaging.overlay import draw_overlay
from busi_unet.io.files import replace_file
from busi_unet.io.html import jpeg_uri, render

if TYPE_CHECKING:
    from datasets import Dataset

# Near Okabe and Ito's palette, told apart with any colour vision.
_COLORS = {"normal": "#1a9e77", "benign": "#3f8fd4", "malignant": "#e0652a", "unknown": "#8a8a8a"}
_SAMPLES = 6  # of each class of a source
_LARGEST_GROUPS, _MAX_CONFLICTS = 8, 30
_MAX_OF_GROUP = 14
_THUMBNAIL_PX = 180


class _Facts(NamedTuple):
    """What is kept of an image once its pixels are gone; the area in % of the image, 0 without a mask."""

    source: str
    width: int
    height: int
    brightness: float
    area: float


def write_data_report(dataset: Mapping[str, Dataset], path: Path, record: Mapping[str, Any]) -> None:
    """Write one HTML page about what `load_prepared` and `read_record` give; a file at `path` is replaced.

    It needs neither network nor scripts, and shows images of the data set, so it must be shared no more
    widely than the data.
    """
    summary = summarise(dataset)
    label_of, samples, groups, conflicts = _chosen(dataset, summary, random.Random(0))
    shown = (*samples.values(), *groups.values(), *conflicts.values())
    facts, thumbnails = _look(dataset, {name for ids in shown for name in ids})
    page = render(
        "data.html",
        title="Data report",
        summary=summary,
        given=[part["given"] for part in record["sources"]],
        warnings=record["warnings"],
        classes=[name for name, count in summary["classes"].items() if count],
        colors=_COLORS,
        sources={
            name: {**part, **_medians([image for image in facts if name in (image.source, "all")])}
            for name, part in (*summary["by_source"].items(), ("all", {**summary, **summary["classes"]}))
        },
        samples=samples,
        thumbnails=thumbnails,
        label_of=label_of,
        groups=groups,
        conflicts=conflicts,
        max_of_group=_MAX_OF_GROUP,
    )
    replace_file(path, lambda file: file.write(page.encode("utf-8")))


def _chosen(dataset: Mapping[str, Dataset], summary: Mapping[str, Any], rng: random.Random) -> tuple:
    """Return the classes by image id; and what is shown.

    These are image ids by source and class, those of the largest groups, and those of groups with several
    classes.
    """
    label_of: dict[str, str] = {}
    by_kind: dict[tuple[str, str], list[str]] = defaultdict(list)
    groups: dict[str, list[str]] = defaultdict(list)
    for part in dataset.values():
        columns = (part[name] for name in ("image_id", "label", "source", "group"))
        for image_id, label, source, group in zip(*columns, strict=True):
            label_of[image_id] = class_name(label)
            by_kind[source, class_name(label)].append(image_id)
            groups[group].append(image_id)
    order = list(summary["classes"])
    samples = {
        kind: sorted(rng.sample(by_kind[kind], min(_SAMPLES, len(by_kind[kind]))), key=natural_order)
        for kind in sorted(by_kind, key=lambda kind: (kind[0], order.index(kind[1])))
    }
    conflicts = {
        conflict["group"]: [image_id for ids in conflict["images"].values() for image_id in ids]
        for conflict in summary["cross_class_groups"]
    }
    several = sorted((name for name, ids in groups.items() if len(ids) > 1), key=natural_order)
    largest = sorted(several, key=lambda name: -len(groups[name]))[:_LARGEST_GROUPS]
    of_one_class = {
        name: sorted(groups[name], key=natural_order) for name in largest if name not in conflicts
    }
    return label_of, samples, of_one_class, dict(list(conflicts.items())[:_MAX_CONFLICTS])


def _look(dataset: Mapping[str, Dataset], wanted: set[str]) -> tuple[list[_Facts], dict[str, str]]:
    """Return the facts of all images, and thumbnails of those that are wanted by image id."""
    facts, thumbnails = [], {}
    rows = (row for part in dataset.values() for row in part)
    for row in tqdm(rows, "data report", sum(map(len, dataset.values())), unit="image"):
        pixels, mask = decode_row(row)
        mask = np.zeros(pixels.shape, bool) if mask is None else mask
        height, width = pixels.shape
        brightness, area = float(pixels.mean()), float(mask.mean()) * 100
        facts.append(_Facts(row["source"], width, height, brightness, area))
        if row["image_id"] in wanted:
            # The outline is drawn after the image is made small, which would make it faint.
            small = draw_overlay(*shrink(pixels, mask, _THUMBNAIL_PX), opacity=0.0)
            thumbnails[row["image_id"]] = jpeg_uri(small)
    return facts, thumbnails


def _medians(images: Iterable[_Facts]) -> dict[str, float | None]:
    columns = {name: [getattr(image, name) for image in images] for name in _Facts._fields[1:]}
    columns["area"] = [area for area in columns["area"] if area]
    return {name: float(np.median(values)) if values else None for name, values in columns.items()}
