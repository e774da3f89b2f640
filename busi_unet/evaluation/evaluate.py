"""Judging a predictor on a split of the prepared data set: figures and their intervals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tqdm import tqdm

from busi_unet.config import CLASS_NAMES
from busi_unet.data.prepared import COLUMNS
from busi_unet.errors import DataLayoutError, UsageError
from busi_unet.evaluation import metrics
from busi_unet.evaluation.report import require_matplotlib, write_report
from busi_unet.evaluation.subgroups import Marks, by_mark, check_marks
from busi_unet.evaluation.summary import LEVEL, Estimate, ImageResult, confusion_of, summarise
from busi_unet.inference.conformal import boundary_distances
from busi_unet.io.decode import decode_image
from busi_unet.io.masks import decode_mask
from busi_unet.version import commit, versions

if TYPE_CHECKING:
    from datasets import Dataset


class Segmenter(Protocol):
    """What `evaluate` asks of a predictor; `busi_unet.inference.predictor.Predictor` is one."""

    def predict(self, image: np.ndarray) -> Any:
        """Takes uint8 (H, W); returns the `mask`, `label`, `probabilities`, `flagged`, `refused`,
        `prediction_set` and `boundary_band` of a `Prediction`.
        """


@dataclass(frozen=True)
class Evaluation:
    """The outcome of `evaluate`.

    Attributes:
        rows: one per image, in the order of the split.
        estimates: figure by name, as `summarise` names them.
        confusion: counts of true class (row) by predicted class (column), in the order of CLASS_NAMES.
        provenance: what the figures come from: split, seed, data fingerprint, versions, and
            whatever the caller added.
        subsets: the estimates of a part of the rows, by its name; see `busi_unet.evaluation.subgroups`.
    """

    rows: tuple[ImageResult, ...]
    estimates: dict[str, Estimate]
    confusion: tuple[tuple[int, ...], ...]
    provenance: dict[str, Any]
    subsets: dict[str, dict[str, Estimate]] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, Any]:
        """Everything but the rows, ready for JSON."""
        return {
            "class_names": list(CLASS_NAMES),
            "confusion_matrix": [list(row) for row in self.confusion],
            "estimates": {name: asdict(estimate) for name, estimate in self.estimates.items()},
            "images": {name: sum(row.label == name for row in self.rows) for name in CLASS_NAMES},
            "groups": len({row.group for row in self.rows}),
            "refused": sum(row.refused for row in self.rows),
            "provenance": self.provenance,
            "subsets": {
                subset: {name: asdict(estimate) for name, estimate in estimates.items()}
                for subset, estimates in self.subsets.items()
            },
        }


def data_hash(split: Dataset) -> str:
    """The `data_sha256` that `evaluate` notes of these images, masks and labels."""
    content = hashlib.sha256()
    for item in split:
        label = split.features["label"].names[item["label"]]
        content.update(fingerprint(item, label, *decode_pair(item)))
    return content.hexdigest()


def evaluate(
    predictor: Segmenter,
    split: Dataset,
    *,
    output: str | Path | None = None,
    progress: bool = True,
    seed: int = 0,
    resamples: int = 2000,
    provenance: Mapping[str, Any] | None = None,
    marks: Marks | None = None,
) -> Evaluation:
    """Runs the predictor on every image of a split and scores it at native resolution.

    Images are predicted one at a time, as a user's would be. An image that the predictor refuses
    stays in every figure, with the mask and the class it was given: leaving it out would flatter.

    Args:
        predictor: see `Segmenter`.
        split: one split of the prepared data set (`busi_unet.data.prepared.load_prepared`).
        output: folder for the report (`busi_unet.evaluation.report`); nothing is written without it.
        progress: shows a progress bar on stderr.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        provenance: entries to add to `Evaluation.provenance`, such as model and command.
        marks: judges the images that have each mark, and those that have it not, apart too.

    Raises:
        DataLayoutError: the split is empty, lacks a column, or a mask does not fit its image.
        UsageError: a predicted mask or class does not fit the image, or no image has any of the marks.
        MissingDependencyError: a report is asked for without matplotlib installed.
    """
    if output is not None:
        require_matplotlib()
        Path(output).mkdir(parents=True, exist_ok=True)
    # Before the long part: it shall tell the code that judged.
    judged_at = commit()
    check_split(split)
    check_marks(marks, split["image_id"])
    label_names = split.features["label"].names
    content = hashlib.sha256()
    rows = []
    for item in tqdm(split, desc="evaluate", unit="image", disable=not progress):
        pixels, target = decode_pair(item)
        label = label_names[item["label"]]
        content.update(fingerprint(item, label, pixels, target))
        rows.append(score(predictor.predict(pixels), target, item, label))

    evaluation = _evaluation(
        rows,
        seed=seed,
        resamples=resamples,
        provenance={
            "data_sha256": content.hexdigest(),
            "split": str(split.split) if split.split is not None else None,
            "commit": judged_at,
            **(provenance or {}),
        },
        marks=marks,
    )
    if output is not None:
        write_report(Path(output), evaluation, split, lambda _, pixels: predictor.predict(pixels).mask)
    return evaluation


def merge(
    parts: Sequence[Evaluation],
    *,
    provenance: Mapping[str, Any] | None = None,
    marks: Marks | None = None,
) -> Evaluation:
    """The judgement of all images of several evaluations together, as of one.

    Args:
        parts: of different images, such as the folds of a cross-validation; all with the bootstrap
            settings of the first.
        provenance: entries to add; those of the parts are kept under "parts".
        marks: as for `evaluate`.
    """
    bootstrap = parts[0].provenance["bootstrap"]
    commits = {part.provenance["commit"] for part in parts}
    return _evaluation(
        [row for part in parts for row in part.rows],
        seed=bootstrap["seed"],
        resamples=bootstrap["resamples"],
        provenance={
            "parts": [
                {key: value for key, value in part.provenance.items() if key not in ("bootstrap", "versions")}
                for part in parts
            ],
            "commit": None if None in commits else ", ".join(sorted(commits)),
            **(provenance or {}),
        },
        marks=marks,
    )


def _evaluation(
    rows: Sequence[ImageResult],
    *,
    seed: int,
    resamples: int,
    provenance: Mapping[str, Any],
    marks: Marks | None,
) -> Evaluation:
    return Evaluation(
        subsets={
            name: summarise(part, seed=seed, resamples=resamples)
            for name, part in by_mark(rows, lambda row: row.image_id, marks).items()
        },
        rows=tuple(rows),
        estimates=summarise(rows, seed=seed, resamples=resamples),
        confusion=tuple(tuple(int(cell) for cell in row) for row in confusion_of(rows)),
        provenance={
            "bootstrap": {"level": LEVEL, "resamples": resamples, "seed": seed, "unit": "group"},
            "versions": versions("datasets", "numpy", "pillow", "scipy", "torch"),
            **provenance,
        },
    )


def check_split(split: Dataset) -> None:
    """Raises DataLayoutError for a split that is empty, lacks a column or has other classes."""
    missing = [name for name in COLUMNS if name not in split.column_names]
    unknown = [] if missing else sorted(set(split.features["label"].names) - set(CLASS_NAMES))
    if missing or unknown or not len(split):
        problems = [f"column {name} is missing" for name in missing]
        problems += [f"class {name} is unknown" for name in unknown]
        raise DataLayoutError(
            "This split cannot be evaluated.",
            problems or ["it holds no images"],
            "Prepare the data set with scripts/prepare_data.py.",
        )


def decode_pair(item: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, uint8 (H, W), and mask, bool (H, W), of a row of the data set; raises DataLayoutError."""
    pixels = decode_image(item["image"], name=item["image_id"])
    target = decode_mask(item["mask"], name=f"the mask of {item['image_id']}")
    if pixels.shape != target.shape:
        raise DataLayoutError(
            "This split cannot be evaluated.",
            [f"{item['image_id']}: image {pixels.shape} and mask {target.shape} differ in size"],
            "Prepare the data set again with scripts/prepare_data.py.",
        )
    return pixels, target


