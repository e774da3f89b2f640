"""Group-disjoint, stratified folds, made from pixels.

BUSI names no patients, so the strictest split that can be had keeps all copies of one view together.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from busi_unet.data.duplicates import connected, find_copies
from busi_unet.data.fold_table import FoldRow, write_folds
from busi_unet.data.listing import natural_order
from busi_unet.io.decode import decode_image

N_FOLDS = 5


def pixel_hash(pixels: np.ndarray) -> str:
    """Fingerprints a decoded image, whatever file format held it.

    Args:
        pixels: grey frame, uint8 (H, W).

    Returns:
        SHA-256 over "HxW:" and the bytes row by row, 64 hexadecimal digits.

    Raises:
        ValueError: `pixels` is not uint8 (H, W).
    """
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8 (H, W), not {pixels.dtype} {pixels.shape}.")
    height, width = pixels.shape
    return hashlib.sha256(f"{height}x{width}:".encode() + pixels.tobytes()).hexdigest()


def assign_folds(
    labels: Sequence[str], groups: Sequence[Hashable], *, n_folds: int = N_FOLDS, seed: int = 0
) -> list[int]:
    """Deals groups into folds so that classes and group sizes are spread evenly.

    Largest groups first, each to the fold that holds the least of its classes so far; ties go to the fold
    with the fewest groups of the same make-up. A group is never divided. The result depends on the names
    of the groups and on what they hold, not on the order of the input, and is the same on every platform.

    Args:
        labels: class of each image.
        groups: group of each image; names must differ as text.
        n_folds: at least 2.
        seed: another seed deals groups of equal make-up in another order.

    Returns:
        Fold of each image, 0 to n_folds - 1.

    Raises:
        ValueError: lengths differ, n_folds is below 2, or there are fewer groups than folds.
    """
    if len(labels) != len(groups):
        raise ValueError(f"{len(labels)} labels do not fit {len(groups)} groups.")
    holdings: dict[Hashable, Counter[str]] = defaultdict(Counter)
    for label, group in zip(labels, groups, strict=True):
        holdings[group][label] += 1
    if n_folds < 2 or len(holdings) < n_folds:
        raise ValueError(f"{len(holdings)} groups cannot fill {n_folds} folds.")
    make_up = {group: tuple(sorted(held.items())) for group, held in holdings.items()}

    def order(group: Hashable) -> tuple:
        draw = hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()
        return -holdings[group].total(), make_up[group], draw

    filled = [Counter[str]() for _ in range(n_folds)]
    dealt = [Counter[tuple]() for _ in range(n_folds)]
    fold_of: dict[Hashable, int] = {}
    for group in sorted(holdings, key=order):
        held = holdings[group]

        def cost(fold: int, held: Counter[str] = held, group: Hashable = group) -> tuple:
            load = sum(count * filled[fold][label] for label, count in held.items())
            return load, dealt[fold][make_up[group]], filled[fold].total(), fold

        fold = min(range(n_folds), key=cost)
        fold_of[group] = fold
        filled[fold] += held
        dealt[fold][make_up[group]] += 1
    return [fold_of[group] for group in groups]


def random_split_leak(groups: Sequence[Hashable], *, test_share: float = 1 / N_FOLDS) -> float:
    """Expected share of test images with a copy in training, were images split at random one by one.

    Exact, not simulated. Where t of n images are tested, a tested image of a group of k has all of its
    copies beside it with probability Π (t - i) / (n - i), i = 1 … k - 1; otherwise it leaks.

    Args:
        groups: group of each image.
        test_share: share of the images in the test part, in (0, 1).

    Returns:
        Share in [0, 1].

    Raises:
        ValueError: no groups, or a test part that is empty or everything.
    """
    count = len(groups)
    tested = round(test_share * count)
    if not 0 < tested < count:
        raise ValueError(f"A test share of {test_share} leaves {tested} of {count} images for the test.")
    leak = 0.0
    for size in Counter(groups).values():
        together = 1.0
        for other in range(1, size):
            together *= max(tested - other, 0) / (count - other)
        leak += size * (1.0 - together)
    return leak / count


def group_images(
    image_ids: Sequence[str],
    labels: Sequence[str],
    images: Sequence[np.ndarray],
    *,
    patients: Sequence[str | None] | None = None,
    progress: bool = False,
) -> list[str]:
    """Group images of one patient, and those that show one view, whoever the patient is.

    Args:
        image_ids: unique names.
        labels: class of each image; anything that sorts, as the first image names its group.
        images: grey images, uint8 (H, W).
        patients: of each image, None where not known.
        progress: show progress bars on stderr.

    Returns:
        Group of each image: the id of its first image, by class and number, whatever the order of the input.

    Raises:
        ValueError: lengths differ.
        MissingDependencyError: OpenCV is not installed.
    """
    if not len(image_ids) == len(labels) == len(images):
        raise ValueError(f"{len(image_ids)} ids, {len(labels)} labels and {len(images)} images do not match.")
    order = sorted(range(len(image_ids)), key=lambda index: (labels[index], natural_order(image_ids[index])))
    links = [(pair.first, pair.second) for pair in find_copies([images[i] for i in order], progress=progress)]
    first_of: dict[str, int] = {}
    for place, index in enumerate(order):
        if patients is not None and patients[index] is not None:
            links.append((first_of.setdefault(patients[index], place), place))
    numbers = connected(len(order), links)
    groups = [""] * len(order)
    first_in = {number: index for number, index in reversed(list(zip(numbers, order, strict=True)))}
    for number, index in zip(numbers, order, strict=True):
        groups[index] = image_ids[first_in[number]]
    return groups


def build_folds(
    image_ids: Sequence[str],
    labels: Sequence[str],
    images: Sequence[np.ndarray],
    *,
    n_folds: int = N_FOLDS,
    seed: int = 0,
    progress: bool = False,
) -> list[FoldRow]:
    """Find the copies among images and deal their groups into folds.

    Args:
        image_ids, labels, images, progress: as for `group_images`.
        n_folds, seed: as for `assign_folds`.

    Returns:
        One row per image, by class and number, whatever the order of the input.

    Raises:
        ValueError: lengths differ, or the images form fewer groups than folds.
        MissingDependencyError: OpenCV is not installed.
    """
    groups = group_images(image_ids, labels, images, progress=progress)
    members: dict[str, list[int]] = defaultdict(list)
    order = sorted(range(len(image_ids)), key=lambda index: (labels[index], natural_order(image_ids[index])))
    for index in order:
        members[groups[index]].append(index)
    folds = assign_folds(labels, groups, n_folds=n_folds, seed=seed)
    rows = []
    for index in order:
        strangers = tuple(
            image_ids[other] for other in members[groups[index]] if labels[other] != labels[index]
        )
        rows.append(
            FoldRow(
                image_id=image_ids[index],
                label=labels[index],
                group=groups[index],
                fold=folds[index],
                pixel_sha256=pixel_hash(images[index]),
                cross_class=bool(strangers),
                other_class_copies=strangers,
            )
        )
    return rows


def publish_folds(root: Path, path: Path, *, progress: bool = False) -> list[FoldRow]:
    """Make the folds of a data set from its pixels and write them to `path`.

    Args:
        root: folder with one of the layouts that are read, at or below it; every image has a class.
        path: CSV file to write.
        progress: show progress bars on stderr.

    Raises:
        DataLayoutError: `root` is no such folder.
        UnreadableImageError: an image cannot be decoded.
    """
    from busi_unet.data.readers import scan_folder

    cases = scan_folder(root).cases
    images = [decode_image(case.image) for case in cases]
    rows = build_folds(
        [case.image_id for case in cases], [str(case.label) for case in cases], images, progress=progress
    )
    write_folds(path, rows)
    return rows
