"""The repository of a model: weights, config, training record, evaluations, examples, and its card.

Model cards: Mitchell et al. 2019, arXiv:1810.03993. Every result is from an evaluation of exactly these
weights.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from busi_unet.config import CLASS_NAMES, CONFIG_NAME, EVALUATION_NAME, ONNX_NAME, WEIGHTS_NAME, ModelConfig
from busi_unet.data.phantom import make_phantom
from busi_unet.data.readers import citation_of
from busi_unet.errors import UsageError
from busi_unet.evaluation.leakage import ignored_copies, trained_on
from busi_unet.evaluation.metrics import METRICS, shown_in
from busi_unet.evaluation.report import read_evaluations, write_evaluations
from busi_unet.evaluation.statistics import Estimate
from busi_unet.hub import PushResult, checked_id
from busi_unet.imaging.overlay import draw_overlay, side_by_side
from busi_unet.inference.predictor import Predictor
from busi_unet.io.html import render
from busi_unet.models.encoders import ENCODERS
from busi_unet.models.folder import find_twin, weights_hash
from busi_unet.publish import NOT_A_DEVICE, push_built, repository_folder
from busi_unet.training.run_folder import CURVES_NAME, HISTORY_NAME, MANIFEST_NAME

EXAMPLE_SEED = 11
EXAMPLE_SIZE = (360, 480)
# A push replaces these, also by nothing. What people add on the Hub by hand stays.
_REPLACED = [ONNX_NAME, EVALUATION_NAME, "examples/*", MANIFEST_NAME, CURVES_NAME, HISTORY_NAME]
_SEGMENTATION, _CLASSIFICATION = "image-segmentation", "image-classification"
_TASKS = {_SEGMENTATION: "Lesion segmentation", _CLASSIFICATION: "Normal, benign or malignant"}
_OF_MASKS = ("dice", "iou", "hd95", "miss_rate", "false_positive_rate")
_TAGS = ["busi_unet", "breast-ultrasound", "ultrasound", "medical", "unet", "pytorch", _CLASSIFICATION]
_SHOWN_OPTIONS = ("encoder", "init", "epochs", "batch_size", "learning_rate", "precision", "seed")


def build_model_folder(run: str | os.PathLike, output: str | os.PathLike, *, repo_id: str) -> Path:
    """Lay out what `push_model` sends, in a new or empty folder; it appears whole or not at all.

    Args:
        run: the folder of a finished run, or a model folder.
        output: returned; model.safetensors, config.json, README.md, examples/ (an overlay for each class on a
            synthetic image), and where there are any model.onnx, manifest.json, curves.png, history.csv and
            evaluation.json, without what is of other weights.
        repo_id: USER/NAME that the card names.

    Raises:
        UsageError: not a Hub id, no such run, evaluation.json is damaged, `output` is not empty.
        IncompatibleModelError: the model cannot be loaded, or its model.onnx is stale.
    """
    checked_id(repo_id)
    model = _model_folder_of(run)
    evaluations = read_evaluations(model).values()
    # Loaded before anything is written: what cannot be used is not published.
    predictor = Predictor.from_pretrained(model, device="cpu", runtime="torch")
    twin = find_twin(model, predictor.config)
    record = (Path(run) / name for name in (MANIFEST_NAME, CURVES_NAME, HISTORY_NAME))
    with repository_folder(output) as folder:
        parts = (model / WEIGHTS_NAME, model / CONFIG_NAME, twin, *filter(Path.is_file, record))
        for path in filter(None, parts):
            shutil.copyfile(path, folder / path.name)
        if evaluations:
            write_evaluations(folder, evaluations)
        card = model_card(
            predictor.config,
            repo_id=repo_id,
            evaluations=[each for each in evaluations if not each["provenance"].get("sibling_of")],
            examples=_draw_examples(predictor, folder),
            curves=(folder / CURVES_NAME).exists(),
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
    return Path(output)


def push_model(
    run: str | os.PathLike, repo_id: str, *, private: bool = False, revision: str | None = None
) -> PushResult:
    """Push what `build_model_folder` lays out of a run, which is only read, in one commit.

    `private`, `revision` and errors are as for `push_folder`; where a push fails, the error says where the
    weights are and how to resume.
    """
    model = _model_folder_of(run)
    options = ["--private"] * private + (["--revision", revision] if revision else [])
    return push_built(
        partial(build_model_folder, run, repo_id=repo_id),
        repo_id,
        command=["busi-unet", "push", str(run), repo_id, *options],
        intact=f"The weights are intact in {model}.",
        private=private or None,
        revision=revision,
        message=f"Model {weights_hash(model)[:12]}",
        delete_patterns=_REPLACED,
    )


def _model_folder_of(run: str | os.PathLike) -> Path:
    """Return the model folder of a run folder, or the folder itself where it is one."""
    for folder in (Path(run) / "model", Path(run)):
        if (folder / CONFIG_NAME).is_file() and (folder / WEIGHTS_NAME).is_file():
            return folder
    raise UsageError(
        f"{run} is not a model folder ({CONFIG_NAME} and {WEIGHTS_NAME} not found).",
        "Name a model folder, or the folder of a finished run.",
    )


def _draw_examples(predictor: Predictor, folder: Path) -> list[str]:
    """Draw an overlay for each class on a synthetic image; return the paths in the repository."""
    (folder / "examples").mkdir()
    paths = [f"examples/{label}.png" for label in CLASS_NAMES]
    for label, path in zip(CLASS_NAMES, paths, strict=True):
        image = make_phantom(label, seed=EXAMPLE_SEED, size=EXAMPLE_SIZE).image
        side_by_side(image, draw_overlay(image, predictor.predict(image).mask)).save(folder / path)
    return paths


# --- The card ------------------------------------------------------------------------------------


def model_card(
    config: ModelConfig,
    *,
    repo_id: str,
    evaluations: Sequence[Mapping[str, Any]] = (),
    examples: Sequence[str] = (),
    curves: bool = False,
) -> str:
    """Return the card of a model, which will be `repo_id`: YAML front matter and Markdown.

    The evaluations are summaries of exactly this model, the examples paths of overlays on synthetic images in
    the repository, and `curves` says whether it holds curves.png.
    """
    training = config.training
    data = training.get("data", {})
    seen = data.get("sources", {})
    sources = sorted({name for split in trained_on(training) for name in seen.get(split, ())})
    name = repo_id.rpartition("/")[2]
    results = [_result_of(summary) for summary in evaluations]
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


def _result_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of an evaluation, ready for the card: estimates by metric, data named."""

    def estimates(part: Mapping[str, Any]) -> dict[str, Estimate]:
        return {name: Estimate(**found) for name, found in part["estimates"].items()}

    return {
        **summary,
        "estimates": estimates(summary),
        "sources": {name: estimates(part) for name, part in summary["sources"].items()},
        "split": summary["provenance"]["split"],
        "data": ", ".join(citation_of(source).title for source in summary["sources"]),
    }


