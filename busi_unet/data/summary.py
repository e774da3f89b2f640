"""Counts of a prepared data set, and their text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import random_split_leak
from busi_unet.data.layout import natural_order
from busi_unet.data.prepared import IMAGE_BY_IMAGE, UNKNOWN

if TYPE_CHECKING:
    from datasets import Dataset

UNKNOWN_NAME = "unknown"
_FOLDS_FROM = {
    "published": "published with this package",
    "prepared": "those of the prepared data set",
    "given": "given with the data",
    "computed": "dealt by patient or group of copies",
}


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


def describe(result: Mapping[str, Any]) -> str:
    """Return what `busi-unet prepare` did as text: the record and the counts of a data set, and its paths."""
    names = list(result["classes"])
    header = ("split", "fold", "images", "groups", *names)
    rows = [
        (split, _folds_of(split, result), part["images"], part["groups"], *(part[name] for name in names))
        for split, part in result["splits"].items()
    ]
    rows.append(("all", "", result["images"], result["groups"], *result["classes"].values()))
    lines = [f"{result['images']} images written to {result['output']}", ""]
    lines += [
        f"{row[0]:<11}{row[1]:<9}" + "".join(f"{value:>11}" for value in row[2:]) for row in (header, *rows)
    ]
    lines.append("")
    for name, part in result["by_source"].items():
        classes = ", ".join(f"{part[label]} {label}" for label in names if part[label])
        unmasked = f"; {part['without_mask']} without mask" if part["without_mask"] else ""
        lines.append(f"{name}: {part['images']} images ({classes}){unmasked}")
    lines += ["", *_about_copies(result)]
    if result["report"]:
        lines += ["", f"Report: {result['report']} (shows the images; do not publish it)"]
    if result.get("published"):
        lines += ["", f"Published: {result['published']}"]
    return "\n".join(lines)


def _folds_of(split: str, result: Mapping[str, Any]) -> str:
    if result["left_out"]:
        return result["left_out"] if split == "test" else ""
    test, validation = result["test_fold"], (result["test_fold"] + 1) % result["n_folds"]
    rest = ", ".join(str(fold) for fold in range(result["n_folds"]) if fold not in (test, validation))
    return {"train": rest, "validation": str(validation), "test": str(test)}[split]


def _about_copies(result: Mapping[str, Any]) -> list[str]:
    if result["folds_from"] == IMAGE_BY_IMAGE:
        return ["Folds: dealt image by image, whatever is a copy of what; use them to measure leakage only."]
    folds = ", ".join(f"{part['source']} {_FOLDS_FROM[part['folds_from']]}" for part in result["sources"])
    groups = "one group" if result["groups_with_copies"] == 1 else f"{result['groups_with_copies']} groups"
    conflicts = result["cross_class_groups"]
    return [
        f"Folds: {folds}; no group is in two of them.",
        f"Groups: {result['images_in_copy_groups']} images share {groups} (one patient, or copies of one "
        f"view), the largest of {result['largest_group']}.",
        f"A random image-level split would leave {result['random_split_leak']:.1%} of the test images with "
        "another of their group in training; this split leaves none.",
        f"Cross-class conflicts: {len(conflicts)} groups hold images of different classes.",
        *(
            f"  {conflict['group']}: "
            + " | ".join(", ".join(images) for images in conflict["images"].values())
            for conflict in conflicts
        ),
    ]
