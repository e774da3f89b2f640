import pytest
import torch

from busi_unet.config import Preprocess
from busi_unet.data.augment import AUGMENTATIONS
from busi_unet.data.prepared import UNKNOWN, load_prepared
from busi_unet.data.torch_dataset import EpochOrder, LesionDataset, source_draws
from busi_unet.inference.preprocess import Preprocessor


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
    assert {item.image.dtype, item.mask.dtype} == {torch.float32}
    assert item.label == train_split[3]["label"]
    assert set(item.mask.unique().tolist()) <= {0.0, 1.0}
    assert data.image_ids[item.index] == train_split[3]["image_id"]
    for index, label in enumerate(train_split["label"]):
        assert bool(data[index].mask.any()) == (label != 0)


def test_what_is_not_known_is_marked(train_split):
    row = {**train_split[0], "mask": None, "label": UNKNOWN}
    partly = train_split.select([0]).map(lambda _: row, features=train_split.features)
    item = dataset(partly, augmentation=AUGMENTATIONS["full"])[0]
    assert (bool(item.has_mask), int(item.label)) == (False, UNKNOWN)
    assert item.image.shape == item.mask.shape == (1, 64, 64)


def test_augmentation_depends_on_seed_epoch_and_key_alone(train_split):
    first, second = (dataset(train_split, augmentation=AUGMENTATIONS["full"], seed=5) for _ in range(2))
    _ = [first[index] for index in range(4)]
    assert torch.equal(first[2].image, second[2].image)
    again = first[2 + len(first)]
    assert again.index == 2
    assert not torch.equal(first[2].image, again.image)
    second.epoch = 1
    assert not torch.equal(first[2].image, second[2].image)


def test_a_source_without_normals_gets_some_from_beside_its_lesions(train_split):
    lesions = train_split.filter(lambda row: row["label"] != 0)
    data = dataset(lesions, augmentation=AUGMENTATIONS["full"])
    drawn = [data[key] for key in range(5 * len(data))]
    made = [item for item in drawn if item.label == 0]
    assert 0.1 < len(made) / len(drawn) < 0.5
    assert not any(item.mask.any() for item in made)
    plain = dataset(train_split, augmentation=AUGMENTATIONS["full"])
    assert all(plain[key].label == train_split[key]["label"] for key in range(len(plain)))


def test_the_order_of_an_epoch_is_a_new_one_of_whole_batches(train_split):
    data = dataset(train_split, seed=5)
    order = EpochOrder(data, 4)
    first = list(order)
    assert len(first) == len(set(first)) == len(order) == len(data) // 4 * 4 < len(data)
    assert list(EpochOrder(dataset(train_split, seed=5), 4)) == first
    data.epoch = 1
    assert list(order) != first
    assert set(order) <= set(range(len(data)))


def test_a_small_source_is_drawn_more_often_and_never_the_same_way_twice(train_split):
    data = dataset(train_split)
    data.sources = ["small"] * 2 + ["large"] * (len(data) - 2)
    keys = list(EpochOrder(data, 1))
    assert len(keys) == len(set(keys)) == len(data)
    small = sum(key % len(data) < 2 for key in keys)
    assert small == {source: draws for source, _, draws in source_draws(data.sources)}["small"] > 2
    assert source_draws(["a"] * 90 + ["b"] * 10) == [("a", 90, 75), ("b", 10, 25)]
