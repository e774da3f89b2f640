"""TensorBoard and trackio: the curves of a run, and what its network draws on the same few images.

    run folder
    ├── tensorboard/     event files
    └── trackio/         data base and images; TRACKIO_DIR names another place

Both are written by the main process alone. A resumed run continues the tracker's run where the checkpoint
ends. TensorBoard drops what was logged after that; trackio keeps both values of such an epoch.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from busi_unet.config import CLASS_NAMES
from busi_unet.data.torch_dataset import LesionDataset
from busi_unet.errors import MissingDependencyError
from busi_unet.imaging.overlay import draw_overlay
from busi_unet.models.unet import UNetOutput
from busi_unet.training.options import TrainOptions

if TYPE_CHECKING:
    from accelerate import Accelerator
    from PIL import Image

PROJECT = "busi_unet"
IMAGES = 4


def open_trackers(options: TrainOptions, accelerator: Accelerator, *, resumed_at: int = 0) -> None:
    """Start the tracker that was asked for, if any.

    Args:
        options: of the run.
        accelerator: made with `log_with=options.tracker`, or None for none.
        resumed_at: epochs that the checkpoint holds; 0 for a new run.

    Raises:
        MissingDependencyError: the tracker is not installed.
    """
    if options.tracker == "none":
        return
    if not accelerator.log_with:
        raise MissingDependencyError(
            f"The tracker {options.tracker} is not installed.", 'Run: pip install "busi-unet[trackers]"'
        )
    if options.tracker == "tensorboard":
        name, settings = "tensorboard", {"purge_step": resumed_at + 1}
    else:
        # trackio reads it when it is first imported.
        os.environ.setdefault("TRACKIO_DIR", str((options.output / "trackio").resolve()))
        # Where several runs share a folder, one of the same name may be another run.
        resume = "allow" if options.resume else "never"
        run_name = options.output.resolve().name
        name, settings = PROJECT, {"name": run_name, "resume": resume, "config": options.to_dict()}
    if accelerator.is_main_process:
        with redirect_stdout(sys.stderr):
            accelerator.init_trackers(name, init_kwargs={options.tracker: settings})


def log_epoch(accelerator: Accelerator, row: dict[str, Any], epoch: int) -> None:
    """Log a row of the history under the names it has there, epochs from 1; None is left out."""
    accelerator.log(
        {name: value for name, value in row.items() if value is not None and name != "epoch"}, step=epoch
    )


def log_overlays(
    accelerator: Accelerator, model: nn.Module, validation_set: LesionDataset, epoch: int
) -> None:
    """Log the same validation images every epoch: reference contour blue, predicted contour orange.

    Does nothing without a tracker, and on every process but the main one.

    Args:
        accelerator: with trackers opened by `open_trackers`.
        model: in evaluation mode; gives a `UNetOutput`.
        validation_set: not augmented.
        epoch: from 1.
    """
    if not accelerator.trackers:
        return
    indices = choose_images(validation_set.labels)
    overlays, classes = draw_predictions(accelerator, model, validation_set, indices)
    for position, (index, overlay, predicted) in enumerate(zip(indices, overlays, classes, strict=True), 1):
        image_id = validation_set.image_ids[index]
        tag = f"overlays/{position}_" + re.sub(r"\W+", "_", image_id).strip("_")
        for tracker in accelerator.trackers:
            if tracker.name == "tensorboard":
                tracker.tracker.add_image(tag, np.asarray(overlay), epoch, dataformats="HWC")
                tracker.tracker.flush()
            else:
                import trackio

                caption = f"{image_id}, classified {predicted}; reference blue, prediction orange"
                tracker.log({tag: trackio.Image(overlay, caption=caption)}, step=epoch)


def close_trackers(accelerator: Accelerator) -> None:
    """Write out what is still held back and end the run; stdout is kept for results."""
    names = [tracker.name for tracker in accelerator.trackers]
    with redirect_stdout(sys.stderr):
        accelerator.end_training()
        if "trackio" in names:
            import trackio

            # It would otherwise finish the run once more at exit, and say so on stdout.
            trackio.finish()


def choose_images(labels: np.ndarray) -> list[int]:
    """Return indices of a few images: one of every class first, then any.

    The choice depends on the labels int64 (N,) alone, not on the seed of the run, so that runs on one
    split show the same images.
    """
    order = np.random.default_rng(0).permutation(len(labels)).tolist()
    firsts = [next((i for i in order if labels[i] == label), None) for label in range(len(CLASS_NAMES))]
    chosen = [index for index in firsts if index is not None]
    return [*chosen, *(index for index in order if index not in chosen)][:IMAGES]


@torch.inference_mode()
def draw_predictions(
    accelerator: Accelerator, model: nn.Module, dataset: LesionDataset, indices: list[int]
) -> tuple[list[Image.Image], list[str]]:
    """Return overlays (S, S) at network resolution and predicted class names, in the order of `indices`."""
    images = torch.stack([dataset[index].image for index in indices]).to(accelerator.device)
    with accelerator.autocast():
        output = UNetOutput(*model(images))
    overlays = []
    for index, logits in zip(indices, output.mask_logits[:, 0], strict=True):
        reference = draw_overlay(dataset.images[index], dataset.masks[index], color="sky blue", opacity=0)
        predicted = (logits > 0).cpu().numpy()
        overlays.append(draw_overlay(np.asarray(reference), predicted, color="orange", opacity=0))
    return overlays, [CLASS_NAMES[label] for label in output.class_logits.argmax(1).tolist()]
