"""Phantoms: the same seed, the same image; lesions that show what their class is known by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from busi_unet.config import CLASS_NAMES
from busi_unet.data.phantom import Phantom, make_phantom, write_phantom_dataset
from busi_unet.errors import BusiUNetError

SIZE = (160, 200)
SEEDS = range(8)
LESIONS = ("benign", "malignant")


@pytest.fixture(scope="module")
def phantoms() -> dict[str, list[Phantom]]:
    return {label: [make_phantom(label, seed=seed, size=SIZE) for seed in SEEDS] for label in CLASS_NAMES}


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last row, first and last column."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[0], rows[-1], columns[0], columns[-1]


def brightness_against_surroundings(phantom: Phantom) -> float:
    ring = ndimage.binary_dilation(phantom.mask, iterations=6) & ~phantom.mask
    return float(phantom.image[phantom.mask].mean() - phantom.image[ring].mean())


def brightness_behind(phantom: Phantom) -> float:
    """Grey levels by which the tissue just below the lesion outshines its neighbours at the same depth."""
    top, bottom, left, right = box(phantom.mask)
    depth = slice(bottom + 1, bottom + 1 + (bottom - top) // 2)
    quarter = (right - left) // 4
    behind = phantom.image[depth, left + quarter : right - quarter]
    beside = [
        phantom.image[depth, max(left - 40, 0) : left - 5],
        phantom.image[depth, right + 5 : right + 40],
    ]
    return float(behind.mean() - np.mean([part.mean() for part in beside if part.size]))


@pytest.mark.parametrize("label", CLASS_NAMES)
def test_a_seed_fixes_the_image(label: str) -> None:
    first, again, other = (make_phantom(label, seed=seed, size=(64, 64)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert np.mean(first.image != other.image) > 0.5


def test_a_seed_keeps_the_lesion_in_place_at_another_resolution() -> None:
    for label in LESIONS:
        small, large = (make_phantom(label, seed=5, size=size).mask for size in ((100, 125), (200, 250)))
        both, either = small & large[::2, ::2], small | large[::2, ::2]
        assert both.sum() / either.sum() > 0.85


@pytest.mark.parametrize("size", [(64, 64), (32, 32), (48, 130), (150, 70)])
@pytest.mark.parametrize("label", CLASS_NAMES)
def test_any_size(label: str, size: tuple[int, int]) -> None:
    phantom = make_phantom(label, seed=1, size=size)
    assert phantom.label == label
    assert phantom.image.shape == phantom.mask.shape == size
    assert phantom.image.dtype == np.uint8
    assert phantom.mask.dtype == np.bool_
    assert phantom.mask.any() == (label != "normal")


@pytest.mark.parametrize("label", CLASS_NAMES)
def test_grey_levels_are_used_and_fall_with_depth(phantoms: dict[str, list[Phantom]], label: str) -> None:
    for phantom in phantoms[label]:
        assert phantom.image.std() > 25
        assert np.mean(phantom.image == 255) < 0.01
        upper, lower = np.array_split(phantom.image, 2)
        assert upper.mean() > lower.mean() + 10


@pytest.mark.parametrize("label", LESIONS)
def test_lesion_is_one_piece_of_plausible_size_inside_the_image(
    phantoms: dict[str, list[Phantom]], label: str
) -> None:
    for phantom in phantoms[label]:
        assert 0.015 < phantom.mask.mean() < 0.25
        assert ndimage.label(phantom.mask)[1] == 1
        assert phantom.mask[1:-1, 1:-1].sum() == phantom.mask.sum()


@pytest.mark.parametrize("label", LESIONS)
def test_lesion_is_darker_than_its_surroundings(phantoms: dict[str, list[Phantom]], label: str) -> None:
    assert all(brightness_against_surroundings(phantom) < -15 for phantom in phantoms[label])


def test_benign_enhances_what_is_behind_it_and_malignant_shadows_it(
    phantoms: dict[str, list[Phantom]],
) -> None:
    assert min(map(brightness_behind, phantoms["benign"])) > max(
        map(brightness_behind, phantoms["malignant"])
    )


def test_written_folder_reads_back(tmp_path: Path) -> None:
    root = tmp_path / "made" / "by the test"
    write_phantom_dataset(root, per_class=2, seed=10, size=(64, 80))
    assert len(list(root.rglob("*.png"))) == 12
    for label in CLASS_NAMES:
        for number in (1, 2):
            expected = make_phantom(label, seed=9 + number, size=(64, 80))
            with Image.open(root / label / f"{label} ({number}).png") as image:
                np.testing.assert_array_equal(np.asarray(image), expected.image)
            with Image.open(root / label / f"{label} ({number})_mask.png") as mask:
                np.testing.assert_array_equal(np.asarray(mask), expected.mask.astype(np.uint8) * 255)


def test_no_phantoms_per_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BusiUNetError, match="0 phantoms"):
        write_phantom_dataset(tmp_path, per_class=0, seed=0, size=(64, 64))
    assert not list(tmp_path.iterdir())
