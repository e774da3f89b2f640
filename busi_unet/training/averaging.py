"""One network from several: the mean of their weights (model soups, Wortsman et al. 2022, arXiv:2203.05482).

It keeps part of what an ensemble of them gives, at the time of one. That holds for networks that were trained
from the same start weights, which the same `--init` and `--seed` give, and otherwise differently:
augmentation, epochs, regularisation. The mean of networks from different starts knows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import concatenate_datasets
from torch import Tensor
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader
from tqdm import tqdm

from busi_unet.config import BundleConfig
from busi_unet.data.augment import AUGMENTATIONS
from busi_unet.data.torch_dataset import Batch, EpochOrder, LesionDataset
from busi_unet.errors import UsageError
from busi_unet.evaluation.leakage import split_for, trained_on
from busi_unet.inference.predictor import Predictor
from busi_unet.inference.preprocess import Preprocessor
from busi_unet.io.files import whole_or_nothing
from busi_unet.models.pretrained import load_bundle, save_bundle, stored
from busi_unet.models.unet import UNet
from busi_unet.training.calibrate import calibrate_model
from busi_unet.training.options import TrainOptions

if TYPE_CHECKING:
    from datasets import DatasetDict

# Over the training images, each time augmented otherwise.
_PASSES = 3


def average_models(
    models: Sequence[Path], data: DatasetDict, output: Path, *, device: str = "auto", progress: bool = True
) -> Path:
    """Average networks, and save the result as a model of its own.

    Batch statistics do not average: they are taken anew, from the training images with the augmentation
    of the first member. Calibration and thresholds are fitted anew on the validation images; where the
    members were refitted on those, they are the first member's. The out-of-distribution limit is always
    fitted anew.

    Args:
        models: model folders, two or more, of one architecture, split and input size.
        data: the prepared data set that they were made on, whatever fold it was prepared for.
        output: model folder to write; there must be none yet.
        device: as `Predictor` takes it.
        progress: shows bars on stderr.

    Returns:
        `output`.

    Raises:
        UsageError: too few members, some that do not belong together, other data, or an output that exists.
        IncompatibleBundleError: a member cannot be read.
        BusiUNetError: the output cannot be written.
    """
    if output.exists():
        raise UsageError(f"{output} exists already.", "Name another folder.")
    if len(models) < 2:
        raise UsageError("Give at least two models to average.", "Name another model folder.")
    members = [load_bundle(folder) for folder in models]
    configs = [member.config for member in members]
    for folder, config in zip(models[1:], configs[1:], strict=True):
        _require_alike(models[0], configs[0], folder, config)
    split = split_for(configs[0], data)
    if not split.own:
        raise UsageError(
            f"{models[0]} was made on another split or on other data.",
            "Name the data set that it was made on.",
        )
    model = _mean([member.model for member in members])
    predictor = Predictor(model, configs[0], device=device)
    _take_batch_statistics(predictor, configs[0], split.data, progress)
    kept = configs[0] if "validation" in split.trained_on else None
    config, guard = calibrate_model(predictor, split.data, kept=kept, progress=progress)
    config = replace(config, training=_record(configs))
    with whole_or_nothing(output) as partial:
        save_bundle(partial, predictor.model.cpu(), config, guard)
    return output


def _require_alike(first: Path, one: BundleConfig, second: Path, other: BundleConfig) -> None:
    what = {
        "network": (one.architecture, other.architecture),
        "preprocessing": (one.preprocess, other.preprocess),
        "split": tuple(config.training.get("data", {}).get("split_sha256") for config in (one, other)),
        "training images": tuple(trained_on(config.training) for config in (one, other)),
        "start": tuple(_start(config.training) for config in (one, other)),
    }
    for name, values in what.items():
        if values[0] != values[1]:
            raise UsageError(
                f"{second} has another {name} than {first}.",
                "Average models of one network and split, trained from the same --init and --seed, or refits "
                "of one model.",
            )


def _start(training: Mapping[str, Any]) -> Any:
    """Return what tells the start weights of a training from others, by its record."""
    if training.get("refit_of"):
        return training["refit_of"]
    if training.get("average_of"):
        return _start(training["average_of"][0])
    options = training.get("options", {})
    # Whatever the seed, the weights of a model folder are what they are.
    return [
        options.get("init"),
        options.get("seed") if options.get("init") in ("imagenet", "random") else None,
    ]


def _mean(models: Sequence[UNet]) -> UNet:
    """Return the first, with the mean of the weights as a model folder rounds them."""
    states = [model.state_dict() for model in models]
    means = {
        name: torch.stack([state[name] for state in states]).mean(dim=0)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in states[0].items()
    }
    model = models[0]
    model.load_state_dict({name: stored(mean).to(mean.dtype) for name, mean in means.items()})
    return model


def _take_batch_statistics(
    predictor: Predictor, config: BundleConfig, data: DatasetDict, progress: bool
) -> None:
    options = {**TrainOptions().recipe(), **config.training.get("options", {})}
    images = LesionDataset(
        concatenate_datasets([data[name] for name in trained_on(config.training)]),
        Preprocessor(config.preprocess),
        augmentation=AUGMENTATIONS[options["augment"]],
        mixup=options["mixup"],
        seed=options["seed"],
        progress=progress,
    )
    # Shuffled as in training: batches of one class would hide the variance between classes.
    order = EpochOrder(images, options["batch_size"])
    loader = DataLoader(images, batch_size=options["batch_size"], sampler=order)

    def passes() -> Iterator[Tensor]:
        for images.epoch in range(_PASSES):
            for batch in tqdm(loader, desc="batch statistics", disable=not progress):
                yield Batch(*batch).image

    update_bn(passes(), predictor.model, predictor.device)


def _record(configs: Sequence[BundleConfig]) -> dict[str, Any]:
    """Return what the records of all members have in common, and each of them whole."""
    first = configs[0].training
    same = {
        name: value
        for name, value in first.get("options", {}).items()
        if all(config.training.get("options", {}).get(name) == value for config in configs)
    }
    return {
        "options": same,
        "data": first["data"],
        "average_of": [config.training for config in configs],
        "versions": first.get("versions", {}),
    }
