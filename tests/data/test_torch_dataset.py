import numpy as np
import pytest
import torch
from PIL import Image

from busi_unet.config import Preprocess
from busi_unet.data.augment import AUGMENTATIONS, Augmentation
from busi_unet.data.busi import load_prepared
from busi_unet.data.overlays import draw_text
from busi_unet.data.torch_dataset import EpochOrder, LesionDataset
from busi_unet.inference.preprocess import Preprocessor
from busi_unet.io.decode import decode_image


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
    assert {item.image.dtype, item.mask.dtype, item.classes.dtype} == {torch.float32}
    assert item.classes.tolist() == [float(index == train_split[3]["label"]) for index in range(3)]
    assert set(item.mask.unique().tolist()) <= {0.0, 1.0}
    assert data.image_ids[item.index] == data.image_ids[item.partner] == train_split[3]["image_id"]


def test_only_normals_have_empty_masks(train_split):
    data = dataset(train_split)
    for item in (data[index] for index in range(len(data))):
        assert bool(item.mask.any()) == (item.classes[0] == 0)


def test_augmentation_depends_on_seed_epoch_and_index_alone(train_split):
    first, second = (dataset(train_split, augmentation=AUGMENTATIONS["strong"], seed=5) for _ in range(2))
    _ = [first[index] for index in range(4)]
    assert torch.equal(first[2].image, second[2].image)
    second.epoch = 1
    assert not torch.equal(first[2].image, second[2].image)


def test_mixup_blends_half_of_the_pictures_with_mask_and_class(train_split):
    plain, mixed = dataset(train_split), dataset(train_split, mixup=0.4)
    blended = 0
    for epoch in range(4):
        mixed.epoch = epoch
        for index in range(len(plain)):
            own, item = plain[index], mixed[index]
            assert item.classes.sum() == pytest.approx(1)
            if item.partner == index:
                assert torch.allclose(own.image, item.image, atol=1e-6)
                continue
            blended += 1
            # One share of the partner explains picture, mask and class together.
            other = plain[item.partner.item()]
            share = share_of(other.image - own.image, item.image - own.image)
            assert share is not None
            assert torch.allclose((1 - share) * own.mask + share * other.mask, item.mask, atol=1e-4)
            assert torch.allclose((1 - share) * own.classes + share * other.classes, item.classes, atol=1e-4)
    assert 0.3 < blended / (4 * len(plain)) < 0.7


def share_of(direction: torch.Tensor, step: torch.Tensor) -> float | None:
    """s where step = s · direction; None where there is no such number."""
    if not direction.any():
        return None
    share = (direction * step).sum() / direction.square().sum()
    return share.item() if torch.allclose(share * direction, step, atol=1e-4) else None


def test_mixup_depends_on_seed_epoch_and_index_alone(train_split):
    first, second = (dataset(train_split, mixup=0.4, seed=5) for _ in range(2))
    _ = first[0]
    assert all(torch.equal(first[index].image, second[index].image) for index in range(6))
    second.epoch = 1
    assert any(not torch.equal(first[index].image, second[index].image) for index in range(6))


def test_stored_images_stay_as_they_are(train_split):
    data = dataset(train_split, augmentation=AUGMENTATIONS["strong"], mixup=0.4)
    before = data.images.copy()
    _ = [data[index] for index in range(len(data))]
    np.testing.assert_array_equal(data.images, before)


def test_the_order_of_an_epoch_is_a_new_one_of_whole_batches(train_split):
    data = dataset(train_split, seed=5)
    order = EpochOrder(data, 4)
    first = list(order)
    assert len(first) == len(set(first)) == len(order) == len(data) // 4 * 4 < len(data)
    assert list(EpochOrder(dataset(train_split, seed=5), 4)) == first
    data.epoch = 1
    assert list(order) != first
    assert set(order) <= set(range(len(data)))


def test_some_pictures_are_shown_with_their_strokes_painted_out(train_split):
    # Writing that is only in the picture as it came.
    marked = train_split.select(range(1))
    frame = draw_text(decode_image(marked[0]["image"]), np.random.default_rng(3))
    marked = marked.map(lambda row: {**row, "image": Image.fromarray(frame)}, features=marked.features)
    data = dataset(marked, augmentation=Augmentation(paint_out=0.5))
    seen = set()
    for epoch in range(12):
        data.epoch = epoch
        seen.add(data[0].image.numpy().tobytes())
    assert len(seen) == 2
