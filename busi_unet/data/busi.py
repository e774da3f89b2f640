"""BUSI, or data laid out like it, from a folder, a zip, Kaggle or the Hub to one `datasets.DatasetDict`.

Every problem of a source is found before anything is reported, and the prepared data set appears whole or
not at all.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from busi_unet.config import CLASS_NAMES
from busi_unet.data.fold_table import read_busi_folds
from busi_unet.data.folds import N_FOLDS, assign_folds, build_folds, pixel_hash, random_split_leak
from busi_unet.data.layout import FIX_HINT, LAYOUT_HINT, Case, Scan, folders, natural_order, scan
from busi_unet.data.published import Placed, departures
from busi_unet.data.sources import fetch, unpack
from busi_unet.errors import (
    DataLayoutError,
    MissingDependencyError,
    UnreadableImageError,
    UsageError,
    first_line,
)
from busi_unet.io.decode import decode_image, decode_mask
from busi_unet.io.files import whole_or_nothing
from busi_unet.version import __version__

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

SPLITS = ("train", "validation", "test")
COLUMNS = ("image", "mask", "label", "image_id", "group", "fold")
RECORD_NAME = "preparation.json"
# `folds_from` in the record of a data set whose folds know nothing of copies.
IMAGE_BY_IMAGE = "image by image"

_TOO_FEW_HINT = (
    f"Each class needs at least {N_FOLDS} pictures that are not copies of each other, one for every fold."
)
_COLUMNS_HINT = (
    f"A data set in columns needs {', '.join(COLUMNS)}, as scripts/prepare_data.py writes them; "
    "of anything else, name a folder of pictures and masks."
)


@dataclass(frozen=True)
class _Row:
    """A case read, checked and encoded.

    Files tell how many masks there are; a prepared source tells group and fold instead.
    """

    image_id: str
    label: str
    image_png: bytes
    mask_png: bytes
    pixel_sha256: str
    mask_files: int | None = None
    group: str | None = None
    fold: int | None = None


@dataclass
class _Findings:
    """What a source holds: a row per usable picture, problems and what to do then, oddities let pass."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    rows: list[_Row] = field(default_factory=list)
    hint: str = FIX_HINT


