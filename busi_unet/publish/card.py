"""The model card: a repository's README.md, written from the files that are published beside it.

Model cards: Mitchell et al. 2019, arXiv:1810.03993. Every result is from an evaluation file of exactly these
weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from busi_unet.config import ModelConfig
from busi_unet.data.published import citation_of
from busi_unet.errors import UsageError
from busi_unet.evaluation.leakage import ignored_copies, trained_on
from busi_unet.evaluation.metrics import METRICS, shown_in
from busi_unet.evaluation.statistics import Estimate
from busi_unet.io.files import reading
from busi_unet.io.html import render
from busi_unet.models.encoders import ENCODERS
from busi_unet.publish.folder import NOT_A_DEVICE

# Where an evaluation is written unless told otherwise.
_PLACE = "reports/*/metrics.json"
_SEGMENTATION, _CLASSIFICATION = "image-segmentation", "image-classification"
_TASKS = {_SEGMENTATION: "Lesion segmentation", _CLASSIFICATION: "Normal, benign or malignant"}
_TAGS = ["busi_unet", "breast-ultrasound", "ultrasound", "medical", "unet", "pytorch", _CLASSIFICATION]
_SHOWN_OPTIONS = ("encoder", "init", "epochs", "batch_size", "learning_rate", "precision", "seed")


@dataclass(frozen=True)
class Result:
    """One evaluation file.

    Attributes:
        path: the file.
        estimates: by the name of the metric, see `busi_unet.evaluation.metrics.METRICS`.
        images: number of images by class.
        groups: number of groups of copies.
        provenance: split, command, seed of the bootstrap, hash of the model, versions.
        sources: the estimates on the images of each source.
    """

    path: Path
    estimates: dict[str, Estimate]
    images: dict[str, int]
    groups: int
    provenance: dict[str, Any]
    sources: dict[str, dict[str, Estimate]]

    @property
    def split(self) -> str:
        return self.provenance["split"]

    @property
    def file_name(self) -> str:
        """Return its name in the repository: one for each split and content of the data."""
        return f"{self.split}-{self.provenance['data_sha256'][:8]}.json"

    @property
    def data(self) -> str:
        return ", ".join(citation_of(source).title for source in self.sources)


def read_result(path: str | os.PathLike) -> Result:
    """Read the metrics.json of an evaluation.

    Raises:
        UsageError: the file is missing or something else.
    """
    path = Path(path)
    hint = "Name the metrics.json in the report folder of an evaluation."
    with reading(path, "is not an evaluation file", hint):
        summary = json.loads(path.read_text(encoding="utf-8"))
        result = Result(
            path=path,
            estimates=_estimates(summary),
            images=summary["images"],
            groups=summary["groups"],
            provenance=summary["provenance"],
            sources={name: _estimates(part) for name, part in summary["sources"].items()},
        )
        for key in ("split", "bootstrap", "command", "data_sha256", "model_sha256"):
            result.provenance[key]
    return result


def _estimates(part: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate(**found) for name, found in part["estimates"].items()}


def results_of(model_sha256: str, given: Iterable[str | os.PathLike] = ()) -> list[Result]:
    """Return the evaluations of exactly this model, by split.

    Args:
        model_sha256: see `busi_unet.models.folder.model_hash`.
        given: evaluation files; without any, reports/ below the working folder is searched.

    Raises:
        UsageError: a given file is of another model, cannot be read, or is of the same split as another.
    """
    results: dict[str, Result] = {}
    for path in given:
        result = read_result(path)
        if result.provenance["model_sha256"] != model_sha256:
            raise UsageError(
                f"{path} is an evaluation of another model: other weights, thresholds or calibration.",
                "Evaluate this one: busi-unet evaluate MODEL --data DATA --split test",
            )
        if result.file_name in results:
            raise UsageError(
                f"{path} and {results[result.file_name].path} are of the same split of the same data.",
                "Name one of them.",
            )
        results[result.file_name] = result
    if not results:
        for path in sorted(Path().glob(_PLACE)):
            try:
                result = read_result(path)
            except UsageError:
                # Found, not named: any JSON may lie there.
                continue
            if result.provenance["model_sha256"] == model_sha256:
                results.setdefault(result.file_name, result)
    return [results[name] for name in sorted(results)]


def model_card(
    config: ModelConfig,
    *,
    repo_id: str,
    results: Sequence[Result] = (),
    examples: Sequence[str] = (),
    curves: bool = False,
) -> str:
    """Return the card of a model: YAML front matter and Markdown.

    Args:
        config: of the weights.
        repo_id: USER/NAME that the model will have.
        results: evaluations of exactly this model.
        examples: paths in the repository of overlays on synthetic images.
        curves: whether the repository holds curves.png.
    """
    training = config.training
    data = training.get("data", {})
    seen = data.get("sources", {})
    sources = sorted({name for split in trained_on(training) for name in seen.get(split, ())})
    name = repo_id.rpartition("/")[2]
    body = render(
        "model_card.md",
        not_a_device=NOT_A_DEVICE,
        name=name,
        repo_id=repo_id,
        config=config,
        results=results,
        metrics=shown_in("card"),
        source_metrics=shown_in("sources"),
        thresholds=config.thresholds,
        sets=config.calibration.prediction_sets,
        band=config.calibration.boundary_band,
        ood_threshold=config.calibration.ood_threshold,
        training=training,
        data=data,
        sources=[citation_of(source) for source in sources],
        copies_ignored=ignored_copies(training),
        trained_on=trained_on(training),
        options=_options_of(training),
        curves=curves,
        examples=examples,
    )
    return str(ModelCard(f"---\n{_front_matter(name, sources, results)}\n---\n\n{body}"))


def _front_matter(model_name: str, sources: list[str], results: Sequence[Result]) -> str:
    measured = [
        EvalResult(
            task_type=metric.hub[1],
            task_name=_TASKS[metric.hub[1]],
            dataset_type="-".join(result.sources),
            dataset_name=result.data,
            dataset_split=result.split,
            metric_type=metric.hub[0],
            metric_name=metric.title,
            metric_value=round(result.estimates[name].value, 4),
        )
        for result in results
        for name, metric in METRICS.items()
        if metric.hub and name in result.estimates and result.estimates[name].value is not None
    ]
    front_matter = ModelCardData(
        license="mit",
        library_name="busi_unet",
        pipeline_tag=_SEGMENTATION,
        tags=_TAGS,
        datasets=sources or None,
        metrics=list(dict.fromkeys(result.metric_type for result in measured)) or None,
        model_name=model_name,
        eval_results=measured or None,
    )
    if not measured:
        # Without results ModelCardData would write its own name out as an unknown key.
        front_matter.model_name = None
    return front_matter.to_yaml()


def _options_of(training: dict[str, Any]) -> str:
    options = dict(training.get("options", {}))
    encoder = ENCODERS.get(options.get("encoder"))
    if encoder and not encoder.load_imagenet and options.get("init") == "imagenet":
        # There are no such weights: it starts at random.
        options["init"] = "random"
    return ", ".join(f"{name} {options[name]}" for name in _SHOWN_OPTIONS if options.get(name) is not None)
