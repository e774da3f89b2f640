import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from busi_unet.bundle import load_config
from busi_unet.errors import TrainingError, UsageError
from busi_unet.learning.options import TrainOptions
from busi_unet.learning.pretext import blotted, pretrain, restoration_loss
from busi_unet.learning.training import train


def test_blots_cover_a_part_of_every_picture():
    blots = blotted((8, 1, 64, 64), torch.Generator().manual_seed(0))
    assert blots.dtype == torch.bool
    shares = blots.float().mean(dim=(1, 2, 3))
    assert shares.min() > 0.1 and shares.max() < 0.7
    assert 0.2 < shares.mean() < 0.4
    assert not torch.equal(blots[0], blots[1])
    again = blotted((8, 1, 64, 64), torch.Generator().manual_seed(0))
    assert torch.equal(blots, again)


def test_the_loss_is_the_error_under_the_blots():
    blots = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    blots[..., :2] = True
    grey = torch.full((1, 1, 4, 4), 0.75)
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    loss = restoration_loss(logits, grey, blots)
    assert loss.item() == pytest.approx(0.25)
    loss.backward()
    assert (logits.grad[blots] < 0).all()
    assert (logits.grad[~blots] == 0).all()


def test_the_network_learns_to_restore_and_is_a_start_for_training(prepared, tmp_path):
    options = TrainOptions(
        data=prepared,
        fold=0,
        output=tmp_path / "pretext",
        encoder="plain",
        width=4,
        size=32,
        epochs=8,
        batch_size=4,
        learning_rate=1e-2,
        init="random",
    )
    folder = pretrain(options, progress=False)
    record = load_config(folder).training
    losses = record["restoration_loss"]
    assert len(losses) == 8
    assert losses[-1] < 0.8 * losses[0]
    assert record["data"]["trained_on"] == ["train"]
    assert record["options"]["epochs"] == 8
    with pytest.raises(UsageError, match="exists already"):
        pretrain(options, progress=False)

    run = dataclasses.replace(options, init=str(folder), epochs=1, warmup=0, learning_rate=1e-9)
    started = load_file(train(dataclasses.replace(run, output=tmp_path / "run")) / "model.safetensors")
    name = "decoder.convolve.0.0.weight"
    torch.testing.assert_close(
        started[name], load_file(folder / "model.safetensors")[name], atol=1e-2, rtol=1e-2
    )
    with pytest.raises(UsageError, match="trained on another split"):
        train(dataclasses.replace(run, fold=1, output=tmp_path / "other"))


def test_a_loss_that_is_no_number_and_a_folder_that_is_a_file_end_it(prepared, tmp_path):
    options = TrainOptions(
        data=prepared, output=tmp_path / "run", encoder="plain", width=4, size=32, epochs=2, batch_size=4
    )
    with pytest.raises(TrainingError, match=r"The loss of epoch \d is nan.*lower --learning-rate"):
        pretrain(dataclasses.replace(options, learning_rate=1e30), progress=False)
    assert not (tmp_path / "run" / "model").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="file"):
        pretrain(dataclasses.replace(options, output=tmp_path / "file"), progress=False)
