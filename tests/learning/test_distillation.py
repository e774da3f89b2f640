import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from busi_unet.bundle import load_config, save_config
from busi_unet.config import Architecture
from busi_unet.data.busi import prepare
from busi_unet.errors import UsageError
from busi_unet.learning.distillation import Taught, Teachers, distillation_loss
from busi_unet.learning.options import TrainOptions
from busi_unet.learning.training import train
from busi_unet.model.unet import UNet, UNetOutput


def network(seed: int) -> UNet:
    torch.manual_seed(seed)
    return UNet(Architecture("plain", 4))


@pytest.fixture
def options(prepared, tmp_path) -> TrainOptions:
    return TrainOptions(
        data=prepared, output=tmp_path / "run", encoder="plain", width=4, size=32, epochs=1, batch_size=4
    )


@pytest.fixture
def teacher(options, tmp_path) -> str:
    return str(train(dataclasses.replace(options, seed=5, output=tmp_path / "teacher")))


def test_several_teachers_say_the_mean_of_their_probabilities():
    x = torch.rand(2, 1, 32, 32)
    one, two = network(1).eval(), network(2).eval()
    with torch.no_grad():
        first, second = one(x), two(x)
    taught = Teachers([(one, 1.0), (two, 2.0)])(x)
    assert taught.mask.shape == (2, 1, 32, 32) and taught.classes.shape == (2, 3)
    torch.testing.assert_close(taught.mask, (first.mask_logits.sigmoid() + second.mask_logits.sigmoid()) / 2)
    expected = (first.class_logits.softmax(1) + (second.class_logits / 2).softmax(1)) / 2
    torch.testing.assert_close(taught.classes, expected)


def test_teachers_do_not_learn():
    one = network(1).train()
    before = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    taught = Teachers([(one, 1.0)])(torch.rand(4, 1, 32, 32))
    assert not taught.mask.requires_grad and not taught.classes.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in one.state_dict().items())


def test_the_loss_is_least_where_the_pupil_says_the_same():
    taught = Taught(torch.full((1, 1, 4, 4), 0.25), torch.tensor([[0.2, 0.3, 0.5]]))
    same = UNetOutput(torch.full((1, 1, 4, 4), 0.25).logit(), taught.classes.log())
    entropy = -(0.25 * torch.tensor(0.25).log() + 0.75 * torch.tensor(0.75).log())
    of_classes = -(taught.classes * taught.classes.log()).sum()
    least = distillation_loss(same, taught, class_weight=0.1)
    assert least.item() == pytest.approx((entropy + 0.1 * of_classes).item(), rel=1e-5)
    for other in (
        UNetOutput(same.mask_logits + 0.5, same.class_logits),
        UNetOutput(same.mask_logits, same.class_logits + torch.tensor([[0.5, 0.0, 0.0]])),
    ):
        assert distillation_loss(other, taught, class_weight=0.1) > least


def test_half_precision_is_no_matter():
    taught = Taught(torch.full((1, 1, 4, 4), 0.25), torch.full((1, 3), 1 / 3))
    half = UNetOutput(torch.zeros(1, 1, 4, 4, dtype=torch.bfloat16), torch.zeros(1, 3, dtype=torch.bfloat16))
    assert distillation_loss(half, taught).dtype == torch.float32


def test_a_run_learns_from_its_teachers_and_goes_on_with_them(options, teacher, tmp_path):
    taught = dataclasses.replace(options, teachers=(teacher,), output=tmp_path / "taught")
    alone, pupil = (load_file(train(each) / "model.safetensors") for each in (options, taught))
    assert alone.keys() == pupil.keys()
    assert any(not torch.equal(alone[name], pupil[name]) for name in alone)
    assert load_config(tmp_path / "taught" / "model").training["options"]["teachers"] == [teacher]
    assert json.loads((tmp_path / "taught" / "options.json").read_text())["teachers"] == [teacher]
    assert (
        train(dataclasses.replace(taught, teachers=[teacher], resume=True)) == tmp_path / "taught" / "model"
    )
    with pytest.raises(UsageError, match="--teachers was"):
        train(dataclasses.replace(taught, teachers=(), resume=True))


def test_teachers_that_know_too_much_or_too_little_are_refused(options, teacher, phantom_root, tmp_path):
    taught = dataclasses.replace(options, teachers=(teacher,), output=tmp_path / "taught")
    prepare(phantom_root, tmp_path / "rotated", test_fold=2, progress=False)
    with pytest.raises(UsageError, match="another split"):
        train(dataclasses.replace(taught, data=tmp_path / "rotated"))
    with pytest.raises(UsageError, match="tuned for --size 32, not 64"):
        train(dataclasses.replace(taught, size=64))
    with pytest.raises(UsageError, match="nowhere is no model folder"):
        train(dataclasses.replace(taught, teachers=("nowhere",)))
    config = load_config(teacher)
    made_on = config.training["data"]
    for training, message in (
        ({}, "does not tell what it was trained on"),
        ({"data": {**made_on, "trained_on": ["train", "validation"]}}, "on the validation images too"),
        ({"task": "restores", "data": made_on}, "has not learned to outline"),
    ):
        save_config(teacher, dataclasses.replace(config, training=training))
        with pytest.raises(UsageError, match=message):
            train(taught)
