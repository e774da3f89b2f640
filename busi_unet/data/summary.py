"""Counts of a prepared data set."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import random_split_leak
from busi_unet.data.listing import natural_order
from busi_unet.data.prepared import UNKNOWN

if TYPE_CHECKING:
    from datasets import Dataset

UNKNOWN_NAME = "unknown"


def summarise(dataset: Mapping[str, Dataset]) -> dict[str, Any]:
    """Return counts of a prepared data set, JSON-ready.

    Returns:
        images; without_mask; classes (images per class, "unknown" where some have none); by_source (images,
        without_mask and images per class of each); splits (images, groups and images per class of each);
        folds (images per class of each); groups; groups_with_copies; images_in_copy_groups;
        largest_group; random_split_leak (expected share of test images with another of their group among
        the other images, had the images been split at random); cross_class_groups (group, images by class).
    """
    columns = ("label", "image_id", "group", "fold", "source")
    table = [
        (split, class_name(label), image_id, group, fold, source, unmasked)
        for split, part in dataset.items()
        for label, image_id, group, fold, source, unmasked in zip(
            *(part[column] for column in columns), part.data.column("mask").is_null().to_pylist(), strict=True
        )
    ]
    names = [*CLASS_NAMES] + [UNKNOWN_NAME] * any(row[1] == UNKNOWN_NAME for row in table)

    def per_class(labels: Iterable[str]) -> dict[str, int]:
        counts = Counter(labels)
        return {name: counts[name] for name in names}

    members: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for _, label, image_id, group, *_ in table:
        members[group].append((label, image_id))
    sizes = [len(images) for images in members.values()]
    crossing = {
        group: images
        for group, images in members.items()
        if len({label for label, _ in images} - {UNKNOWN_NAME}) > 1
    }
    return {
        "images": len(table),
        "without_mask": sum(row[6] for row in table),
        "classes": per_class(row[1] for row in table),
        "by_source": {
            source: {
                "images": sum(row[5] == source for row in table),
                "without_mask": sum(row[6] for row in table if row[5] == source),
                **per_class(row[1] for row in table if row[5] == source),
            }
            for source in sorted({row[5] for row in table})
        },
        "splits": {
            split: {
                "images": sum(row[0] == split for row in table),
                "groups": len({row[3] for row in table if row[0] == split}),
                **per_class(row[1] for row in table if row[0] == split),
            }
            for split in dataset
        },
        "folds": {
            str(fold): per_class(row[1] for row in table if row[4] == fold)
            for fold in sorted({row[4] for row in table})
        },
        "groups": len(members),
        "groups_with_copies": sum(size > 1 for size in sizes),
        "images_in_copy_groups": sum(size for size in sizes if size > 1),
        "largest_group": max(sizes, default=0),
        "random_split_leak": random_split_leak([row[3] for row in table]),
        "cross_class_groups": [
            {
                "group": group,
                "images": {
                    name: sorted((i for label, i in images if label == name), key=natural_order)
                    for name in names
                    if any(label == name for label, _ in images)
                },
            }
            for group, images in sorted(crossing.items(), key=lambda item: natural_order(item[0]))
        ],
    }


def class_name(label: int) -> str:
    """Return the class of a label in the column, "unknown" for -1."""
    return UNKNOWN_NAME if label == UNKNOWN else CLASS_NAMES[label]
