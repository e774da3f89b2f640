"""Whether pictures are those of BUSI that the published folds were made for, told by their pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from busi_unet.data.fold_table import FoldRow

_NOT_COMPARABLE = "figures on these data cannot be compared with figures on the published folds."


class Placed(NamedTuple):
    """A picture and the fold that it was put in.

    Attributes:
        image_id, label: its name and class.
        pixel_sha256: see `busi_unet.data.folds.pixel_hash`.
        fold: the one it has in the data set.
    """

    image_id: str
    label: str
    pixel_sha256: str
    fold: int


def departures(pictures: Sequence[Placed], published: Iterable[FoldRow]) -> list[str]:
    """In what a data set that looks like BUSI, whole or in part, is another, one sentence each.

    Args:
        pictures: all of the data set.
        published: the published folds.

    Returns:
        Empty for pictures of BUSI in their published folds, and for data that share neither picture nor
        name with it.
    """
    published = list(published)
    fold_of = {row.pixel_sha256: row.fold for row in published}
    labels_of: dict[str, set[str]] = {}
    for row in published:
        labels_of.setdefault(row.pixel_sha256, set()).add(row.label)
    names = {(row.image_id, row.label) for row in published}
    others = [picture for picture in pictures if picture.pixel_sha256 not in fold_of]
    altered = [picture.image_id for picture in others if (picture.image_id, picture.label) in names]
    count = len(pictures)
    if altered:
        return [
            f"{len(altered)} of {count} pictures are called as in BUSI but have other pixels "
            f"({_listed(altered)}): other pictures, or saved anew, scaled or altered; {_NOT_COMPARABLE}"
        ]
    if len(others) == count:
        return []
    if others:
        return [f"{count - len(others)} of {count} pictures are BUSI's, the others not: {_NOT_COMPARABLE}"]
    # BUSI itself holds some pictures twice, under two classes: then either is the published one.
    relabelled = [
        picture.image_id for picture in pictures if picture.label not in labels_of[picture.pixel_sha256]
    ]
    if relabelled:
        return [
            f"{len(relabelled)} of {count} pictures are BUSI's but have another class there "
            f"({_listed(relabelled)}): {_NOT_COMPARABLE}"
        ]
    if any(picture.fold != fold_of[picture.pixel_sha256] for picture in pictures):
        return [f"The pictures are BUSI's, their folds are not the published ones: {_NOT_COMPARABLE}"]
    return []


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if names[3:] else "")
