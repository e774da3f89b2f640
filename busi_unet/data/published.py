"""Whether images are those that published folds were made for, told by their pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from busi_unet.data.fold_table import FoldRow

_NOT_COMPARABLE = "results on these data cannot be compared with results on the published folds."


class Placed(NamedTuple):
    """An image and the fold that it was put in.

    Attributes:
        image_id, label: its name and class.
        pixel_sha256: see `busi_unet.data.folds.pixel_hash`.
        fold: the one it has in the data set.
    """

    image_id: str
    label: str | None
    pixel_sha256: str
    fold: int


def departures(images: Sequence[Placed], published: Iterable[FoldRow], name: str) -> list[str]:
    """Return in what a source that looks like a published one, whole or in part, is another, a sentence each.

    Args:
        images: all of the source.
        published: the published folds.
        name: of the published data set.

    Returns:
        Empty for its images in their published folds, and for data that share neither image nor name with it.
    """
    published = list(published)
    fold_of = {row.pixel_sha256: row.fold for row in published}
    labels_of: dict[str, set[str]] = {}
    for row in published:
        labels_of.setdefault(row.pixel_sha256, set()).add(row.label)
    names = {(row.image_id, row.label) for row in published}
    others = [image for image in images if image.pixel_sha256 not in fold_of]
    altered = [image.image_id for image in others if (image.image_id, image.label) in names]
    count = len(images)
    if altered:
        return [
            f"{len(altered)} of {count} images are called as in {name} but have other pixels "
            f"({_listed(altered)}): other images, or saved anew, scaled or altered; {_NOT_COMPARABLE}"
        ]
    if len(others) == count:
        return []
    if others:
        return [f"{count - len(others)} of {count} images are {name}'s, the others not: {_NOT_COMPARABLE}"]
    # BUSI itself holds some images twice, under two classes: then either is the published one.
    relabelled = [image.image_id for image in images if image.label not in labels_of[image.pixel_sha256]]
    if relabelled:
        return [
            f"{len(relabelled)} of {count} images are {name}'s but have another class there "
            f"({_listed(relabelled)}): {_NOT_COMPARABLE}"
        ]
    if any(image.fold != fold_of[image.pixel_sha256] for image in images):
        return [f"The images are {name}'s, their folds are not the published ones: {_NOT_COMPARABLE}"]
    return []


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if names[3:] else "")