def prepare(
    source: str | os.PathLike,
    output: str | os.PathLike,
    *,
    seed: int = 0,
    test_fold: int = 0,
    ignore_copies: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> DatasetDict:
    """Reads a source, splits it into group-disjoint folds and saves the result.

    Groups are sets of pictures that show the same view or lesion. Pictures that are all part of BUSI,
    recognised by their pixels, get the published groups and folds; a data set that `prepare` wrote and
    someone pushed to the Hub keeps its own; for anything else both are found from the pixels.

    Args:
        source: a folder or a zip in the layout of BUSI, "kaggle", or a Hub data set id "USER/NAME".
            Folder, zip and Hub data set may also hold a prepared data set.
        output: folder to write; `load_prepared` reads it.
        seed: of the fold assignment, where folds are not published.
        test_fold: the fold K to test on; fold K + 1 (modulo the number of folds) validates, the rest trains.
        ignore_copies: deal the folds image by image, as if no two were alike, each image a group of its own.
            Figures on such folds leak; they serve to measure by how much.
        overwrite: replace a data set that an earlier run wrote to `output`.
        progress: show progress on stderr.

    Returns:
        Splits train, validation and test with the columns image (PNG, mode L), mask (PNG, mode L, 0 or
        255, union of the mask files, size of its image), label (ClassLabel over `CLASS_NAMES`), image_id,
        group and fold.

    Raises:
        UsageError: no such source, an output that must not be written, no such fold.
        DataLayoutError: a source that cannot be used; lists every problem by file.
        HubAccessError: Kaggle or the Hub cannot be reached or has no such data set.
        MissingDependencyError: an optional package is not installed.
    """
    split_of = split_of_fold(test_fold)
    output = Path(output).expanduser().resolve()
    _check_output(output, source, overwrite)
    import_datasets()
    with tempfile.TemporaryDirectory(prefix="busi-unet-", ignore_cleanup_errors=True) as scratch:
        folder, kind = fetch(str(source), Path(scratch))
        findings = _read_folder(folder, Path(scratch), progress)
    if not findings.rows and not findings.problems:
        findings.problems.append(f"{source}: holds no picture")
    if findings.problems:
        raise DataLayoutError(f"{source} cannot be used:", findings.problems, findings.hint)

    if ignore_copies:
        groups, folds = _image_by_image(findings.rows, seed)
        origin = IMAGE_BY_IMAGE
    else:
        groups, folds, origin = _group_and_fold(findings.rows, seed, progress)
        findings.warnings += departures(
            [
                Placed(row.image_id, row.label, row.pixel_sha256, fold)
                for row, fold in zip(findings.rows, folds, strict=True)
            ],
            read_busi_folds(),
        )
    dataset = _to_dataset(findings.rows, groups, folds, split_of)
    record = {
        "busi_unet_version": __version__,
        "source": str(source),
        "source_kind": kind,
        "folds_from": origin,
        "seed": seed if origin in ("computed", IMAGE_BY_IMAGE) else None,
        "n_folds": N_FOLDS,
        "test_fold": test_fold,
        "mask_files": _count_mask_files(findings.rows),
        "warnings": findings.warnings,
    }
    with whole_or_nothing(output) as partial:
        dataset.save_to_disk(partial)
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        (partial / RECORD_NAME).write_text(text, encoding="utf-8")
    return load_prepared(output)


def load_prepared(path: str | os.PathLike) -> DatasetDict:
    """Loads what `prepare` wrote and checks that it is fit for use.

    Raises:
        DataLayoutError: not such a folder, columns or classes that differ, a row that lacks something, or a
            group or a fold in two splits.
        MissingDependencyError: `datasets` is not installed.
    """
    datasets = import_datasets()
    hint = "Write one from its pictures with: python scripts/prepare_data.py SOURCE --output FOLDER"
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
    problems = problems or _column_problems(dataset) or _split_problems(dataset)
    if problems:
        raise DataLayoutError(f"{path} cannot be used:", problems, hint)
    return dataset


def _is_empty(split: Path) -> bool:
    """Whether this part of a prepared data set was written without images; False for what is unreadable."""
    try:
        return json.loads((split / "state.json").read_text(encoding="utf-8"))["_data_files"] == []
    except (OSError, ValueError, KeyError, TypeError):
        return False


def resplit(data: DatasetDict, test_fold: int, validation_fold: int | None = None) -> DatasetDict:
    """The same images with another fold K for testing; K + 1 (modulo the folds) for validation unless named.

    Equal to what `prepare` gives for that fold from the same source; the data themselves where they are
    split that way already.

    Raises:
        UsageError: no such fold.
        DataLayoutError: a group lies in several folds, so that their figures would leak.
    """
    split_of = split_of_fold(test_fold, validation_fold)
    if all(split_of[fold] == split for split in SPLITS for fold in set(data[split]["fold"])):
        return data
    datasets = import_datasets()
    everything = datasets.concatenate_datasets([data[split] for split in SPLITS])
    image_ids, folds = list(everything["image_id"]), list(everything["fold"])
    folds_of_group = defaultdict(set)
    for group, fold in zip(everything["group"], folds, strict=True):
        folds_of_group[group].add(fold)
    torn = sorted(group for group, found in folds_of_group.items() if len(found) > 1)
    if torn:
        raise DataLayoutError(
            "the data set cannot be split by its folds:",
            [f"group {group} is in the folds {sorted(folds_of_group[group])}" for group in torn],
            "Prepare it again with scripts/prepare_data.py.",
        )
    # The order of a source: class by class, each as a file manager would list it.
    labels = list(everything["label"])
    order = sorted(range(len(folds)), key=lambda index: (labels[index], natural_order(image_ids[index])))
    return datasets.DatasetDict(
        {
            split: everything.select([index for index in order if split_of[folds[index]] == split])
            for split in SPLITS
        }
    )


def split_of_fold(test_fold: int, validation_fold: int | None = None) -> list[str]:
    """The split of each fold: K to test, K + 1 (modulo the folds) to validation unless another is named.

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


def read_record(path: str | os.PathLike) -> dict[str, Any]:
    """Where a prepared data set came from, as `prepare` noted it; empty where there is no such note."""
    file = Path(path) / RECORD_NAME
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def split_hash(data: DatasetDict) -> str:
    """SHA-256 over which image, by id and class, lies in which split."""
    lines = sorted(
        f"{split}\t{image_id}\t{label}"
        for split in data
        for image_id, label in zip(data[split]["image_id"], data[split]["label"], strict=True)
    )
    return sha256("\n".join(lines).encode()).hexdigest()


def summarise(dataset: Mapping[str, Dataset]) -> dict[str, Any]:
    """Counts of a prepared data set, JSON-ready.

    Returns:
        images; classes (images per class); splits (images, groups and images per class of each);
        folds (images per class of each); groups; groups_with_copies; images_in_copy_groups;
        largest_group; random_split_leak (expected share of test images with a copy among the other
        images, had the images been split at random); cross_class_groups (group, images by class).
    """

    def per_class(labels: Iterable[str]) -> dict[str, int]:
        counts = Counter(labels)
        return {name: counts[name] for name in CLASS_NAMES}

    table = [
        (split, CLASS_NAMES[label], image_id, group, fold)
        for split, part in dataset.items()
        for label, image_id, group, fold in zip(
            *(part[column] for column in ("label", "image_id", "group", "fold")), strict=True
        )
    ]
    members: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for _, label, image_id, group, _ in table:
        members[group].append((label, image_id))
    sizes = [len(images) for images in members.values()]
    crossing = {group: images for group, images in members.items() if len({label for label, _ in images}) > 1}
    return {
        "images": len(table),
        "classes": per_class(label for _, label, *_ in table),
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
                    for name in CLASS_NAMES
                    if any(label == name for label, _ in images)
                },
            }
            for group, images in sorted(crossing.items(), key=lambda item: natural_order(item[0]))
        ],
    }


def import_datasets() -> Any:
    """The `datasets` package.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(
            "Preparing and loading data needs the package datasets.", "Run: pip install -e '.[train]'"
        ) from error
    return datasets


# --- Reading the pixels --------------------------------------------------------------------------


def _read_folder(folder: Path, scratch: Path, progress: bool) -> _Findings:
    """Reads whichever form the data has: saved by `prepare`, class folders, pushed to the Hub, zipped."""
    datasets = import_datasets()
    inside = list(folders(folder))
    for inner in inside:
        if (inner / "dataset_dict.json").is_file():
            if read_record(inner).get("folds_from") == IMAGE_BY_IMAGE:
                # Its groups say that no picture has a copy, and would be taken at their word from here on.
                raise DataLayoutError(
                    f"{inner} was split image by image, for a study of leaks: its groups tell nothing.",
                    hint="Prepare its pictures instead.",
                )
            return _read_prepared(load_prepared(inner), progress)
    if found := scan(folder):
        return _read_scanned(found, progress)
    if any(path.suffix == ".parquet" for inner in inside for path in inner.iterdir()):
        try:
            pushed = datasets.load_dataset(str(folder), cache_dir=str(scratch / "parquet"))
        except Exception as error:
            raise DataLayoutError(
                f"The Parquet files of {folder} cannot be read: {first_line(error)}.", hint=LAYOUT_HINT
            ) from error
        return _read_prepared(pushed, progress)
    archives = [path for inner in inside for path in inner.iterdir() if path.suffix.lower() == ".zip"]
    # Only one level of zips: what has just been unpacked is not searched for more.
    if len(archives) == 1 and scratch not in folder.parents:
        return _read_folder(unpack(archives[0], scratch), scratch, progress)
    problems = [f"{path.name}: one of several zips; name the one to read" for path in archives]
    where = "the archive" if scratch in folder.parents else str(folder)
    raise DataLayoutError(f"No folder called normal, benign or malignant in {where}.", problems, LAYOUT_HINT)


def _read_scanned(found: Scan, progress: bool) -> _Findings:
    findings = _Findings(found.problems, found.warnings)
    # Decoding and encoding release Python's global lock, so threads do share this work.
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda case: _read_case(case, found.base), found.cases)
        for row, problems in _progress(results, len(found.cases), "reading pictures", progress):
            findings.problems += problems
            if row is not None:
                findings.rows.append(row)
    return findings


