"""Leakage check: which images a model has not seen, by the record that its training left in its config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from busi_unet.config import ModelConfig
from busi_unet.data.prepared import (
    IMAGE_BY_IMAGE,
    SPLITS,
    leave_out,
    resplit,
    sources_of,
    split_hash,
)
from busi_unet.errors import DataLayoutError, UsageError
from busi_unet.inference.predictor import Predictor
from busi_unet.models.folder import model_hash, weights_hash

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

ALL = "all"
"""In place of a split: its images are those of all splits."""


class Split(NamedTuple):
    """A data set, split for a model.

    Attributes:
        data: with the model's own folds for testing and validation, where its record names them.
        own: whether, image by image, it is the split that the model was made on; None where the model has no
            record of that.
        trained_on: names of the splits whose images the weights have seen, if it is that split.
        foreign: whether all images come from sources that the model was not made on.
    """

    data: DatasetDict
    own: bool | None
    trained_on: tuple[str, ...]
    foreign: bool

    def doubt(self, name: str) -> str:
        """Return why metrics on a split, or `ALL`, may flatter the model; empty for a fair test."""
        if self.foreign:
            return ""
        if not self.own:
            made = (
                "has no record of its data" if self.own is None else "was made on another split or other data"
            )
            return f"The model {made}: it may have been trained on these images."
        if name == ALL:
            return f"The model was trained on these images, except the {len(self.data['test'])} for testing."
        if name in self.trained_on:
            return "The model was trained on these images: the metrics say nothing about new ones."
        if name == "validation":
            return (
                "Epoch, calibration and thresholds were chosen on these images: the metrics are optimistic."
            )
        return ""


def model_and_images(
    model: str, data: DatasetDict, split: str, *, device: str = "auto"
) -> tuple[Predictor, Dataset, dict[str, Any]]:
    """Return a model, the images of a split of the folds it was made for, and the provenance of both.

    The model is a folder, a Hub id or "embedded", the split "train", "validation", "test" or `ALL` of the
    prepared data set, whatever fold that was prepared for. The provenance has the hashes of the model,
    whether all images are of hospitals that it has not seen and, as "warnings", what the metrics suffer from.
    """
    import datasets

    predictor = Predictor.from_pretrained(None if model == "embedded" else model, device=device)
    found, seen = split_for(predictor.config, data), seen_sources(predictor.config)
    warnings = [found.doubt(split)]
    if ignored_copies(predictor.config.training):
        warnings.append("The model's folds ignore copies: it was trained on copies of these images.")
    if not predictor.config.calibration.fitted:
        warnings.append("The model's probabilities are not calibrated: they may be far too high or too low.")
    names = SPLITS if split == ALL else [split]
    images = datasets.concatenate_datasets([found.data[name] for name in names])
    if not len(images):
        raise DataLayoutError(f"The data set has no {split} images of this model's folds.")
    provenance = {
        "model": predictor.source,
        **hashes(predictor.folder),
        "split": split,
        "split_is_the_models_own": found.own,
        "unseen_hospital": bool(seen) and seen.isdisjoint(images["source"]),
        "warnings": [warning for warning in warnings if warning],
    }
    return predictor, images, provenance


def hashes(folder: Path) -> dict[str, str]:
    """Return what tells a model folder from every other, for the provenance of metrics."""
    return {"weights_sha256": weights_hash(folder), "model_sha256": model_hash(folder)}


def split_for(config: ModelConfig, data: DatasetDict) -> Split:
    """Return the data split for a model: whatever they were prepared for, by what it has not seen."""
    made_on, sources = config.training.get("data", {}), sources_of(data)
    tested, left_out = made_on.get("folds", {}).get("test", []), made_on.get("left_out")
    if left_out in sources and len(sources) > 1:
        data = leave_out(data, left_out)
    elif left_out is None and len(tested) == 1:
        data = resplit(data, tested[0])
    recorded, known = made_on.get("split_sha256"), seen_sources(config)
    return Split(
        data,
        own=None if recorded is None else recorded == split_hash(data),
        trained_on=trained_on(config.training),
        foreign=bool(known) and not known & set(sources),
    )


def seen_sources(config: ModelConfig) -> set[str]:
    """Return the sources that a model was trained or validated on, by its record; empty without one."""
    sources = config.training.get("data", {}).get("sources", {})
    return {source for split in ("train", "validation") for source in sources.get(split, ())}


def require_unseen(folder: str, config: ModelConfig, data: DatasetDict, *, validates: bool) -> None:
    """Refuse a model that has seen what a training from it, or its own, holds back.

    The data are split as for that training, which holds back the validation images, too, if it `validates`.

    Raises:
        UsageError: it was made on another split, does not tell on which, or has seen what is validated on.
    """
    before = config.training.get("data", {}).get("split_sha256")
    if before is None:
        raise UsageError(
            f"{folder} has no record of what it was trained on: it may have seen the test images.",
            "Name the folder model/ of a finished run.",
        )
    if before != split_hash(data):
        raise UsageError(
            f"{folder} was trained on another split of the data: it may have seen the test images.",
            "Use the data and the --fold it was trained with, or another model.",
        )
    if validates and "validation" in trained_on(config.training):
        raise UsageError(
            f"{folder} was trained on the validation images too: nothing unseen is left to choose by.",
            "Use another model.",
        )


def trained_on(training: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the splits whose images the weights have seen, by the record of their training."""
    return tuple(training.get("data", {}).get("trained_on", ("train",)))


def ignored_copies(training: Mapping[str, Any]) -> bool:
    """Return whether copies of one image lay in several folds, by the record of a training."""
    return training.get("data", {}).get("folds_from") == IMAGE_BY_IMAGE
