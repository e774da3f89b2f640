"""The model card: a repository's README.md, written from the files that are published beside it.

Model cards: Mitchell et al. 2019, arXiv:1810.03993. Every figure is read from an evaluation file of exactly
these weights; where there is none, the card says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from busi_unet.config import ModelConfig
from busi_unet.evaluation.leakage import ignored_copies, trained_on
from busi_unet.publish.figures import FIGURES, count_of, interval_of, value_of
from busi_unet.publish.results import Result
from busi_unet.publish.wording import BUSI_CITATION, BUSI_LICENCE, NOT_A_DEVICE, busi_test_fold

_SEGMENTATION, _CLASSIFICATION = "image-segmentation", "image-classification"
# Metric on the Hub and task of a figure; the others are shown in the table alone.
_METRICS = {
    "lesion_dice": ("dice", _SEGMENTATION),
    "benign_dice": ("dice", _SEGMENTATION),
    "malignant_dice": ("dice", _SEGMENTATION),
    "lesion_dice_median": ("dice", _SEGMENTATION),
    "lesion_iou": ("iou", _SEGMENTATION),
    "lesion_hd95_px": ("hd95", _SEGMENTATION),
    "lesion_missed_share": ("miss_rate", _SEGMENTATION),
    "normal_false_mask_share": ("false_mask_rate", _SEGMENTATION),
    "accuracy": ("accuracy", _CLASSIFICATION),
    "macro_f1": ("f1", _CLASSIFICATION),
    "auc_malignant": ("roc_auc", _CLASSIFICATION),
    "ece": ("ece", _CLASSIFICATION),
}
_TAGS = ["busi_unet", "breast-ultrasound", "ultrasound", "medical", "unet", "pytorch", _CLASSIFICATION]


def model_card(
    config: ModelConfig,
    *,
    repo_id: str,
    model_sha256: str,
    results: Sequence[Result] = (),
    examples: Sequence[str] = (),
    curves: bool = False,
) -> str:
    """Writes the card.

    Args:
        config: of the weights.
        repo_id: USER/NAME that the model will have.
        model_sha256: see `busi_unet.models.pretrained.model_hash`.
        results: evaluations of exactly this model.
        examples: paths in the repository of overlays on synthetic pictures.
        curves: whether the repository holds curves.png.

    Returns:
        YAML front matter and Markdown.

    Raises:
        ValueError: an evaluation of another model.
    """
    foreign = [r.path for r in results if r.provenance.get("model_sha256") != model_sha256]
    if foreign:
        raise ValueError(f"{foreign[0]} measures another model")
    busi_fold = busi_test_fold(config.training.get("data", {}).get("split_sha256"))
    measured = _eval_results(results, busi_fold is not None)
    front_matter = ModelCardData(
        license="mit",
        library_name="busi_unet",
        pipeline_tag=_SEGMENTATION,
        tags=_TAGS,
        datasets=None if busi_fold is None else ["busi"],
        metrics=list(dict.fromkeys(figure.metric_type for figure in measured)) or None,
        model_name=repo_id.rpartition("/")[2],
        eval_results=measured or None,
    )
    if not measured:
        # Without results ModelCardData would write its own name out as an unknown key.
        front_matter.model_name = None
    sections = (
        _introduction(config, repo_id),
        _use(repo_id),
        _INTENDED_USE,
        _figures(results, config.training),
        _calibration(config, results),
        _training(config.training, busi_fold),
        "![Loss, Dice and accuracy by epoch](curves.png)" if curves else "",
        _examples(examples),
        _limits(config, busi_fold is not None),
        _licence(busi_fold is not None),
    )
    body = "\n\n".join(section for section in sections if section)
    return str(ModelCard(f"---\n{front_matter.to_yaml()}\n---\n\n{body}\n"))


def _eval_results(results: Sequence[Result], trained_on_busi: bool) -> list[EvalResult]:
    """Every defined figure, in the form of the Hub's model-index."""
    return [
        EvalResult(
            task_type=task,
            task_name="Lesion segmentation" if task == _SEGMENTATION else "Normal, benign or malignant",
            dataset_type="busi" if _on_busi(result, trained_on_busi) else "other",
            dataset_name="BUSI" if _on_busi(result, trained_on_busi) else "a data set of the author",
            dataset_split=result.split,
            metric_type=metric,
            metric_name=FIGURES[name],
            metric_value=round(result.estimates[name].value, 4),
        )
        for result in results
        for name, (metric, task) in _METRICS.items()
        if name in result.estimates and result.estimates[name].value is not None
    ]


def _on_busi(result: Result, trained_on_busi: bool) -> bool:
    return trained_on_busi and result.provenance.get("split_is_the_models_own") is not False


