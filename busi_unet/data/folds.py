"""Group-disjoint, stratified folds, made from pixels.

BUSI names no patients, so the strictest split that can be had keeps all copies of one view together.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np

from busi_unet.data.readers import natural_order
from busi_unet.errors import DataLayoutError

N_FOLDS = 5
# Sources whose folds come with the package as a table. BUS-BRA brings its own.
PUBLISHED = ("busi", "breast")
TOO_FEW_HINT = f"At least {N_FOLDS} groups are needed, one for every fold; copies of one image are one group."


def pixel_hash(pixels: np.ndarray) -> str:
    """Return the SHA-256 of a decoded image, uint8 (H, W): over "HxW:" and its bytes row by row, in hex."""
    height, width = pixels.shape
    return hashlib.sha256(f"{height}x{width}:".encode() + pixels.tobytes()).hexdigest()


def assign_folds(labels: Sequence[str], groups: Sequence[Hashable]) -> list[int]:
    """Deal groups into folds, 0 to `N_FOLDS` - 1, so that classes and group sizes are spread evenly.

    Largest groups first, each to the fold that holds the least of its classes so far; ties go to the fold
    with the fewest groups of the same make-up. A group is never divided. The result depends on the names
    of the groups and on what they hold, not on the order of the input, and is the same on every platform.

    Raises:
        DataLayoutError: there are fewer groups than folds.
    """
    holdings: dict[Hashable, Counter[str]] = defaultdict(Counter)
    for label, group in zip(labels, groups, strict=True):
        holdings[group][label] += 1
    if len(holdings) < N_FOLDS:
        raise DataLayoutError(
            f"There are too few data: {len(holdings)} groups cannot fill {N_FOLDS} folds.", hint=TOO_FEW_HINT
        )
    make_up = {group: tuple(sorted(held.items())) for group, held in holdings.items()}

    def order(group: Hashable) -> tuple:
        draw = hashlib.sha256(f"0:{group}".encode()).hexdigest()
        return -holdings[group].total(), make_up[group], draw

    filled = [Counter[str]() for _ in range(N_FOLDS)]
    dealt = [Counter[tuple]() for _ in range(N_FOLDS)]
    fold_of: dict[Hashable, int] = {}
    for group in sorted(holdings, key=order):
        held = holdings[group]

        def cost(fold: int, held: Counter[str] = held, group: Hashable = group) -> tuple:
            load = sum(count * filled[fold][label] for label, count in held.items())
            return load, dealt[fold][make_up[group]], filled[fold].total(), fold

        fold = min(range(N_FOLDS), key=cost)
        fold_of[group] = fold
        filled[fold] += held
        dealt[fold][make_up[group]] += 1
    return [fold_of[group] for group in groups]


def random_split_leak(groups: Sequence[Hashable]) -> float:
    """Return the share of test images, 0 to 1, with another of their group in training after a random split.

    Expected for a test part of a fifth of the images, drawn one by one; exact, not simulated. A tested image
    leaks unless the k - 1 others of its group are tested, too: as likely as that k - 1 drawn from the n - 1
    other images are all among the t - 1 others that are tested.
    """
    count = len(groups)
    others_tested = max(round(count / N_FOLDS) - 1, 0)
    leak = sum(
        size * (1 - math.comb(others_tested, size - 1) / math.comb(count - 1, size - 1))
        for size in Counter(groups).values()
    )
    return leak / count


def group_images(
    image_ids: Sequence[str],
    labels: Sequence[str],
    images: Sequence[np.ndarray],
    *,
    patients: Sequence[str | None] | None = None,
) -> list[str]:
    """Group images of one patient, and those that show one view, whoever the patient is.

    The images are grey, uint8 (H, W), the patients None where not known. The first image by class and number
    names its group.
    """
    # Imports OpenCV, which listing the commands' options has to do without.
    from busi_unet.data.duplicates import connected, find_copies

    order = sorted(range(len(image_ids)), key=lambda index: (labels[index], natural_order(image_ids[index])))
    links = [(pair.first, pair.second) for pair in find_copies([images[i] for i in order])]
    first_of: dict[str, int] = {}
    for place, index in enumerate(order):
        if patients is not None and patients[index] is not None:
            links.append((first_of.setdefault(patients[index], place), place))
    name_of: dict[int, str] = {}
    groups = [""] * len(order)
    for number, index in zip(connected(len(order), links), order, strict=True):
        groups[index] = name_of.setdefault(number, image_ids[index])
    return groups


class FoldRow(NamedTuple):
    """One image of a published split; its group is the patient, or the first image among its copies."""

    image_id: str
    label: str
    group: str
    fold: int
    pixel_sha256: str  # see `pixel_hash`


@cache
def read_published_folds(source: str) -> tuple[FoldRow, ...]:
    """Return the published folds of one of `PUBLISHED`; research/publish_folds.py made them."""
    text = resources.files("busi_unet.data").joinpath(f"{source}_folds.csv").read_text(encoding="utf-8")
    _, *rows = csv.reader(text.splitlines())
    return tuple(FoldRow(*names, int(fold), digest) for *names, fold, digest, _crosses, _copies in rows)