def _front_matter(model_name: str, sources: list[str], results: Sequence[Mapping[str, Any]]) -> str:
    measured = [
        EvalResult(
            task_type=(task := _SEGMENTATION if metric.hub in _OF_MASKS else _CLASSIFICATION),
            task_name=_TASKS[task],
            dataset_type="-".join(result["sources"]),
            dataset_name=result["data"],
            dataset_split=result["split"],
            metric_type=metric.hub,
            metric_name=metric.title,
            metric_value=round(result["estimates"][name].value, 4),
        )
        for result in results
        for name, metric in METRICS.items()
        if metric.hub and name in result["estimates"] and result["estimates"][name].value is not None
    ]
    front_matter = ModelCardData(
        license="mit",
        library_name="busi_unet",
        pipeline_tag=_SEGMENTATION,
        tags=_TAGS,
        datasets=sources or None,
        metrics=list(dict.fromkeys(result.metric_type for result in measured)) or None,
        # Without results ModelCardData would write the name out as an unknown key.
        model_name=model_name if measured else None,
        eval_results=measured or None,
    )
    return front_matter.to_yaml()


def _options_of(training: Mapping[str, Any]) -> str:
    options = dict(training.get("options", {}))
    encoder = ENCODERS.get(options.get("encoder"))
    if encoder and not encoder.load_imagenet and options.get("init") == "imagenet":
        # There are no such weights: it starts at random.
        options["init"] = "random"
    return ", ".join(f"{name} {options[name]}" for name in _SHOWN_OPTIONS if options.get(name) is not None)
