"""Judging a predictor on a split of the prepared data set: figures and their intervals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tqdm import tqdm

from busi_unet.config import CLASS_NAMES
from busi_unet.data.busi import COLUMNS
from busi_unet.errors import DataLayoutError, UsageError
from busi_unet.imaging.decode import decode_image, decode_mask
from busi_unet.learning import metrics
from busi_unet.learning.marks import Marks
from busi_unet.learning.report import require_matplotlib, write_report
from busi_unet.trust.conformal import edge_distances
from busi_unet.version import commit, versions

if TYPE_CHECKING:
    from datasets import Dataset

LEVEL = 0.95


class Segmenter(Protocol):
    """What `evaluate` asks of a predictor; `busi_unet.predictor.Predictor` is one."""

    def predict(self, image: np.ndarray) -> Any:
        """Takes uint8 (H, W); returns the `mask`, `label`, `probabilities`, `suspicious`, `refused`,
        `prediction_set` and `edge_band` of a `Prediction`.
        """


@dataclass(frozen=True)
class ImageResult:
    """One image's row.

    `probabilities` are in the order of CLASS_NAMES; `scores` are None where undefined
    (see `metrics.SegmentationScores`). `prediction_set` is None where none is stated. `edge_within` is the
    share of the true edge within the stated band; None without a band or where the mask misses the lesion.
    """

    image_id: str
    label: str
    group: str
    fold: int
    height_px: int
    width_px: int
    predicted_label: str
    probabilities: tuple[float, ...]
    suspicious: bool
    refused: bool
    scores: metrics.SegmentationScores
    prediction_set: tuple[str, ...] | None = None
    edge_within: float | None = None

    def to_row(self) -> dict[str, Any]:
        """The flat columns of per_image.csv."""
        row = asdict(self) | {
            f"p_{name}": value for name, value in zip(CLASS_NAMES, self.probabilities, strict=True)
        }
        del row["probabilities"]
        return (
            row
            | row.pop("scores")
            | {
                "target_area_px": self.scores.target_area_px,
                "predicted_area_px": self.scores.predicted_area_px,
                "false_mask": self.scores.false_mask,
                "prediction_set": None if self.prediction_set is None else " ".join(self.prediction_set),
                "edge_within": self.edge_within,
            }
        )


@dataclass(frozen=True)
class Estimate:
    """One figure, its interval over groups, and what it rests on.

    Attributes:
        value: None where undefined.
        ci_low: lower end of the interval; None where there is none (see `metrics.bootstrap_interval`).
        ci_high: upper end.
        n: images on which the figure is defined.
        count: for a share, how many of the n.
        undefined_resamples: resamples left out of the interval.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    count: int | None = None
    undefined_resamples: int = 0

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        digits = 3 if abs(self.value) < 10 else 1
        interval = "" if self.ci_low is None else f" [{self.ci_low:.{digits}f}, {self.ci_high:.{digits}f}]"
        share = "" if self.count is None else f" ({self.count} of {self.n})"
        return f"{self.value:.{digits}f}{interval}{share}"


