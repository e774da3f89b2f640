"""The model card: a repository's README.md, written from the files that are published beside it.

Model cards: Mitchell et al. 2019, arXiv:1810.03993. Every result is from an evaluation file of exactly these
weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from busi_unet.config import ModelConfig
from busi_unet.data.published import citation_of
from busi_unet.evaluation.leakage import ignored_copies, trained_on
from busi_unet.evaluation.metrics import METRICS, shown_in
from busi_unet.models.encoders import ENCODERS
from busi_unet.publish.render import render
from busi_unet.publish.results import Result

_SEGMENTATION, _CLASSIFICATION = "image-segmentation", "image-classification"
_TASKS = {_SEGMENTATION: "Lesion segmentation", _CLASSIFICATION: "Normal, benign or malignant"}
_TAGS = ["busi_unet", "breast-ultrasound", "ultrasound", "medical", "unet", "pytorch", _CLASSIFICATION]
_SHOWN_OPTIONS = ("encoder", "init", "epochs", "batch_size", "learning_rate", "precision", "seed")


def model_card(
    config: ModelConfig,
    *,
    repo_id: str,
    model_sha256: str,
    results: Sequence[Result] = (),
    examples: Sequence[str] = (),
    curves: bool = False,
) -> str:
    """Return the card of a model: YAML front matter and Markdown.

    Args:
        config: of the weights.
        repo_id: USER/NAME that the model will have.
        model_sha256: see `busi_unet.models.folder.model_hash`.
        results: evaluations of exactly this model.
        examples: paths in the repository of overlays on synthetic images.
        curves: whether the repository holds curves.png.

    Raises:
        ValueError: an evaluation of another model.
    """
    foreign = [r.path for r in results if r.provenance.get("model_sha256") != model_sha256]
    if foreign:
        raise ValueError(f"{foreign[0]} is an evaluation of another model")
    training = config.training
    sources = sources_of(training)
    name = repo_id.rpartition("/")[2]
    body = render(
        "model_card.md",
        name=name,
        repo_id=repo_id,
        config=config,
        results=[_describe(result) for result in results],
        thresholds=config.thresholds,
        sets=config.calibration.prediction_sets,
        band=config.calibration.boundary_band,
        ood_threshold=config.calibration.ood_threshold,
        training=training,
        data=training.get("data", {}),
        sources=[citation_of(source) for source in sources],
        copies_ignored=ignored_copies(training),
        trained_on=trained_on(training),
        members=training.get("average_of", [training]),
        options=_options_of(training),
        curves=curves,
        examples=examples,
    )
    return str(ModelCard(f"---\n{_front_matter(name, sources, results)}\n---\n\n{body}"))


def sources_of(training: dict[str, Any]) -> list[str]:
    """Return the names of the data sets that the weights have seen, by the record of their training."""
    data = training.get("data", {})
    if "sources" in data:
        return sorted({name for split in trained_on(training) for name in data["sources"].get(split, ())})
    # Records without the key are of the time when only BUSI had published folds.
    return ["busi"] if data.get("folds_from") == "published" else []


def _front_matter(model_name: str, sources: list[str], results: Sequence[Result]) -> str:
    measured = [
        EvalResult(
            task_type=metric.hub[1],
            task_name=_TASKS[metric.hub[1]],
            dataset_type="-".join(result.sources),
            dataset_name=_titles(result.sources),
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
        metrics=list(dict.fromkeys(figure.metric_type for figure in measured)) or None,
        model_name=model_name,
        eval_results=measured or None,
    )
    if not measured:
        # Without results ModelCardData would write its own name out as an unknown key.
        front_matter.model_name = None
    return front_matter.to_yaml()


def _describe(result: Result) -> dict[str, Any]:
    """Return what the template shows of an evaluation."""
    return {
        "split": result.split,
        "images": result.images,
        "counts": ", ".join(f"{count} {name}" for name, count in result.images.items()),
        "groups": result.groups,
        "warnings": " ".join(result.provenance.get("warnings", ())),
        "data": _titles(result.sources),
        "bootstrap": result.provenance["bootstrap"],
        "command": result.provenance["command"],
        "file_name": result.file_name,
        "rows": [
            {
                "title": metric.title,
                "value": metric.value(estimate),
                "interval": metric.interval(estimate),
                "n": estimate.n,
            }
            for metric in shown_in("card")
            if (estimate := result.estimates.get(metric.name))
        ],
        "sources": list(result.sources) if len(result.sources) > 1 else [],
        "by_source": [
            [
                metric.title,
                *(
                    f"{metric.value(part[metric.name])}, {metric.interval(part[metric.name])}"
                    if metric.name in part
                    else "–"
                    for part in result.sources.values()
                ),
            ]
            for metric in shown_in("sources")
        ],
    }


def _titles(sources: Iterable[str]) -> str:
    return ", ".join(citation_of(source).title for source in sources)


def _options_of(training: dict[str, Any]) -> str:
    options = dict(training.get("options", {}))
    encoder = ENCODERS.get(options.get("encoder"))
    if encoder and not encoder.load_imagenet and options.get("init") == "imagenet":
        # There are no such weights: it starts at random.
        options["init"] = "random"
    return ", ".join(f"{name} {options[name]}" for name in _SHOWN_OPTIONS if options.get(name) is not None)