def _read_case(case: Case, base: Path) -> tuple[_Row | None, list[str]]:
    problems: list[str] = []

    def name(path: Path) -> str:
        return path.relative_to(base).as_posix()

    image = None
    try:
        image = decode_image(case.image_path, name=name(case.image_path))
    except UnreadableImageError as error:
        problems.append(str(error))
    masks = []
    for path in case.mask_paths:
        try:
            mask = decode_mask(path, name=name(path))
        except UnreadableImageError as error:
            problems.append(str(error))
            continue
        if image is not None and mask.shape != image.shape:
            problems.append(f"{name(path)}: {_size_mismatch(mask, image)}")
        masks.append(mask)
    if image is None or problems:
        return None, problems

    mask = np.logical_or.reduce(masks) if masks else np.zeros(image.shape, bool)
    if problem := _lesion_problem(case.label, mask, bool(masks)):
        return None, [f"{name(case.mask_paths[0])}: {problem}"]
    return _row(case.image_id, case.label, image, mask, mask_files=len(masks)), []


def _size_mismatch(mask: np.ndarray, image: np.ndarray) -> str:
    (mask_h, mask_w), (image_h, image_w) = mask.shape, image.shape
    return f"the mask is {mask_w}×{mask_h} pixels, its picture {image_w}×{image_h}; export both at one size"