@dataclass(frozen=True)
class Evaluation:
    """The outcome of `evaluate`.

    Attributes:
        rows: one per image, in the order of the split.
        estimates: figure by name, as `summarise` names them.
        confusion: counts of true class (row) by predicted class (column), in the order of CLASS_NAMES.
        provenance: what the figures come from: split, seed, data fingerprint, versions, and
            whatever the caller added.
        subsets: the estimates of a part of the rows, by its name; see `busi_unet.learning.marks`.
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
        split: one split of the prepared data set (`busi_unet.data.busi.load_prepared`).
        output: folder for the report (`busi_unet.learning.report`); nothing is written without it.
        progress: shows a progress bar on stderr.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        provenance: entries to add to `Evaluation.provenance`, such as model and command.
        marks: judges the images that have each mark, and those that have it not, apart too.

    Raises:
        DataLayoutError: the split is empty, lacks a column, or a mask does not fit its image.
        UsageError: a predicted mask or class does not fit the image.
        MissingDependencyError: a report is asked for without matplotlib installed.
    """
    if output is not None:
        require_matplotlib()
        Path(output).mkdir(parents=True, exist_ok=True)
    _check_split(split)
    label_names = split.features["label"].names
    content = hashlib.sha256()
    rows = []
    for item in tqdm(split, desc="evaluate", unit="image", disable=not progress):
        pixels, target = _frames(item)
        image_id, label = item["image_id"], label_names[item["label"]]
        content.update(repr((image_id, label, item["group"], pixels.shape)).encode())
        content.update(pixels.tobytes() + target.tobytes())
        rows.append(_score(predictor.predict(pixels), target, item, label))

    evaluation = _evaluation(
        rows,
        seed=seed,
        resamples=resamples,
        provenance={
            "data_sha256": content.hexdigest(),
            "split": str(split.split) if split.split is not None else None,
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
    return _evaluation(
        [row for part in parts for row in part.rows],
        seed=bootstrap["seed"],
        resamples=bootstrap["resamples"],
        provenance={
            "parts": [
                {key: value for key, value in part.provenance.items() if key not in ("bootstrap", "versions")}
                for part in parts
            ],
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
    subsets = {
        f"{name}: {'any' if marked else 'none'}": [row for row in rows if (row.image_id in images) == marked]
        for name, images in (marks or {}).items()
        for marked in (False, True)
    }
    return Evaluation(
        subsets={
            name: summarise(part, seed=seed, resamples=resamples) for name, part in subsets.items() if part
        },
        rows=tuple(rows),
        estimates=summarise(rows, seed=seed, resamples=resamples),
        confusion=tuple(tuple(int(cell) for cell in row) for row in _confusion(rows)),
        provenance={
            "bootstrap": {"level": LEVEL, "resamples": resamples, "seed": seed, "unit": "group"},
            "commit": commit(),
            "versions": versions("datasets", "numpy", "pillow", "scipy", "torch"),
            **provenance,
        },
    )


def summarise(rows: Sequence[ImageResult], *, seed: int = 0, resamples: int = 2000) -> dict[str, Estimate]:
    """Turns image rows into figures with intervals.

    Returns:
        For each kind of `lesion` (all), `benign` and `malignant`: `<kind>_dice`, `_dice_median`,
        `_iou`, `_hd95_px`, `_precision`, `_recall` over the images that have a lesion,
        `_missed_share` (Dice below 0.05) and `_empty_share` (no mask at all). Then
        `normal_false_mask_share` over the images without a lesion; `accuracy`, `macro_f1` and `ece`
        over all images; `auc_malignant` over the benign and malignant ones; at the model's
        operating point `malignant_sensitivity` over the malignant images and `malignant_specificity` over the
        others; where they are stated, `set_coverage` and `set_size` of the prediction sets, and
        `edge_coverage` of the band around the edge.
    """
    groups = [row.group for row in rows]
    labels = np.array([row.label for row in rows])
    everyone = np.ones(len(rows), dtype=bool)
    lesion = np.array([row.scores.target_area_px > 0 for row in rows])

    def estimate(statistic: Callable[[np.ndarray], np.ndarray], used: np.ndarray) -> Estimate:
        value, n = float(statistic(np.ones(len(rows), dtype=int))), int(used.sum())
        if np.isnan(value):
            return Estimate(None, None, None, n)
        interval = metrics.bootstrap_interval(statistic, groups, level=LEVEL, seed=seed, resamples=resamples)
        if interval is None:
            return Estimate(value, None, None, n)
        return Estimate(
            value, interval.low, interval.high, n, undefined_resamples=interval.undefined_resamples
        )

    def average(
        values: Iterable[float | None], among: np.ndarray, statistic: Callable = metrics.mean
    ) -> Estimate:
        # As floats, None becomes NaN.
        defined = np.where(among, np.array(list(values), dtype=float), np.nan)
        return estimate(lambda weights: statistic(defined, weights), ~np.isnan(defined))

    def share(hits: Iterable[bool], among: np.ndarray) -> Estimate:
        hits = np.array(list(hits), dtype=bool)
        count = int((hits & among).sum()) if among.any() else None
        return replace(average(hits, among), count=count)

    estimates = {}
    for kind, among in (
        ("lesion", lesion),
        ("benign", lesion & (labels == "benign")),
        ("malignant", lesion & (labels == "malignant")),
    ):
        for name in ("dice", "iou", "hd95_px", "precision", "recall"):
            estimates[f"{kind}_{name}"] = average((getattr(row.scores, name) for row in rows), among)
        dice = [row.scores.dice for row in rows]
        estimates[f"{kind}_dice_median"] = average(dice, among, metrics.median)
        estimates[f"{kind}_missed_share"] = share((_missed(row) for row in rows), among)
        estimates[f"{kind}_empty_share"] = share((row.scores.predicted_area_px == 0 for row in rows), among)

    estimates["normal_false_mask_share"] = share((row.scores.false_mask for row in rows), ~lesion)
    truth, predicted = _class_indices(rows)
    probabilities = np.array([row.probabilities for row in rows], dtype=float)

    def of_confusion(figure: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        classes = len(CLASS_NAMES)
        return estimate(
            lambda weights: figure(metrics.confusion_matrix(truth, predicted, classes, weights)), everyone
        )

    estimates["accuracy"] = replace(of_confusion(metrics.accuracy), count=int((truth == predicted).sum()))
    estimates["macro_f1"] = of_confusion(metrics.macro_f1)
    estimates["ece"] = estimate(
        lambda weights: metrics.expected_calibration_error(probabilities, truth, weights), everyone
    )
    tumour = truth != CLASS_NAMES.index("normal")
    score = metrics.malignancy_score(probabilities)
    estimates["auc_malignant"] = estimate(
        lambda weights: metrics.auc(
            score[tumour], truth[tumour] == CLASS_NAMES.index("malignant"), weights[..., tumour]
        ),
        tumour,
    )
    malignant, suspected = labels == "malignant", [row.suspicious for row in rows]
    estimates["malignant_sensitivity"] = share(suspected, malignant)
    estimates["malignant_specificity"] = share(np.logical_not(suspected), ~malignant)
    stated = np.array([row.prediction_set is not None for row in rows])
    estimates["set_coverage"] = share((row.label in (row.prediction_set or ()) for row in rows), stated)
    estimates["set_size"] = average((len(row.prediction_set or ()) for row in rows), stated)
    estimates["edge_coverage"] = average((row.edge_within for row in rows), everyone)
    return estimates


def _check_split(split: Dataset) -> None:
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


def _frames(item: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    pixels = decode_image(item["image"], name=item["image_id"])
    target = decode_mask(item["mask"], name=f"the mask of {item['image_id']}")
    if pixels.shape != target.shape:
        raise DataLayoutError(
            "This split cannot be evaluated.",
            [f"{item['image_id']}: image {pixels.shape} and mask {target.shape} differ in size"],
            "Prepare the data set again with scripts/prepare_data.py.",
        )
    return pixels, target


def _score(prediction: Any, target: np.ndarray, item: Mapping[str, Any], label: str) -> ImageResult:
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
        suspicious=bool(prediction.suspicious),
        scores=scores,
        prediction_set=prediction.prediction_set,
        edge_within=_edge_within(prediction, target),
    )


def _edge_within(prediction: Any, target: np.ndarray) -> float | None:
    band = prediction.edge_band
    if band is None or not (prediction.mask & target).any():
        return None
    distances = edge_distances(prediction.mask, target)
    return float(np.mean((distances >= -band.inner) & (distances <= band.outer)))


def _missed(row: ImageResult) -> bool:
    return row.scores.dice is not None and row.scores.dice < metrics.MISSED_DICE


def _class_indices(rows: Sequence[ImageResult]) -> tuple[np.ndarray, np.ndarray]:
    truth = np.array([CLASS_NAMES.index(row.label) for row in rows])
    return truth, np.array([CLASS_NAMES.index(row.predicted_label) for row in rows])


def _confusion(rows: Sequence[ImageResult]) -> np.ndarray:
    return metrics.confusion_matrix(*_class_indices(rows), len(CLASS_NAMES))
