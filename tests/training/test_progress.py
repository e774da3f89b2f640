import torch

from busi_unet.training.progress import Progress, Tally


def test_a_tally_leaves_lesion_free_images_out_of_the_dice():
    tally = Tally()
    tally.add(torch.tensor([1.0, 3.0]), torch.tensor([0.5, torch.nan]), torch.tensor([True, False]))
    assert tally.means("x") == {"x_loss": 2.0, "x_dice": 0.5, "x_accuracy": 0.5}
    assert Tally(*tally.sums()) == tally
    none = Tally()
    none.add(torch.tensor([1.0]), torch.tensor([torch.nan]), torch.tensor([True]))
    assert none.means("x")["x_dice"] is None


def test_progress_comes_back_from_a_file(tmp_path):
    progress = Progress(epoch=2, step=3, tally=Tally(1.5, 4, 0.5, 1, 3), history=[{"epoch": 1}, {"epoch": 2}])
    torch.save(progress.state_dict(), tmp_path / "state.pt")
    restored = Progress()
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert restored == progress
