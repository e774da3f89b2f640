"""Start weights learned from the pictures alone: the network restores what was blotted out of them.

Context encoders (Pathak et al. 2016, arXiv:1604.07379); with the skip connections of a U-Net, as in Models
Genesis (Zhou et al. 2019, arXiv:1908.06912). Neither masks nor classes are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from busi_unet.bundle import save_bundle
from busi_unet.config import BundleConfig, Preprocess
from busi_unet.data.busi import load_prepared, resplit, split_hash
from busi_unet.errors import TrainingError, UsageError
from busi_unet.learning.checkpoint import writing
from busi_unet.learning.dataset import Batch
from busi_unet.learning.options import NOT_IN_PRETEXT, TrainOptions
from busi_unet.learning.run import build_accelerator, build_run, load_pictures
from busi_unet.version import versions

if TYPE_CHECKING:
    from datasets import DatasetDict

# Blots of a quarter of the side on average; six cover about a third of the picture.
_BLOTS, _SIDE = 6, (1 / 8, 3 / 8)


def pretrain(options: TrainOptions, *, progress: bool = True) -> Path:
    """Trains the network to restore the pictures of the train split, and saves it for `--init`.

    Args:
        options: those named in `NOT_IN_PRETEXT` have no effect.
        progress: shows bars on stderr.

    Returns:
        The model folder `model` in `options.output`. Its mask head restores grey values, and its class head
        is as it started: it is made to start from, and its record says so.

    Raises:
        UsageError: options that do not fit together, several processes, or the output holds a model already.
        DataLayoutError: the data set cannot be used.
        TrainingError: the output cannot be written, or the loss is no number any more.
    """
    folder = options.output / "model"
    if folder.exists():
        raise UsageError(f"{folder} exists already.", "Name another --output.")
    defaults = {name: getattr(TrainOptions, name) for name in NOT_IN_PRETEXT}
    options = replace(options, **{**defaults, "mixup": 0.0})
    accelerator = build_accelerator(options)
    if accelerator.num_processes > 1:
        raise UsageError("The pretext runs in one process.", "Start it without a launcher.")
    # Before the long part: a folder that cannot be written shall not cost it.
    with writing(options.output):
        options.output.mkdir(parents=True, exist_ok=True)
    data = load_prepared(options.data)
    if options.fold is not None:
        data = resplit(data, options.fold, options.validation_fold)
    pictures, _ = load_pictures(options, data, progress=progress)
    run = build_run(options, accelerator, data, pictures, None)
    preprocess = Preprocess(size=options.size)
    losses: list[float] = []
    bar = tqdm(total=options.epochs * run.steps_per_epoch, desc="pretext", unit="step", disable=not progress)
    with bar:
        for epoch in range(options.epochs):
            pictures.epoch = epoch
            run.model.train()
            total = 0.0
            for step, batch in enumerate(run.train_loader):
                batch = Batch(*batch)
                generator = torch.Generator().manual_seed(options.seed + epoch * run.steps_per_epoch + step)
                blots = blotted(batch.image.shape, generator).to(batch.image.device)
                grey = batch.image * preprocess.std + preprocess.mean
                with accelerator.autocast():
                    logits, _ = run.model(torch.where(blots, 0.0, batch.image))
                loss = restoration_loss(logits.to(grey.dtype), grey, blots)
                if not loss.isfinite():
                    raise TrainingError(
                        f"The loss of epoch {epoch + 1} is {loss.item()}.", "Use a lower --learning-rate."
                    )
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(run.model.parameters(), 1.0)
                run.optimizer.step()
                run.optimizer.zero_grad()
                run.scheduler.step()
                run.ema.update_parameters(accelerator.unwrap_model(run.model))
                total += loss.item()
                bar.update()
            losses.append(total / run.steps_per_epoch)
            bar.set_postfix(loss=f"{losses[-1]:.4f}")
    model = run.ema.module
    config = BundleConfig(
        architecture=model.architecture, preprocess=preprocess, training=_record(options, data, losses)
    )
    with writing(options.output):
        save_bundle(folder, model.cpu(), config)
    return folder


def blotted(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """bool (N, 1, S, S), where rectangles cover the pictures; they may overlap.

    Args:
        shape: (N, 1, S, S).
        generator: on the CPU.
    """
    side = shape[-1]
    smallest, largest = (round(share * side) for share in _SIDE)
    blots = torch.zeros(tuple(shape), dtype=torch.bool)
    for picture in blots[:, 0]:
        for _ in range(_BLOTS):
            height, width = torch.randint(smallest, largest + 1, (2,), generator=generator).tolist()
            top = int(torch.randint(0, side - height + 1, (1,), generator=generator))
            left = int(torch.randint(0, side - width + 1, (1,), generator=generator))
            picture[top : top + height, left : left + width] = True
    return blots


def restoration_loss(logits: Tensor, grey: Tensor, blots: Tensor) -> Tensor:
    """Mean absolute error of the grey values under the blots.

    Args:
        logits: (N, 1, S, S); their sigmoid is the restored grey value.
        grey: (N, 1, S, S), 0 to 1.
        blots: bool (N, 1, S, S), not empty.
    """
    return F.l1_loss(logits.sigmoid()[blots], grey[blots])


def _record(options: TrainOptions, data: DatasetDict, losses: Sequence[float]) -> dict[str, Any]:
    unused = {*NOT_IN_PRETEXT, "data", "output"}
    return {
        "task": "restores what was blotted out; no masks, no classes",
        "options": {name: value for name, value in options.to_dict().items() if name not in unused},
        "data": {
            "folds": {split: sorted(set(data[split]["fold"])) for split in ("train", "validation", "test")},
            "split_sha256": split_hash(data),
            "trained_on": ["train"],
        },
        "restoration_loss": [round(loss, 4) for loss in losses],
        "versions": versions("accelerate", "datasets", "numpy", "torch"),
    }
