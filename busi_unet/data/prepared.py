"""The prepared data set: its columns and splits, loaded, checked, and split in other ways.

| column | what it holds |
|---|---|
| image | grey image, PNG, uint8 (H, W), native size |
| mask | PNG, 0 or 255, size of its image: the union of all lesions; null where nobody outlined them |
| label | index into `CLASS_NAMES`; -1 where the class is not known |
| image_id | unique; the name in its source, with "SOURCE/" before it where two sources use one name |
| source | "busi", "busbra", "breast", …, or the name of the folder |
| group | the patient, or images that show one view or lesion; never in two folds |
| fold | 0 to 4 |
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import N_FOLDS
from busi_unet.data.layout import natural_order
from busi_unet.errors import DataLayoutError, MissingDependencyError, UsageError, first_line

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

SPLITS = ("train", "validation", "test")
COLUMNS = ("image", "mask", "label", "image_id", "source", "group", "fold")
UNKNOWN = -1
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
        DataLayoutError: not such a folder, columns or classes that differ, a row that lacks something, or a
            group or a fold in two splits.
        MissingDependencyError: `datasets` is not installed.
    """
    datasets = import_datasets()
    hint = "Write one from its images with: busi-unet prepare SOURCE --output FOLDER"
    if not (Path(path) / "dataset_dict.json").is_file():
        raise DataLayoutError(f"{path} is not a prepared data set.", hint=hint)
    # `datasets` writes a split without images, and stumbles over it here.
    empty = [f"{split}: no images" for split in SPLITS if _is_empty(Path(path) / split)]
    if empty:
        raise DataLayoutError(f"{path} cannot be used:", empty, hint)
    try:
        dataset = datasets.load_from_disk(str(path))
    except Exception as error:
        raise DataLayoutError(f"{path} is damaged: {first_line(error)}.", hint=hint) from error
    problems = [f"{split}: missing" for split in SPLITS if split not in dataset]
    problems = problems or column_problems(dataset) or _split_problems(dataset)
    if problems:
        raise DataLayoutError(f"{path} cannot be used:", problems, hint)
    return dataset


def _is_empty(split: Path) -> bool:
    """Whether this part of a prepared data set was written without images; False for what is unreadable."""
    try:
        return json.loads((split / "state.json").read_text(encoding="utf-8"))["_data_files"] == []
    except (OSError, ValueError, KeyError, TypeError):
        return False


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


def split_without(source: str, validation_fold: int = 1) -> Callable[[str, int], str]:
    """Return what splits by source and fold: one source tests, a fold of the others validates.

    Raises:
        UsageError: no such fold.
    """
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
    """Return the same images with one source for testing, and the others for training and validation.

    Args:
        data: with several sources.
        source: the one to test on, as a whole.
        validation_fold: the fold of the others that validates.

    Raises:
        UsageError: no such source, or the only one; no such fold.
        DataLayoutError: a group lies in several splits.
    """
    check_left_out(source, sources_of(data))
    return _split(data, split_without(source, validation_fold))


def select_sources(data: DatasetDict, sources: Sequence[str]) -> DatasetDict:
    """Return the images of some sources only, in the splits that they are in.

    Raises:
        UsageError: no such source.
    """
    known = sources_of(data)
    for source in sources:
        if source not in known:
            raise UsageError(f"There is no source {source}.", f"The sources are: {', '.join(known)}.")
    parts = {split: list(data[split]["source"]) for split in data}
    return import_datasets().DatasetDict(
        {
            split: data[split].select([n for n, source in enumerate(found) if source in sources])
            for split, found in parts.items()
        }
    )


def sources_of(data: DatasetDict) -> list[str]:
    """Return the names of the sources, sorted."""
    return sorted({source for split in data for source in data[split]["source"]})


def check_left_out(source: str, known: Sequence[str]) -> None:
    """Refuse to leave out what is not there, or all there is.

    Raises:
        UsageError: as it says.
    """
    if source not in known:
        raise UsageError(f"There is no source {source}.", f"The sources are: {', '.join(sorted(known))}.")
    if len(set(known)) == 1:
        raise UsageError(f"{source} is the only source.", "To leave one out, prepare several together.")


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
