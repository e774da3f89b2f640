"""Phantoms: the same seed, the same image; lesions that show what their class is known by."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from busi_unet.config import CLASS_NAMES
from busi_unet.data.phantom import Phantom, make_phantom, write_phantom_dataset

SIZE = (160, 200)
SEEDS = range(8)
LESIONS = ("benign", "malignant")


@pytest.fixture(scope="module")
def phantoms() -> dict[str, list[Phantom]]:
    return {label: [make_phantom(label, seed=seed, size=SIZE) for seed in SEEDS] for label in CLASS_NAMES}


@pytest.mark.parametrize("label", CLASS_NAMES)
def test_a_seed_fixes_the_image(label):
    first, again, other = (make_phantom(label, seed=seed, size=(64, 64)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert np.mean(first.image != other.image) > 0.5


@pytest.mark.parametrize("size", [(64, 64), (32, 32), (48, 130), (150, 70)])
@pytest.mark.parametrize("label", CLASS_NAMES)
def test_any_size(label, size):
    phantom = make_phantom(label, seed=1, size=size)
    assert phantom.image.shape == phantom.mask.shape == size
    assert phantom.image.dtype == np.uint8
    assert phantom.mask.dtype == np.bool_
    assert phantom.mask.any() == (label != "normal")


@pytest.mark.parametrize("label", LESIONS)
def test_lesion_is_one_piece_of_plausible_size_inside_the_image(phantoms, label):
    for phantom in phantoms[label]:
        assert 0.015 < phantom.mask.mean() < 0.25
        assert ndimage.label(phantom.mask)[1] == 1
        assert phantom.mask[1:-1, 1:-1].sum() == phantom.mask.sum()


def test_written_folder_reads_back(tmp_path):
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
