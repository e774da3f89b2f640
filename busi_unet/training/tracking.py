"""TensorBoard and trackio: the curves of a run, and what its network draws on an image of each class.

The main process writes to the folders tensorboard/ or trackio/ (or TRACKIO_DIR) of the run. A resumed run
continues there; TensorBoard drops what was logged after the checkpoint, trackio keeps both values.
"""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from busi_unet.config import CLASS_NAMES
from busi_unet.data.torch_dataset import LesionDataset
from busi_unet.errors import MissingDependencyError
from busi_unet.imaging.overlay import draw_agreement
from busi_unet.training.options import TrainOptions

if TYPE_CHECKING:
    from accelerate import Accelerator


def open_tracker(options: TrainOptions, accelerator: Accelerator, *, resumed_at: int) -> None:
    """Start the tracker that was asked for, if any; `resumed_at` counts the epochs of the checkpoint.

    Raises:
        MissingDependencyError: the tracker is not installed.
    """
    if options.tracker == "none":
        return
    if not accelerator.log_with:
        raise MissingDependencyError(
            f"The tracker {options.tracker} is not installed.", 'Run: pip install "busi-unet[trackers]"'
        )
    # trackio reads it when it is first imported.
    os.environ.setdefault("TRACKIO_DIR", str((options.output / "trackio").resolve()))
    settings = {
        "tensorboard": {"purge_step": resumed_at + 1},
        # Where several runs share a folder, one of the same name may be another run.
        "trackio": {
            "name": options.output.resolve().name,
            "resume": "allow" if options.resume else "never",
            "config": options.to_dict(),
        },
    }
    name = "tensorboard" if options.tracker == "tensorboard" else "busi_unet"
    with redirect_stdout(sys.stderr):
        accelerator.init_trackers(name, init_kwargs=settings)


@torch.inference_mode()
def log_overlays(accelerator: Accelerator, model: nn.Module, dataset: LesionDataset, epoch: int) -> None:
    """Log where prediction and reference agree on the first image of every class."""
    if not (accelerator.trackers and accelerator.is_main_process):
        return
    (tracker,) = accelerator.trackers
    for label, name in enumerate(CLASS_NAMES):
        for index in np.flatnonzero(dataset.labels == label)[:1]:
            item = dataset[index]
            with accelerator.autocast():
                mask_logits, _ = model(item.image[None].to(accelerator.device))
            predicted = (mask_logits[0, 0] > 0).cpu().numpy()
            overlay = draw_agreement(dataset.images[index], predicted, item.mask[0].numpy() > 0)
            if tracker.name == "tensorboard":
                tracker.log_images({f"overlays/{name}": np.asarray(overlay)[None]}, epoch, dataformats="NHWC")
            else:
                import trackio

                tracker.log({f"overlays/{name}": trackio.Image(overlay)}, epoch)


def close_tracker(accelerator: Accelerator) -> None:
    """Write out what is still held back and end the run; stdout is kept for results."""
    names = [tracker.name for tracker in accelerator.trackers]
    with redirect_stdout(sys.stderr):
        accelerator.end_training()
        if "trackio" in names and accelerator.is_main_process:
            import trackio

            # It would otherwise finish the run once more at exit, and say so on stdout.
            trackio.finish()