def _lesion_problem(label: str, mask: np.ndarray, has_file: bool) -> str | None:
    if label == "normal" and mask.any():
        return "marks a lesion in a normal picture; empty the mask, or move the picture to its class"
    if label != "normal" and has_file and not mask.any():
        return f"the mask of a {label} picture is empty; outline the lesion, or move the picture to normal"
    return None


def _row(image_id: str, label: str, image: np.ndarray, mask: np.ndarray, **known: Any) -> _Row:
    return _Row(
        image_id=image_id,
        label=label,
        image_png=_to_png(image),
        mask_png=_to_png(mask.astype(np.uint8) * 255),
        pixel_sha256=pixel_hash(image),
        **known,
    )


def _to_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    # On speckle, run-length coding takes a seventh of the default's time and gives smaller files.
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def _read_prepared(dataset: Mapping[str, Dataset], progress: bool) -> _Findings:
    """Reads what `prepare` wrote, wherever it has been since, with the same checks as the files."""
    datasets = import_datasets()
    findings = _Findings(problems=_column_problems(dataset), hint=_COLUMNS_HINT)
    if findings.problems:
        return findings
    raw = datasets.Image(decode=False)
    parts = [part.cast_column("image", raw).cast_column("mask", raw) for part in dataset.values()]
    items = (item for part in parts for item in part)
    for item in _progress(items, sum(len(part) for part in parts), "reading pictures", progress):
        image_id, label = item["image_id"], CLASS_NAMES[item["label"]]
        try:
            image = decode_image(item["image"]["bytes"], name=image_id)
            mask = decode_mask(item["mask"]["bytes"], name=f"{image_id} (mask)")
        except UnreadableImageError as error:
            findings.problems.append(str(error))
            continue
        problem = (
            _size_mismatch(mask, image) if mask.shape != image.shape else _lesion_problem(label, mask, True)
        )
        if problem:
            findings.problems.append(f"{image_id}: {problem}")
        else:
            findings.rows.append(_row(image_id, label, image, mask, group=item["group"], fold=item["fold"]))
    findings.problems += _fold_problems(findings.rows)
    return findings


def _fold_problems(rows: Sequence[_Row]) -> list[str]:
    problems = [
        f"{row.image_id}: fold {row.fold} is not one of 0 to {N_FOLDS - 1}"
        for row in rows
        if row.fold not in range(N_FOLDS)
    ]
    fold_of_group: dict[str, int] = {}
    for row in rows:
        if fold_of_group.setdefault(row.group, row.fold) != row.fold:
            problems.append(
                f"{row.image_id}: in fold {row.fold}, but group {row.group} is in {fold_of_group[row.group]}"
            )
    return problems


def _count_mask_files(rows: Sequence[_Row]) -> dict[str, int]:
    """Number of pictures by their number of mask files; empty where that is unknown."""
    counts = Counter(row.mask_files for row in rows if row.mask_files is not None)
    return {str(files): count for files, count in sorted(counts.items())}


def _column_problems(dataset: Mapping[str, Dataset]) -> list[str]:
    """Columns that are missing or of another kind; where there are none, the rows that lack something."""
    problems = []
    for split, part in dataset.items():
        missing = [name for name in COLUMNS if name not in part.features]
        problems += [f"{split}: the column {name} is missing" for name in missing]
        wanted = _features()
        problems += [
            f"{split}: the column {name} is {part.features[name]}, not {wanted[name]}"
            for name in COLUMNS
            if name not in missing and part.features[name] != wanted[name]
        ]
    return problems or [
        f"{image_id} ({split}): has no {name}"
        for split, part in dataset.items()
        for name in COLUMNS
        for image_id, lacks in zip(part["image_id"], _lacking(part, name), strict=True)
        if lacks
    ]


def _lacking(part: Dataset, name: str) -> list[bool]:
    """Which rows of a column hold nothing."""
    if name == "label":
        # datasets also writes -1 for "no label", which would index the last class.
        return [label not in range(len(CLASS_NAMES)) for label in part["label"]]
    # Asked of the table: a column of pictures would be decoded.
    return part.data.column(name).is_null().to_pylist()