def _introduction(config: ModelConfig, repo_id: str) -> str:
    encoder, size = config.architecture.encoder, config.preprocess.size
    width = f", width {config.architecture.width}" if config.architecture.width else ""
    return f"""\
# {repo_id.rpartition("/")[2]}

A U-Net (Ronneberger et al. 2015, arXiv:1505.04597) that outlines lesions in breast ultrasound pictures and
weighs three classes: {", ".join(config.class_names)}. One forward pass gives both.
Encoder `{encoder}`{width}; network input {size} × {size} grey pixels; the mask has the size of the picture.

{NOT_A_DEVICE}"""


def _use(repo_id: str) -> str:
    return f"""\
## Use

```python
from busi_unet import Predictor

prediction = Predictor.from_pretrained("{repo_id}").predict("image.png")
prediction.label, prediction.probabilities, prediction.mask  # mask: bool (H, W), the size of the picture
```

`pip install .` in a clone of the busi_unet repository installs the package. It fetches `config.json`,
`model.safetensors` and, for the app to show, `evaluation.json` and `images/` only: no code is run from this
repository."""


_INTENDED_USE = """\
## Intended use

Research and teaching on segmentation and classification of breast ultrasound: a baseline to compare with, a
start for training on other data, a demonstration.

Out of scope: diagnosis, screening, triage, or any other decision about a patient; pictures of other organs or
other modalities; video."""


def _figures(results: Sequence[Result], training: dict[str, Any]) -> str:
    if not results:
        return """\
## Figures

No figures were measured for exactly these weights: no evaluation file names their hash. To measure them, in a
clone of the package's repository: `python scripts/evaluate.py MODEL --data DATA --split test`."""
    return "\n\n".join(["## Figures", *(_figures_of(result, training) for result in results)])


def _figures_of(result: Result, training: dict[str, Any]) -> str:
    provenance, bootstrap = result.provenance, result.provenance["bootstrap"]
    listed = ", ".join(f"{count} {name}" for name, count in result.images.items())
    rows = [
        f"| {title} | {_value(result, name)} | {_interval(result, name)} | {result.estimates[name].n} |"
        for name, title in FIGURES.items()
        if name in result.estimates
    ]
    return "\n".join(
        (
            f"### Split `{result.split}`: {sum(result.images.values())} images",
            "",
            f"{listed}, in {result.groups} groups of copies. {_relation(result, training)}",
            "Scored at native resolution. A missed lesion counts as Dice 0, and as the picture's diagonal in",
            f"HD95; refused pictures stay in. Intervals: {bootstrap['resamples']} bootstrap resamples over "
            f"groups, seed {bootstrap['seed']}.",
            "",
            f"| figure | value | {bootstrap['level']:.0%} interval | images |",
            "|---|---|---|---|",
            *rows,
            "",
            "```sh",
            provenance["command"],
            "```",
            "",
            f"All figures: [`evaluation/{result.file_name}`](evaluation/{result.file_name}).",
        )
    )


def _relation(result: Result, training: dict[str, Any]) -> str:
    """What these weights had seen of the images they were judged on."""
    own = result.provenance.get("split_is_the_models_own")
    if own is False:
        return "**Not the split that the model was made on: it may have been trained on these images.**"
    sentence = {
        "test": "By the manifest, the training never read this split.",
        "validation": "**Epoch, calibration and thresholds were chosen on this split: it flatters.**",
    }.get(result.split, "")
    if result.split in trained_on(training):
        sentence = "**The model was trained on these images: the figures say nothing about new ones.**"
    if own is None:
        sentence += " The evaluation file does not say whether it is the split that the model was made on."
    return sentence.strip()


def _value(result: Result, name: str) -> str:
    estimate = result.estimates[name]
    return value_of(estimate, name) + count_of(estimate)


def _interval(result: Result, name: str) -> str:
    return interval_of(result.estimates[name], name)


def _calibration(config: ModelConfig, results: Sequence[Result]) -> str:
    measured = [
        f"{_value(result, 'ece')} ({_interval(result, 'ece')}) on `{result.split}`"
        for result in results
        if "ece" in result.estimates
    ]
    error = (
        f"Expected calibration error: {'; '.join(measured)}." if measured else "Its error was not measured."
    )
    temperature = """\
Class probabilities are logistic regressions on the outputs of class head and mask (Platt 1999)."""
    if not config.calibration.fitted:
        temperature = "**The class probabilities are not calibrated**: they may be far too sure."
    thresholds = config.thresholds
    return f"""\
## Calibration and thresholds

{temperature} {error}

| threshold | value | meaning |
|---|---|---|
| mask | {thresholds.mask:g} | lesion probability from which a pixel belongs to the mask |
| lesion | {thresholds.lesion:g} | probability of any lesion below which the mask is left empty |
| min_area | {thresholds.min_area:g} | smallest share of the picture that one connected lesion may cover |
| malignant | {thresholds.malignant:g} | probability of malignant from which malignancy is suspected |

{_statements(config)}"""


