"""The prepared data set: loaded, checked, counted, and split in other ways. Columns: docs/your_data.md."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import N_FOLDS, random_split_leak
from busi_unet.data.readers import natural_order
from busi_unet.errors import DataLayoutError, MissingDependencyError, UsageError, first_line

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

SPLITS = ("train", "validation", "test")
COLUMNS = ("image", "mask", "label", "image_id", "source", "group", "fold")
UNKNOWN, UNKNOWN_NAME = -1, "unknown"
RECORD_NAME = "preparation.json"
# `folds_from` in the record of a data set whose folds know nothing of copies.
IMAGE_BY_IMAGE = "image by image"


def import_datasets() -> Any:
    """Return the `datasets` package.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(
            "Preparing and loading data needs the package datasets.", 'Run: pip install "busi-unet[train]"'
        ) from error
    return datasets


def features() -> Features:
    """Return the columns of a prepared data set with their types."""
    datasets = import_datasets()
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
        MissingDependencyError: `datasets` is not installed.
    """
    datasets = import_datasets()
    hint = "Write one from its images with: busi-unet prepare SOURCE --output FOLDER"
    if not (Path(path) / "dataset_dict.json").is_file():
        raise DataLayoutError(f"{path} is not a prepared data set.", hint=hint)
    try:
        dataset = datasets.load_from_disk(str(path))
    except Exception as error:
        raise DataLayoutError(f"{path} is damaged: {first_line(error)}.", hint=hint) from error
    problems = [f"{split}: missing" for split in SPLITS if split not in dataset]
    problems = problems or column_problems(dataset) or _split_problems(dataset)
    if problems:
        raise DataLayoutError(f"{path} cannot be used:", problems, hint)
    return dataset


def read_record(path: str | os.PathLike) -> dict[str, Any]:
    """Return where a prepared data set came from, as `prepare` noted it; empty without such a note."""
    file = Path(path) / RECORD_NAME
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def split_hash(data: DatasetDict) -> str:
    """Return the SHA-256 over which image, by id and class, lies in which split."""
    lines = sorted(
        f"{split}\t{image_id}\t{label}"
        for split in data
        for image_id, label in zip(data[split]["image_id"], data[split]["label"], strict=True)
    )
    return sha256("\n".join(lines).encode()).hexdigest()


# --- Splitting in other ways ---------------------------------------------------------------------


def split_of_fold(test_fold: int, validation_fold: int | None = None) -> list[str]:
    """Return the split of each fold: K tests, K + 1 (modulo the folds) validates unless another is named.

    Raises:
        UsageError: no such fold, or one fold for both.
    """
    if validation_fold is None:
        validation_fold = (test_fold + 1) % N_FOLDS
    for fold in (test_fold, validation_fold):
        if not 0 <= fold < N_FOLDS:
            raise UsageError(f"There is no fold {fold}.", f"Use one of 0 to {N_FOLDS - 1}.")
    if test_fold == validation_fold:
        raise UsageError(f"Fold {test_fold} cannot both test and validate.", "Name two folds.")
    splits = ["train"] * N_FOLDS
    splits[validation_fold], splits[test_fold] = "validation", "test"
    return splits


def split_without(source: str, known: Iterable[str], validation_fold: int = 1) -> Callable[[str, int], str]:
    """Return what splits by source and fold: one source tests, a fold of the others validates.

    Raises:
        UsageError: the source is not among the known ones, or the only one; no such fold.
    """
    known = sorted(set(known))
    if source not in known:
        raise UsageError(f"There is no source {source}.", f"The sources are: {', '.join(known)}.")
    if len(known) == 1:
        raise UsageError(f"{source} is the only source.", "To leave one out, prepare several together.")
    if not 0 <= validation_fold < N_FOLDS:
        raise UsageError(f"There is no fold {validation_fold}.", f"Use one of 0 to {N_FOLDS - 1}.")

    def split_of(its_source: str, fold: int) -> str:
        if its_source == source:
            return "test"
        return "validation" if fold == validation_fold else "train"

    return split_of


def resplit(data: DatasetDict, test_fold: int, validation_fold: int | None = None) -> DatasetDict:
    """Return the same images with another fold K for testing, of every source.

    Fold K + 1 (modulo the folds) validates unless another is named. Equal to what `prepare` gives for that
    fold from the same sources; `data` itself where it is split that way already.

    Raises:
        UsageError: no such fold.
        DataLayoutError: a group lies in several folds, so that the results would leak.
    """
    split_of = split_of_fold(test_fold, validation_fold)
    return _split(data, lambda source, fold: split_of[fold])


def leave_out(data: DatasetDict, source: str, validation_fold: int = 1) -> DatasetDict:
    """Return the same images with all of one source for testing; a fold of the others validates.

    Raises:
        UsageError: no such source, or the only one; no such fold.
        DataLayoutError: a group lies in several splits.
    """
    return _split(data, split_without(source, sources_of(data), validation_fold))


def sources_of(data: DatasetDict) -> list[str]:
    """Return the names of the sources, sorted."""
    return sorted({source for split in data for source in data[split]["source"]})


def row_order(source: str, label: int, image_id: str) -> tuple:
    """Sort key of the rows within a split: by source, class and name."""
    return source, label, natural_order(image_id)


def _split(data: DatasetDict, split_of: Callable[[str, int], str]) -> DatasetDict:
    def as_it_is(split: str) -> bool:
        pairs = set(zip(data[split]["source"], data[split]["fold"], strict=True))
        return all(split_of(*pair) == split for pair in pairs)

    if all(as_it_is(split) for split in SPLITS):
        return data
    datasets = import_datasets()
    everything = datasets.concatenate_datasets([data[split] for split in SPLITS])
    columns = {name: list(everything[name]) for name in ("source", "label", "image_id", "group", "fold")}
    splits = [split_of(*pair) for pair in zip(columns["source"], columns["fold"], strict=True)]
    splits_of_group = defaultdict(set)
    for group, split in zip(columns["group"], splits, strict=True):
        splits_of_group[group].add(split)
    torn = sorted(group for group, found in splits_of_group.items() if len(found) > 1)
    if torn:
        raise DataLayoutError(
            "the data set cannot be split by its folds:",
            [f"group {group} would be in {' and '.join(sorted(splits_of_group[group]))}" for group in torn],
            "Prepare it again with busi-unet prepare.",
        )
    keys = list(zip(*(columns[name] for name in ("source", "label", "image_id")), strict=True))
    order = sorted(range(len(keys)), key=lambda index: row_order(*keys[index]))
    return datasets.DatasetDict(
        {split: everything.select([n for n in order if splits[n] == split]) for split in SPLITS}
    )


# --- Counts --------------------------------------------------------------------------------------


class _Image(NamedTuple):
    split: str
    label: str
    image_id: str
    group: str
    fold: int
    source: str
    unmasked: bool


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
    columns = ("label", "image_id", "group", "fold", "source")
    table = [
        _Image(split, class_name(label), *known, unmasked)
        for split, part in dataset.items()
        for label, *known, unmasked in zip(
            *(part[column] for column in columns), part.data.column("mask").is_null().to_pylist(), strict=True
        )
    ]
    names = [*CLASS_NAMES] + [UNKNOWN_NAME] * any(image.label == UNKNOWN_NAME for image in table)

    def count(images: Sequence[_Image]) -> dict[str, int]:
        classes = Counter(image.label for image in images)
        return {
            "images": len(images),
            "groups": len({image.group for image in images}),
            "without_mask": sum(image.unmasked for image in images),
            **{name: classes[name] for name in names},
        }

    def each(column: str) -> dict[str, dict[str, int]]:
        found = sorted({getattr(image, column) for image in table})
        return {
            str(value): count([image for image in table if getattr(image, column) == value])
            for value in found
        }

    members: dict[str, list[_Image]] = defaultdict(list)
    for image in table:
        members[image.group].append(image)
    several = [images for images in members.values() if len(images) > 1]
    crossing = {}
    for group, images in members.items():
        found = {image.label for image in images}
        if len(found - {UNKNOWN_NAME}) > 1:
            crossing[group] = {
                name: sorted((i.image_id for i in images if i.label == name), key=natural_order)
                for name in names
                if name in found
            }
    whole, splits = count(table), each("split")
    return {
        **{name: whole[name] for name in ("images", "groups", "without_mask")},
        "classes": {name: whole[name] for name in names},
        "by_source": each("source"),
        "splits": {split: splits.get(split, count([])) for split in dataset},
        "folds": each("fold"),
        "groups_with_copies": len(several),
        "images_in_copy_groups": sum(map(len, several)),
        "random_split_leak": random_split_leak([image.group for image in table]),
        "cross_class_groups": [
            {"group": group, "images": crossing[group]} for group in sorted(crossing, key=natural_order)
        ],
    }


# --- Checks --------------------------------------------------------------------------------------


def column_problems(dataset: Mapping[str, Dataset]) -> list[str]:
    """Return columns that are missing or of another kind; failing that, the rows that lack something."""
    problems = []
    wanted = features()
    for split, part in dataset.items():
        missing = [name for name in COLUMNS if name not in part.features]
        problems += [f"{split}: the column {name} is missing" for name in missing]
        problems += [
            f"{split}: the column {name} is {part.features[name]}, not {wanted[name]}"
            for name in COLUMNS
            if name not in missing and part.features[name] != wanted[name]
        ]
    return problems or [
        f"{image_id} ({split}): has no {name}"
        for split, part in dataset.items()
        for name in COLUMNS
        if name != "mask"
        for image_id, lacks in zip(part["image_id"], _lacking(part, name), strict=True)
        if lacks
    ]


def _lacking(part: Dataset, name: str) -> list[bool]:
    """Return which rows of a column hold nothing."""
    # Asked of the table: a column of images would be decoded.
    values = part.data.column(name)
    if name == "label":
        return [label not in range(UNKNOWN, len(CLASS_NAMES)) for label in values.to_pylist()]
    return values.is_null().to_pylist()


def _split_problems(dataset: Mapping[str, Dataset]) -> list[str]:
    """Return groups, and folds of a source, that lie in two splits."""
    problems = []
    for column in ("group", "fold"):
        seen: dict[Any, str] = {}
        for split in SPLITS:
            part = dataset[split]
            sources = part["source"] if column == "fold" else [""] * len(part)
            for source, value in sorted(set(zip(sources, part[column], strict=True))):
                if seen.setdefault((source, value), split) != split:
                    owner = f" of {source}" if source else ""
                    problems.append(
                        f"{split}: {column} {value}{owner} is also in {seen[source, value]}, "
                        "so the results would leak"
                    )
    return problems
