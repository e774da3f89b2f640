"""From one or several sources to one `datasets.DatasetDict` with splits that do not leak.

Every problem of every source is found before anything is reported, and the prepared data set appears whole
or not at all.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import PUBLISHED, TOO_FEW_HINT, assign_folds, group_images, read_published_folds
from busi_unet.data.prepared import (
    COLUMNS,
    IMAGE_BY_IMAGE,
    RECORD_NAME,
    SPLITS,
    UNKNOWN,
    features,
    fold_problems,
    load_prepared,
    row_order,
    split_of_fold,
)
from busi_unet.data.readers import named
from busi_unet.data.readers.own import OwnData
from busi_unet.data.reading import FIX_HINT, Row, Source, read_source
from busi_unet.errors import DataLayoutError, UsageError
from busi_unet.io.decode import decode_image
from busi_unet.io.files import scratch_folder, whole_or_nothing
from busi_unet.version import __version__

if TYPE_CHECKING:
    from datasets import DatasetDict

Given = str | os.PathLike | OwnData


def prepare(
    sources: Given | Sequence[Given],
    output: str | os.PathLike,
    *,
    ignore_copies: bool = False,
    overwrite: bool = False,
) -> DatasetDict:
    """Read one or several sources, split them into folds that divide no patient, and save the result.

    Images of BUSI and BrEaST, recognised by their pixels, get the published folds, those of BUS-BRA the
    official ones; a data set that `prepare` wrote and someone pushed to the Hub keeps its own. Anything else
    is assigned by patient, or, where there are no patients, by groups of images that show the same view.

    Args:
        sources: each a folder or a zip in one of the layouts of `busi_unet.data.readers`, "kaggle", a Hub
            data set id "USER/NAME", or `OwnData`. Folder, zip and Hub data set may hold a prepared data set.
        output: folder to write; `load_prepared` reads it.
        ignore_copies: assign folds image by image, as if no two were alike, each image a group of its own.
            Results on such folds leak; they serve to measure by how much.
        overwrite: replace a data set that an earlier run wrote to `output`.

    Returns:
        Splits train, validation and test with the columns of `busi_unet.data.prepared`.

    Raises:
        UsageError: no such source, or an output that must not be written.
        DataLayoutError: a source that cannot be used; lists every problem by file.
        HubAccessError: Kaggle or the Hub cannot be reached or has no such data set.
    """
    given = [sources] if isinstance(sources, (str, os.PathLike, OwnData)) else list(sources)
    if not given:
        raise UsageError("There is no source.", "Name a folder, a zip or a Hub data set (USER/NAME).")
    output = Path(output).expanduser().resolve()
    _check_output(output, given, overwrite)
    read = _read(given)
    for source in read:
        _place(source, ignore_copies)
    warnings = _combine(read)
    rows = [row for source in read for row in source.rows]
    dataset, missing = _to_dataset(rows)
    record = {
        "busi_unet_version": __version__,
        "sources": [
            {
                "source": source.name,
                **{name: getattr(source, name) for name in ("given", "layout", "folds_from")},
                "images": len(source.rows),
            }
            for source in read
        ],
        "folds_from": ", ".join(sorted({source.folds_from for source in read})),
        "warnings": [*warnings, *missing],
    }
    with whole_or_nothing(output) as partial:
        dataset.save_to_disk(partial)
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        (partial / RECORD_NAME).write_text(text, encoding="utf-8")
    return load_prepared(output)


def _read(given: Sequence[Given]) -> list[Source]:
    """Read every source, and refuse them together."""
    read = []
    with scratch_folder() as scratch:
        for index, item in enumerate(given):
            folder = scratch / str(index)
            folder.mkdir()
            source = read_source(item if isinstance(item, OwnData) else os.fspath(item), folder)
            if not source.rows and not source.problems:
                source.problems.append("holds no image")
            if source.named_by_folder:
                taken = [other.name for other in read]
                names = (source.name, *(f"{source.name}-{number}" for number in range(2, len(read) + 2)))
                source.name = next(name for name in names if name not in taken)
            read.append(source)
    faulty = [source for source in read if source.problems]
    if len(read) == 1 and faulty:
        raise DataLayoutError(f"{read[0].given} cannot be used:", read[0].problems, read[0].hint)
    if faulty:
        problems = [f"{source.given}: {problem}" for source in faulty for problem in source.problems]
        raise DataLayoutError("These sources cannot be used:", problems, faulty[0].hint)
    return read


# --- Groups and folds ----------------------------------------------------------------------------


def _place(source: Source, ignore_copies: bool) -> None:
    """Give every row of a source its group and fold.

    Images that are all part of a data set with published folds get those, known by their pixels, and the
    source its name. Where every row has a patient, the patient is the group; otherwise copies are looked for.
    """
    rows = source.rows
    if ignore_copies:
        source.folds_from = IMAGE_BY_IMAGE
        for row in rows:
            row.group = row.image_id
        _assign(rows)
    elif source.prepared:
        source.folds_from = "prepared"
    elif not _take_published(source):
        _group(rows)
        if any(row.fold is None for row in rows):
            source.folds_from = "computed"
            _assign(rows)
        else:
            source.folds_from = "given"
            if torn := fold_problems([row.group for row in rows], [row.fold for row in rows]):
                hint = "Give the images of a group one fold, or give none."
                raise DataLayoutError(f"The folds given with {source.given} leak:", torn, hint)
    for row in rows:
        row.source = row.source or source.name


def _take_published(source: Source) -> bool:
    """Give a source's rows the published folds of their data set; return whether they all are of one."""
    rows = source.rows
    for name in PUBLISHED:
        entries = read_published_folds(name)
        by_pixels = {entry.pixel_sha256: entry for entry in entries}
        found = [by_pixels.get(row.pixel_sha256) for row in rows]
        if all(found):
            source.name, source.folds_from = name, "published"
            for row, entry in zip(rows, found, strict=True):
                row.group, row.fold = entry.group, entry.fold
            return True
        names = {(row.image_id, row.label) for row in rows} & {entry[:2] for entry in entries}
        # Copies of other pixels have the names of all; others may be named alike by chance.
        if any(found) or len(names) > len(entries) / 2:
            source.warnings.append(
                f"images of {name} are among these, but do not get its published folds: results are not "
                "comparable with those on the published folds"
            )
    return False