def _split_problems(dataset: Mapping[str, Dataset]) -> list[str]:
    """Groups and folds that lie in two splits."""
    problems = []
    for column in ("group", "fold"):
        seen: dict[Any, str] = {}
        for split in SPLITS:
            for value in sorted(set(dataset[split][column])):
                if seen.setdefault(value, split) != split:
                    problems.append(
                        f"{split}: {column} {value} is also in {seen[value]}, so their figures would leak"
                    )
    return problems


# --- Groups, folds and splits --------------------------------------------------------------------


def _group_and_fold(rows: Sequence[_Row], seed: int, progress: bool) -> tuple[list[str], list[int], str]:
    """Group and fold of every row, and where they come from."""
    if all(row.group is not None for row in rows):
        return [row.group for row in rows], [row.fold for row in rows], "source"
    published = {entry.pixel_sha256: entry for entry in read_busi_folds()}
    if all(row.pixel_sha256 in published for row in rows):
        entries = [published[row.pixel_sha256] for row in rows]
        present = {(row.label, entry.fold) for row, entry in zip(rows, entries, strict=True)}
        # A small part of BUSI may leave a published fold without a class; it then gets folds of its own.
        if len(present) == len(CLASS_NAMES) * N_FOLDS:
            return [entry.group for entry in entries], [entry.fold for entry in entries], "published"
    ids, labels = [row.image_id for row in rows], [row.label for row in rows]
    frames = [decode_image(row.image_png) for row in rows]
    try:
        built = build_folds(ids, labels, frames, seed=seed, progress=progress)
    except ValueError as error:
        raise DataLayoutError(f"The data are too few: {error}", hint=_TOO_FEW_HINT) from error
    entry_of = {entry.image_id: entry for entry in built}
    return [entry_of[i].group for i in ids], [entry_of[i].fold for i in ids], "computed"


def _image_by_image(rows: Sequence[_Row], seed: int) -> tuple[list[str], list[int]]:
    """Every image a group of its own, and the folds of these."""
    ids, labels = [row.image_id for row in rows], [row.label for row in rows]
    try:
        return ids, assign_folds(labels, ids, seed=seed)
    except ValueError as error:
        raise DataLayoutError(f"The data are too few: {error}", hint=_TOO_FEW_HINT) from error


def _features() -> Features:
    datasets = import_datasets()
    return datasets.Features(
        image=datasets.Image(),
        mask=datasets.Image(),
        label=datasets.ClassLabel(names=list(CLASS_NAMES)),
        image_id=datasets.Value("string"),
        group=datasets.Value("string"),
        fold=datasets.Value("int8"),
    )


def _to_dataset(
    rows: Sequence[_Row], groups: Sequence[str], folds: Sequence[int], split_of: Sequence[str]
) -> DatasetDict:
    datasets = import_datasets()
    parts = {}
    for split in SPLITS:
        chosen = [index for index, fold in enumerate(folds) if split_of[fold] == split]
        missing = [name for name in CLASS_NAMES if all(rows[index].label != name for index in chosen)]
        if missing:
            raise DataLayoutError(
                f"The data are too few, or their folds uneven: the {split} split would have no "
                f"{' and no '.join(missing)} picture.",
                hint=_TOO_FEW_HINT,
            )
        columns = {
            "image": [{"bytes": rows[index].image_png, "path": None} for index in chosen],
            "mask": [{"bytes": rows[index].mask_png, "path": None} for index in chosen],
            "label": [CLASS_NAMES.index(rows[index].label) for index in chosen],
            "image_id": [rows[index].image_id for index in chosen],
            "group": [groups[index] for index in chosen],
            "fold": [folds[index] for index in chosen],
        }
        parts[split] = datasets.Dataset.from_dict(columns, features=_features())
    return datasets.DatasetDict(parts)


# --- Writing -------------------------------------------------------------------------------------


def _check_output(output: Path, source: str | os.PathLike, overwrite: bool) -> None:
    """Refuses, before any work is done, to write where something else would be lost or mixed up."""
    origin = Path(source).expanduser().resolve()
    if origin.exists() and (output.is_relative_to(origin) or origin.is_relative_to(output)):
        raise UsageError(
            f"The output {output} and the source {origin} lie inside each other.", "Choose another --output."
        )
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / "dataset_dict.json").is_file():
        raise UsageError(
            f"The output {output} exists and is not a prepared data set, so it is never replaced.",
            "Choose another --output.",
        )
    if not overwrite:
        raise UsageError(
            f"The output {output} exists.", "Add --overwrite to replace it, or choose another --output."
        )


def _progress(items: Iterable[Any], total: int, description: str, shown: bool) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(items, total=total, desc=description, unit="picture", disable=not shown)
