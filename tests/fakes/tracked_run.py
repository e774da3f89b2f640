"""What a training run logs, without the training; a program, because trackio finds its folder only once.

python tracked_run.py TRACKER OUTPUT RESUMED_AT LAST_EPOCH [killed]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from busi_unet.config import Architecture, Preprocess
from busi_unet.data.torch_dataset import LesionDataset
from busi_unet.inference.preprocess import Preprocessor
from busi_unet.models.unet import UNet
from busi_unet.training.options import TrainOptions
from busi_unet.training.tracking import close_trackers, log_epoch, log_overlays, open_trackers
from fakes.made_up import make_split


def make_parts() -> tuple[UNet, LesionDataset]:
    torch.manual_seed(0)
    dataset = LesionDataset(make_split(), Preprocessor(Preprocess(size=32)), progress=False)
    return UNet(Architecture("plain", width=4)).eval(), dataset


def make_row(epoch: int, **changes) -> dict:
    """As in the history; 0.5 was the learning rate of an epoch that is repeated."""
    row = {"epoch": epoch, "learning_rate": 0.1 * epoch, "train_loss": 1 / epoch, "train_dice": None}
    return {**row, "validation_dice": 0.25, "validation_accuracy": 0.75, **changes}


def track(tracker: str, output: Path, resumed_at: int, last_epoch: int, killed: bool) -> None:
    output.mkdir(exist_ok=True)
    options = TrainOptions(output=output, tracker=tracker, resume=resumed_at > 0)
    accelerator = Accelerator(cpu=True, log_with=tracker, project_dir=output)
    open_trackers(options, accelerator, resumed_at=resumed_at)
    model, dataset = make_parts()
    for epoch in range(resumed_at + 1, last_epoch + 1):
        late = killed and epoch == last_epoch
        log_epoch(accelerator, make_row(epoch, **({"learning_rate": 0.5} if late else {})), epoch)
        log_overlays(accelerator, model, dataset, epoch)
    accelerator.wait_for_everyone()
    close_trackers(accelerator)


if __name__ == "__main__":
    track(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), "killed" in sys.argv)
    print(f"finished {os.environ.get('RANK', 0)}")