def _group(rows: Sequence[Row]) -> None:
    patients = [row.group for row in rows]
    if None in patients:
        images = [decode_image(row.image_png) for row in rows]
        ids, labels = [row.image_id for row in rows], [row.label or "" for row in rows]
        for row, group in zip(rows, group_images(ids, labels, images, patients=patients), strict=True):
            row.group = group


def _assign(rows: Sequence[Row]) -> None:
    folds = assign_folds([row.label or "" for row in rows], [row.group for row in rows])
    for row, fold in zip(rows, folds, strict=True):
        row.fold = fold


# --- Several sources as one ----------------------------------------------------------------------


def _combine(read: list[Source]) -> list[str]:
    """Leave out images that an earlier source has, and make image ids and groups unique over all sources.

    Returns:
        The warnings, each with the name of its source where there are several.
    """
    seen: set[str] = set()
    for source in read:
        copies = [row.image_id for row in source.rows if row.pixel_sha256 in seen]
        if copies:
            source.warnings.append(
                f"left out, since an earlier source has them: {len(copies)} of the images ({named(copies)})"
            )
        source.rows = [row for row in source.rows if row.pixel_sha256 not in seen]
        seen |= {row.pixel_sha256 for row in source.rows}
    rows = [row for source in read for row in source.rows]
    for column in ("image_id", "group"):
        pairs = {(getattr(row, column), row.source) for row in rows}
        sources_with = Counter(name for name, _ in pairs)
        for row in rows:
            name = getattr(row, column)
            if sources_with[name] > 1:
                setattr(row, column, f"{row.source}/{name}")
    counts = Counter(row.image_id for row in rows)
    twice = [f"{image_id}: named {count} times" for image_id, count in counts.items() if count > 1]
    if twice:
        raise DataLayoutError("Different images have one name:", twice, FIX_HINT)
    several = len(read) > 1
    return [f"{source.name}: " * several + warning for source in read for warning in source.warnings]


def _to_dataset(rows: Sequence[Row]) -> tuple[DatasetDict, list[str]]:
    """Return the data set, and a warning for each class that a split lacks."""
    import datasets

    def label(row: Row) -> int:
        return UNKNOWN if row.label is None else CLASS_NAMES.index(row.label)

    parts, warnings = {}, []
    for split in SPLITS:
        chosen = [row for row in rows if split_of_fold(row.fold, test_fold=0) == split]
        chosen.sort(key=lambda row: row_order(row.source, label(row), row.image_id))
        if not chosen:
            filled = sorted({row.fold for row in rows})
            raise DataLayoutError(
                f"The {split} split would have no images: they are in the folds {filled}.", hint=TOO_FEW_HINT
            )
        classes = {row.label for row in rows if row.label} - {row.label for row in chosen}
        warnings += [f"the {split} split has no {name} image" for name in CLASS_NAMES if name in classes]
        columns = {
            "image": [{"bytes": row.image_png} for row in chosen],
            "mask": [row.mask_png and {"bytes": row.mask_png} for row in chosen],
            "label": [label(row) for row in chosen],
            **{name: [getattr(row, name) for row in chosen] for name in COLUMNS[3:]},
        }
        parts[split] = datasets.Dataset.from_dict(columns, features=features())
    return datasets.DatasetDict(parts), warnings


def _check_output(output: Path, given: Sequence[Given], overwrite: bool) -> None:
    """Refuse, before any work is done, to write where something else would be lost or mixed up."""
    for item in given:
        for path in filter(None, vars(item).values() if isinstance(item, OwnData) else [item]):
            origin = Path(path).expanduser().resolve()
            inside = output.is_relative_to(origin) or origin.is_relative_to(output)
            if inside and origin.exists():
                raise UsageError(
                    f"The output {output} and the source {origin} lie inside each other.",
                    "Choose another --output.",
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
