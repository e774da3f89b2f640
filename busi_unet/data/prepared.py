"""The prepared data set: loaded, checked, counted, and split in other ways. Columns: docs/your_data.md."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import N_FOLDS, random_split_leak
from busi_unet.data.readers import natural_order
from busi_unet.errors import DataLayoutError, UsageError, first_line
from busi_unet.imaging.regions import mask_image
from busi_unet.io.decode import decode_image
from busi_unet.io.masks import decode_mask

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

SPLITS = ("train", "validation", "test")
COLUMNS = ("image", "mask", "label", "image_id", "source", "group", "fold")
UNKNOWN, UNKNOWN_NAME = -1, "unknown"
RECORD_NAME = "preparation.json"
# `folds_from` in the record of a data set whose folds know nothing of copies.
IMAGE_BY_IMAGE = "image by image"


def features() -> Features:
    """Return the columns of a prepared data set with their types."""
    import datasets

    return datasets.Features(
        image=datasets.Image(),
        mask=datasets.Image(),
        label=datasets.ClassLabel(names=list(CLASS_NAMES)),
        image_id=datasets.Value("string"),
        source=datasets.Value("string"),
        group=datasets.Value("string"),
        fold=datasets.Value("int8"),
    )


def load_prepared(path: str | os.PathLike) -> DatasetDict:
    """Load what `prepare` wrote and check that it is fit for use.

    Raises:
        DataLayoutError: not such a folder, other columns or classes, a row that lacks something, or a group
            or a fold in two splits.
    """
    import datasets

    hint = "Write one from its images with: busi-unet prepare SOURCE --output FOLDER"
    if not (Path(path) / "dataset_dict.json").is_file():
        raise DataLayoutError(f"{path} is not a prepared data set.", hint=hint)
    try:
        dataset = datasets.load_from_disk(str(path))
    except Exception as error:
        raise DataLayoutError(f"{path} is damaged: {first_line(error)}.", hint=hint) from error
    problems = [f"{split}: missing" for split in SPLITS if split not in dataset]
    problems = problems or column_problems(dataset) or _leaks(dataset)
    if problems:
        raise DataLayoutError(f"{path} cannot be used:", problems, hint)
    return dataset


def read_record(path: str | os.PathLike) -> dict[str, Any]:
    """Return where a prepared data set came from, as `prepare` noted it; empty without such a note."""
    file = Path(path) / RECORD_NAME
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def decode_row(row: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return pixels, uint8 (H, W), and mask, bool (H, W) or None, of a row of the data set."""
    pixels = decode_image(row["image"], name=row["image_id"])
    mask = row["mask"]
    return pixels, None if mask is None else decode_mask(mask, name=f"the mask of {row['image_id']}")


