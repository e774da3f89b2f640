"""Which images a model was made to be judged on, by the record that its training left in its config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from busi_unet.bundle import load_config
from busi_unet.config import BundleConfig
from busi_unet.data.busi import resplit, split_hash
from busi_unet.data.folds import N_FOLDS
from busi_unet.errors import UsageError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


class Split(NamedTuple):
    """A data set, split for a model.

    Attributes:
        data: with the model's own folds for testing and validation, where its record names them; as it was
            otherwise.
        own: whether, image by image, it is the split that the model was made on; None where the model has no
            record of that.
    """

    data: DatasetDict
    own: bool | None

    @property
    def doubt(self) -> str:
        """Why the model may have been trained on any of these images, a sentence; empty where not."""
        if self.own:
            return ""
        made_on = "does not tell which data it was made on"
        if self.own is False:
            made_on = "was made on another split or on other data"
        return f"the model {made_on}: it may have been trained on these images."


def split_for(config: BundleConfig, data: DatasetDict) -> Split:
    """Whatever fold the data were prepared for, a model is judged on the one it has not seen."""
    made_on = config.training.get("data", {})
    folds = made_on.get("folds", {})
    tested, validated = folds.get("test", []), folds.get("validation", [])
    if len(tested) == 1:
        data = resplit(data, tested[0], validated[0] if len(validated) == 1 else None)
    recorded = made_on.get("split_sha256")
    return Split(data, None if recorded is None else recorded == split_hash(data))


def cross_validated(folder: Path, data: DatasetDict) -> list[tuple[Path, Dataset]]:
    """Each model folder of a cross-validation, in the order of the folds, and the images it has not seen.

    Args:
        folder: as `busi_unet.learning.cross_validation` leaves it.
        data: the images of all folds.

    Raises:
        UsageError: no such folder, a fold without a model, or a model that was made on another split.
        IncompatibleBundleError: a model folder that cannot be read.
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
