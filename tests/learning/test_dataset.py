import numpy as np
import pytest
import torch

from busi_unet.config import Preprocess
from busi_unet.data.augment import AUGMENTATIONS
from busi_unet.data.busi import load_prepared
from busi_unet.imaging.preprocess import Preprocessor
from busi_unet.learning.dataset import EpochOrder, LesionDataset


@pytest.fixture
def train_split(prepared):
    return load_prepared(prepared)["train"]


def dataset(split, **options) -> LesionDataset:
    return LesionDataset(split, Preprocessor(Preprocess(size=64)), progress=False, **options)


def test_items_have_the_networks_shapes(train_split):
    data = dataset(train_split)
    assert len(data) == len(train_split)
    item = data[3]
    assert item.image.shape == item.mask.shape == (1, 64, 64)
    assert (item.image.dtype, item.mask.dtype, item.label.dtype) == (
        torch.float32,
        torch.float32,
        torch.int64,
    )
    assert set(item.mask.unique().tolist()) <= {0.0, 1.0}
    assert data.image_ids[item.index] == train_split[3]["image_id"]


def test_only_normals_have_empty_masks(train_split):
    data = dataset(train_split)
    for item in (data[index] for index in range(len(data))):
        assert bool(item.mask.any()) == (item.label.item() != 0)


def test_augmentation_depends_on_seed_epoch_and_index_alone(train_split):
    first, second = (dataset(train_split, augmentation=AUGMENTATIONS["strong"], seed=5) for _ in range(2))
    _ = [first[index] for index in range(4)]
    assert torch.equal(first[2].image, second[2].image)
    second.epoch = 1
    assert not torch.equal(first[2].image, second[2].image)


def test_stored_pictures_stay_as_they_are(train_split):
    data = dataset(train_split, augmentation=AUGMENTATIONS["strong"])
    before = data.frames.copy()
    _ = [data[index] for index in range(len(data))]
    np.testing.assert_array_equal(data.frames, before)


def test_the_order_of_an_epoch_is_a_new_one_of_whole_batches(train_split):
    data = dataset(train_split, seed=5)
    order = EpochOrder(data, 4)
    first = list(order)
    assert len(first) == len(set(first)) == len(order) == len(data) // 4 * 4 < len(data)
    assert list(EpochOrder(dataset(train_split, seed=5), 4)) == first
    data.epoch = 1
    assert list(order) != first
    assert set(order) <= set(range(len(data)))