def fingerprint(item: Mapping[str, Any], label: str, pixels: np.ndarray, target: np.ndarray) -> bytes:
    """All that decides what a row of the data set is judged on."""
    identity = repr((item["image_id"], label, item["group"], pixels.shape)).encode()
    return identity + pixels.tobytes() + target.tobytes()


def score(prediction: Any, target: np.ndarray, item: Mapping[str, Any], label: str) -> ImageResult:
    """What a prediction is worth against a mask, bool (H, W); raises UsageError where it does not fit it."""
    try:
        scores = metrics.segmentation_scores(prediction.mask, target)
    except UsageError as error:
        raise UsageError(f"{item['image_id']}: {error.message}", error.hint) from error
    if prediction.label not in CLASS_NAMES:
        raise UsageError(
            f"{item['image_id']}: the predictor named the class {prediction.label!r}.",
            f"Use a model for the classes {', '.join(CLASS_NAMES)}.",
        )
    return ImageResult(
        image_id=item["image_id"],
        label=label,
        group=item["group"],
        fold=item["fold"],
        height_px=target.shape[0],
        width_px=target.shape[1],
        predicted_label=prediction.label,
        probabilities=tuple(float(prediction.probabilities[name]) for name in CLASS_NAMES),
        refused=bool(prediction.refused),
        flagged=bool(prediction.flagged),
        scores=scores,
        prediction_set=prediction.prediction_set,
        boundary_within=_boundary_within(prediction, target, scores.dice),
    )


def _boundary_within(prediction: Any, target: np.ndarray, dice: float | None) -> float | None:
    band = prediction.boundary_band
    if band is None or dice is None or dice < metrics.MISSED_DICE:
        return None
    distances = boundary_distances(prediction.mask, target)
    return float(np.mean((distances >= -band.inner) & (distances <= band.outer)))