def shrink(image: np.ndarray, mask: np.ndarray | None, longest: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Bring the longer side of uint8 (H, W) and bool (H, W) down to `longest` pixels where it is more."""
    scale = longest / max(image.shape)
    if scale >= 1:
        return image, mask
    size = tuple(max(1, round(scale * side)) for side in image.shape[::-1])
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    if mask is None:
        return small, None
    return small, np.asarray(mask_image(mask).resize(size, Image.Resampling.BOX)) >= 128


def split_hash(data: DatasetDict) -> str:
    """Return the SHA-256 over which image, by id and class, lies in which split."""
    lines = sorted(
        f"{split}\t{image_id}\t{label}"
        for split in data
        for image_id, label in zip(data[split]["image_id"], data[split]["label"], strict=True)
    )
    return sha256("\n".join(lines).encode()).hexdigest()


# --- Splitting in other ways ---------------------------------------------------------------------


def split_of_fold(fold: int, test_fold: int) -> str:
    """Return the split of a fold: K tests, K + 1 (modulo the folds) validates, the others are trained on."""
    return {test_fold: "test", (test_fold + 1) % N_FOLDS: "validation"}.get(fold, "train")


def resplit(data: DatasetDict, test_fold: int) -> DatasetDict:
    """Return the same images with another fold K for testing, of every source; K + 1 validates.

    Raises:
        UsageError: no such fold.
    """
    if not 0 <= test_fold < N_FOLDS:
        raise UsageError(f"There is no fold {test_fold}.", f"Use one of 0 to {N_FOLDS - 1}.")
    return _split(data, lambda source, fold: split_of_fold(fold, test_fold))


def leave_out(data: DatasetDict, source: str) -> DatasetDict:
    """Return the same images with all of one source for testing; fold 1 of the others validates.

    Raises:
        UsageError: there is no such source, or it is the only one.
    """
    known = sources_of(data)
    if source not in known:
        raise UsageError(f"There is no source {source}.", f"The sources are: {', '.join(known)}.")
    if len(known) == 1:
        raise UsageError(f"{source} is the only source.", "To leave one out, prepare several together.")
    others = {1: "validation"}
    return _split(
        data, lambda its_source, fold: "test" if its_source == source else others.get(fold, "train")
    )


def sources_of(data: DatasetDict) -> list[str]:
    """Return the names of the sources, sorted."""
    return sorted({source for split in data for source in data[split]["source"]})


def row_order(source: str, label: int, image_id: str) -> tuple:
    """Sort key of the rows within a split: by source, class and name."""
    return source, label, natural_order(image_id)


def _split(data: DatasetDict, split_of: Callable[[str, int], str]) -> DatasetDict:
    import datasets

    everything = datasets.concatenate_datasets([data[split] for split in SPLITS])
    splits = list(map(split_of, everything["source"], everything["fold"]))
    keys = list(map(row_order, everything["source"], everything["label"], everything["image_id"]))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return datasets.DatasetDict(
        {split: everything.select([n for n in order if splits[n] == split]) for split in SPLITS}
    )


# --- Counts --------------------------------------------------------------------------------------


def class_name(label: int) -> str:
    """Return the class of a label in the column, "unknown" for -1."""
    return UNKNOWN_NAME if label == UNKNOWN else CLASS_NAMES[label]


def summarise(dataset: Mapping[str, Dataset]) -> dict[str, Any]:
    """Return counts of a prepared data set, JSON-ready.

    Returns:
        images, groups and without_mask; classes (images per class, "unknown" where some have none);
        by_source, splits and folds (the same counts of each, its classes beside them); groups_with_copies;
        images_in_copy_groups; random_split_leak; cross_class_groups (group, images by class).
    """
    table = [
        {"split": split, "label": class_name(label), "image_id": image_id, "unmasked": unmasked, **place}
        for split, part in dataset.items()
        for label, image_id, unmasked, place in zip(
            part["label"],
            part["image_id"],
            part.data.column("mask").is_null().to_pylist(),
            part.select_columns(["group", "fold", "source"]),
            strict=True,
        )
    ]
    names = [*CLASS_NAMES] + [UNKNOWN_NAME] * any(row["label"] == UNKNOWN_NAME for row in table)

    def count(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        classes = Counter(row["label"] for row in rows)
        return {
            "images": len(rows),
            "groups": len({row["group"] for row in rows}),
            "without_mask": sum(row["unmasked"] for row in rows),
            **{name: classes[name] for name in names},
        }

    def parts(column: str) -> dict[Any, list[Mapping[str, Any]]]:
        found = defaultdict(list)
        for row in sorted(table, key=lambda row: row[column]):
            found[row[column]].append(row)
        return found

    whole, splits, groups = count(table), parts("split"), parts("group")
    several = [rows for rows in groups.values() if len(rows) > 1]
    ids = {group: _ids_by_class(groups[group], names) for group in sorted(groups, key=natural_order)}
    return {
        **{name: whole[name] for name in ("images", "groups", "without_mask")},
        "classes": {name: whole[name] for name in names},
        "by_source": {source: count(rows) for source, rows in parts("source").items()},
        "splits": {split: count(splits[split]) for split in dataset},
        "folds": {str(fold): count(rows) for fold, rows in parts("fold").items()},
        "groups_with_copies": len(several),
        "images_in_copy_groups": sum(map(len, several)),
        "random_split_leak": random_split_leak([row["group"] for row in table]),
        "cross_class_groups": [
            {"group": group, "images": found}
            for group, found in ids.items()
            if len(found.keys() - {UNKNOWN_NAME}) > 1
        ],
    }


def _ids_by_class(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[str]]:
    ids = {name: [row["image_id"] for row in rows if row["label"] == name] for name in names}
    return {name: sorted(found, key=natural_order) for name, found in ids.items() if found}


# --- Checks --------------------------------------------------------------------------------------


def column_problems(dataset: Mapping[str, Dataset]) -> list[str]:
    """Return the columns that are missing, of another kind, or empty somewhere."""
    problems = []
    for split, part in dataset.items():
        for name, kind in features().items():
            if name not in part.features:
                problems.append(f"{split}: the column {name} is missing")
            elif part.features[name] != kind:
                problems.append(f"{split}: the column {name} is {part.features[name]}, not {kind}")
            # Asked of the table: a column of images would be decoded.
            elif name != "mask" and part.data.column(name).null_count:
                problems.append(f"{split}: the column {name} has empty cells")
    return problems


def fold_problems(groups: Iterable[str], folds: Iterable[int]) -> list[str]:
    """Return the groups that lie in several folds."""
    folds_of = defaultdict(set)
    for group, fold in zip(groups, folds, strict=True):
        folds_of[group].add(fold)
    return [
        f"group {group}: in fold {' and '.join(map(str, sorted(found)))}, so the results would leak"
        for group, found in folds_of.items()
        if len(found) > 1
    ]


def _leaks(dataset: DatasetDict) -> list[str]:
    """Return groups in several folds, and folds of a source in several splits."""
    problems, split_of = [], {}
    for split in SPLITS:
        for place in sorted(set(zip(dataset[split]["source"], dataset[split]["fold"], strict=True))):
            if (other := split_of.setdefault(place, split)) != split:
                problems.append(
                    f"{split}: fold {place[1]} of {place[0]} is also in {other}, so the results would leak"
                )
    groups, folds = (
        [cell for split in SPLITS for cell in dataset[split][name]] for name in ("group", "fold")
    )
    return problems + fold_problems(groups, folds)
