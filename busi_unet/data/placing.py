"""Group and fold of every image of a source: published, given with it, or found from the pixels."""

from __future__ import annotations

from collections import defaultdict

from busi_unet.data.fold_table import PUBLISHED, read_published_folds
from busi_unet.data.folds import N_FOLDS, assign_folds, group_images
from busi_unet.data.published import Placed, departures
from busi_unet.data.reading import Source
from busi_unet.errors import DataLayoutError
from busi_unet.io.decode import decode_image

TOO_FEW_HINT = f"At least {N_FOLDS} groups are needed, one for every fold; copies of one image are one group."


def place(source: Source, *, seed: int, progress: bool) -> tuple[list[str], list[int], str]:
    """Return group and fold of each row, and where they come from.

    Images that are all part of a data set with published folds get those, known by their pixels, and the
    source its name. Where every row has a patient, the patient is the group; otherwise copies are looked for.

    Returns:
        Groups, folds, and "prepared" (an earlier run's), "published", "given" (with the data) or "computed".

    Raises:
        DataLayoutError: fewer groups than folds, or a group in several given folds.
    """
    rows = source.rows
    if source.prepared:
        return [str(row.group) for row in rows], [int(row.fold) for row in rows], "prepared"
    for name, (_, table) in PUBLISHED.items():
        entries = {entry.pixel_sha256: entry for entry in read_published_folds(table)}
        found = [entries.get(row.pixel_sha256) for row in rows]
        if all(found):
            source.name = name
            return [entry.group for entry in found], [entry.fold for entry in found], "published"
    labels = [row.label or "" for row in rows]
    patients = [row.group for row in rows]
    if all(patient is not None for patient in patients):
        groups = [str(patient) for patient in patients]
    else:
        images = [decode_image(row.image_png) for row in rows]
        ids = [row.image_id for row in rows]
        groups = group_images(ids, labels, images, patients=patients, progress=progress)
    if all(row.fold is not None for row in rows):
        folds = [int(row.fold) for row in rows]
        _check_given(source.given, groups, folds)
        return groups, folds, "given"
    return groups, dealt(labels, groups, seed), "computed"


def dealt(labels: list[str], groups: list[str], seed: int) -> list[int]:
    """Return the folds of `assign_folds`.

    Raises:
        DataLayoutError: fewer groups than folds.
    """
    try:
        return assign_folds(labels, groups, seed=seed)
    except ValueError as error:
        raise DataLayoutError(f"The data are too few: {error}", hint=TOO_FEW_HINT) from error


def _check_given(given: str, groups: list[str], folds: list[int]) -> None:
    folds_of: dict[str, set[int]] = defaultdict(set)
    for group, fold in zip(groups, folds, strict=True):
        folds_of[group].add(fold)
    torn = [f"group {group}: in folds {sorted(found)}" for group, found in folds_of.items() if len(found) > 1]
    if torn:
        raise DataLayoutError(
            f"The folds given with {given} leak:", torn, "Give the images of a group one fold, or give none."
        )


def published_departures(source: Source, folds: list[int]) -> list[str]:
    """Return in what a source that looks like a published one differs from it, one sentence each."""
    placed = defaultdict(list)
    for row, fold in zip(source.rows, folds, strict=True):
        placed[row.source].append(Placed(row.image_id, row.label, row.pixel_sha256, fold))
    return [
        sentence
        for images in placed.values()
        for name, table in PUBLISHED.values()
        for sentence in departures(images, read_published_folds(table), name)
    ]