def _statements(config: ModelConfig) -> str:
    """What the weights state beside their probabilities."""
    calibration = config.calibration
    sets, band, limit = calibration.prediction_sets, calibration.boundary_band, calibration.ood_threshold
    lines = []
    if sets:
        lines.append(
            f"- Prediction sets: every class from a probability of {sets.threshold:.4g} on. They hold the "
            f"true class in about {sets.coverage:.0%} of\n  pictures like those they were fitted on "
            "(Sadinle et al. 2019, arXiv:1609.00451)."
        )
    if band:
        lines.append(
            f"- Edge band: on average about {band.coverage:.0%} of a lesion's edge lies between "
            f"{band.inner:.2g} inside and {band.outer:.2g} outside\n  of the outline, in radii of a "
            "circle of its area (Angelopoulos et al. 2024, arXiv:2208.02814)."
        )
    if (sets or band) and "validation" in trained_on(config.training):
        lines.append(
            "- **Sets and band were fitted for the model before the refit**, as temperature and thresholds "
            "were: how far\n  they hold for this one, only a test tells."
        )
    if limit is not None:
        lines.append(
            f"- Guard: a picture farther than {limit:.3g} from the usual, where the distance is about 1, is "
            "refused as not looking\n  like breast ultrasound. Ultrasound of another organ may pass."
        )
    return "\n".join(lines) or "No prediction sets, no edge band and no guard come with these weights."


def _training(training: dict[str, Any], busi_fold: int | None) -> str:
    if not training:
        return "## Training\n\nHow these weights came about is not recorded in their `config.json`."
    data, options = training.get("data", {}), training.get("options", {})
    if busi_fold is None:
        source = "A data set that is not BUSI with its published folds; this card cannot name it."
        if ignored_copies(training):
            source += (
                "\n**Its folds ignore copies: test pictures have copies in training, and all figures leak.**"
            )
    else:
        source = (
            "BUSI (Breast Ultrasound Images, Cairo 2018), 780 pictures, with its folds of busi_unet:\n"
            f"no copy of a test picture was trained on. Tested on fold {busi_fold}."
        )
    lines = ["## Training", "", source, "", "| split | images | folds |", "|---|---|---|"]
    folds = data.get("folds", {})
    for split, count in data.get("images", {}).items():
        lines.append(f"| {split} | {count} | {', '.join(map(str, folds.get(split, []))) or '–'} |")
    steps = [
        f"- Trained on: {' and '.join(trained_on(training))}.",
        f"- Split, SHA-256 over image ids and classes: `{data.get('split_sha256', 'not recorded')}`.",
    ]
    members = training.get("average_of", [training])
    if len(members) > 1:
        steps.append(
            f"- The weights are the mean of those of {len(members)} trainings from the same start; the "
            "options below are what they have in common."
        )
    if any(member.get("refit_of") for member in members):
        steps.append(
            "- The model of a first run was trained on with the validation images added; temperature and "
            "thresholds are those of the first run, chosen without that."
        )
    named = ("encoder", "init", "epochs", "batch_size", "learning_rate", "precision", "seed")
    if options.get("encoder") == "plain" and options.get("init") == "imagenet":
        # There are none: it starts at random.
        options = {**options, "init": "random"}
    known = ", ".join(f"{name} {options[name]}" for name in named if options.get(name) is not None)
    record = "manifest.json" if len(members) == 1 else "config.json"
    steps += [f"- Options: {known}; all of them in `{record}`."] if known else []
    versions = ", ".join(f"{name} {version}" for name, version in training.get("versions", {}).items())
    steps += [f"- Versions: {versions}."] if versions else []
    return "\n".join([*lines, "", *steps])


def _examples(examples: Sequence[str]) -> str:
    if not examples:
        return ""
    images = "\n\n".join(f"![Synthetic picture and overlay: {path}]({path})" for path in examples)
    return f"""\
## Examples

Synthetic pictures of each class, none of a patient, with what this model makes of them. They show what the
output looks like and say nothing about its accuracy.

{images}"""


def _limits(config: ModelConfig, on_busi: bool) -> str:
    limits = [
        "- The mask is left empty where the class head believes the picture normal.",
        "- Other scanners, hospitals and patients than those of the training data: expect worse.",
    ]
    if config.calibration.ood_threshold is None:
        limits.append("- A picture of anything else is analysed all the same, unless it is blank.")
    if on_busi:
        limits += [
            "- BUSI comes from one hospital and two scanners of one maker, of women aged 25 to 75.",
            "- BUSI has no patient ids. Its folds keep copies and views of one lesion together, but not "
            "patients: figures on it are optimistic.",
            "- Eight groups of BUSI hold copies of one picture filed under different classes.",
        ]
    return "\n".join(["## Limits", "", *limits])


def _licence(on_busi: bool) -> str:
    if not on_busi:
        return """\
## Licence and citation

The weights are under the MIT licence. Whether the licence of the training data asks for more, and how to cite
them, is for whoever published this model to add."""
    return f"""\
## Licence and citation

The weights are under the MIT licence. {BUSI_LICENCE}
None of its pixels are in this repository. Cite it with every figure:

```text
{BUSI_CITATION}
```"""
