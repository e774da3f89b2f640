"""Which images a model has not seen, by the record that its training left in its config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from busi_unet.config import ModelConfig
from busi_unet.data.folds import N_FOLDS
from busi_unet.data.prepared import IMAGE_BY_IMAGE, leave_out, resplit, split_hash
from busi_unet.errors import UsageError
from busi_unet.inference.predictor import Predictor
from busi_unet.models.pretrained import load_config, model_hash, weights_hash

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


class Split(NamedTuple):
    """A data set, split for a model.

    Attributes:
        data: with the model's own folds for testing and validation, where its record names them; as it was
            otherwise.
        own: whether, image by image, it is the split that the model was made on; None where the model has no
            record of that.
        trained_on: names of the splits whose images the weights have seen, if it is that split.
    """

    data: DatasetDict
    own: bool | None
    trained_on: tuple[str, ...]

    def doubt(self, name: str) -> str:
        """Why figures on the split of this name may flatter the model, a sentence; empty for a fair test."""
        if self.own is None:
            return (
                "the model does not tell which data it was made on: it may have been trained on these images."
            )
        if not self.own:
            return (
                "the model was made on another split or on other data: it may have been trained on these "
                "images."
            )
        if name in self.trained_on:
            return "the model was trained on these images: the figures say nothing about new ones."
        if name == "validation":
            return "epoch, calibration and thresholds were chosen on these images: the figures flatter."
        return ""


class Subject(NamedTuple):
    """A model and the images that it is to be judged on.

    Attributes:
        predictor: the model.
        images: one split of the data.
        provenance: which model and split these are, for the provenance of the figures.
        doubts: what the figures suffer from, a sentence each.
    """

    predictor: Predictor
    images: Dataset
    provenance: dict[str, Any]
    doubts: list[str]


def subject(model: str, data: DatasetDict, split: str, *, device: str = "auto") -> Subject:
    """What `evaluate` and `robustness` judge: a model on a split of the folds it was made for.

    Args:
        model: model folder, Hub id, or "embedded".
        data: the prepared data set, whatever fold it was prepared for.
        split: "train", "validation" or "test".
        device: as `Predictor.from_pretrained` takes it.

    Raises:
        BusiUNetError: as `Predictor.from_pretrained` does.
    """
    predictor = Predictor.from_pretrained(None if model == "embedded" else model, device=device)
    found = split_for(predictor.config, data)
    doubts = [found.doubt(split)]
    if ignored_copies(predictor.config.training):
        doubts.append("the model's folds ignore copies: it was trained on copies of these images.")
    if not predictor.config.calibration.fitted:
        doubts.append("the model's probabilities are not calibrated: they may be far too sure.")
    provenance = {
        "model": predictor.source,
        **hashes(predictor.folder),
        "split": split,
        "split_is_the_models_own": found.own,
    }
    return Subject(predictor, found.data[split], provenance, [doubt for doubt in doubts if doubt])


def hashes(folder: Path) -> dict[str, str]:
    """What tells a model folder from every other, for the provenance of figures."""
    return {"weights_sha256": weights_hash(folder), "model_sha256": model_hash(folder)}


def split_for(config: ModelConfig, data: DatasetDict) -> Split:
    """Whatever fold the data were prepared for, a model is judged on the one it has not seen."""
    made_on = config.training.get("data", {})
    folds = made_on.get("folds", {})
    tested, validated = folds.get("test", []), folds.get("validation", [])
    if made_on.get("left_out"):
        data = leave_out(data, made_on["left_out"])
    elif len(tested) == 1:
        data = resplit(data, tested[0], validated[0] if len(validated) == 1 else None)
    recorded = made_on.get("split_sha256")
    own = None if recorded is None else recorded == split_hash(data)
    return Split(data, own, trained_on(config.training))


def require_unseen(
    flag: str, folder: str, config: ModelConfig, data: DatasetDict, *, validates: bool
) -> None:
    """A model that a training learns from knows nothing of what the training holds back.

    Args:
        flag: that named the model.
        folder: of the model.
        config: of the model.
        data: split as for the training.
        validates: whether the training holds back the validation images, too.

    Raises:
        UsageError: it was made on another split, does not tell on which, or has seen what is validated on.
    """
    before = config.training.get("data", {}).get("split_sha256")
    if before is None:
        raise UsageError(
            f"{flag} {folder} does not tell what it was trained on, so it may know the test images.",
            "Name the folder model/ of a finished run.",
        )
    if before != split_hash(data):
        raise UsageError(
            f"{flag} {folder} was trained on another split of the data, so it may know the test images.",
            "Use the data and the --fold it was trained with, or another model.",
        )
    if validates and "validation" in trained_on(config.training):
        raise UsageError(
            f"{flag} {folder} was trained on the validation images too: nothing unseen is left to choose by.",
            "Use another model.",
        )


def trained_on(training: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the splits whose images the weights have seen, by the record of their training."""
    return tuple(training.get("data", {}).get("trained_on", ("train",)))


def ignored_copies(training: Mapping[str, Any]) -> bool:
    """Whether copies of one picture lay in several folds, by the record of a training."""
    return training.get("data", {}).get("folds_from") == IMAGE_BY_IMAGE


def cross_validated(folder: Path, data: DatasetDict) -> list[tuple[Path, Dataset]]:
    """Each model folder of a cross-validation, in the order of the folds, and the images it has not seen.

    Args:
        folder: as `busi_unet.training.cross_validation` leaves it.
        data: the images of all folds.

    Raises:
        UsageError: no such folder, a fold without a model, or a model that was made on another split.
        IncompatibleModelError: a model folder that cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", "Name the output of scripts/cross_validate.py.")
    models = [folder / f"fold-{fold}" / "model" for fold in range(N_FOLDS)]
    missing = [model for model in models if not (model / "config.json").is_file()]
    if missing:
        raise UsageError(
            f"{folder} is no complete cross-validation: there is no {missing[0]}.",
            "Finish it with scripts/cross_validate.py.",
        )
    pairs = []
    for fold, model in enumerate(models):
        split = split_for(load_config(model), data)
        if not split.own or set(split.data["test"]["fold"]) != {fold}:
            raise UsageError(
                f"{model} was not made to be tested on fold {fold} of these data.",
                "Name the data set that the cross-validation was made on with --data.",
            )
        pairs.append((model, split.data["test"]))
    return pairs
