import torch

from busi_unet.data.torch_dataset import Batch
from busi_unet.models.unet import UNetOutput
from busi_unet.training.progress import Progress, Tally


def test_a_tally_leaves_lesion_free_images_out_of_the_dice():
    mask = torch.zeros(2, 1, 2, 2)
    mask[0, 0, 0] = 1
    logits = torch.full((2, 1, 2, 2), -1.0)
    logits[0, 0, 0, 0] = 1  # Dice 2 · 1 / (1 + 2)
    known = torch.ones(2, dtype=torch.bool)
    batch = Batch(torch.zeros_like(mask), mask, known, torch.tensor([1, 0]), torch.arange(2))
    tally = Tally()
    tally.add(UNetOutput(logits, torch.eye(3)[[1, 1]]), batch, torch.tensor([1.0, 3.0]))
    means = tally.means("x")
    assert (means["x_loss"], round(means["x_dice"], 4), means["x_accuracy"]) == (2.0, 0.6667, 0.5)
    assert Tally(*tally.sums()) == tally
    assert Tally().means("x")["x_dice"] is None


def test_the_best_epoch_is_kept_in_mind():
    progress = Progress()
    rows = [{"validation_dice": dice, "validation_accuracy": 0.5} for dice in (0.5, 0.7, 0.6)]
    assert [progress.finish_epoch(row, validated=True) for row in rows] == [True, True, False]
    assert (progress.epoch, progress.best_epoch, progress.best_score) == (3, 2, 0.6)
    assert [row["epoch"] for row in progress.history] == [1, 2, 3]
    assert progress.finish_epoch(rows[0], validated=False)
    assert progress.best_epoch == 4


def test_progress_comes_back_from_a_file(tmp_path):
    progress = Progress(
        epoch=2, step=3, tally=Tally(1.5, 4, 0.5, 1, 4, 3), history=[{"epoch": 1}, {"epoch": 2}]
    )
    torch.save(progress.state_dict(), tmp_path / "state.pt")
    restored = Progress()
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert restored == progress
