"""The repository's own results: docs/results.md and the table in the README, written from evaluation files.

research/results holds one JSON and one CSV (a row per image) for each evaluation, docs/images/results the
plots.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from busi_unet.config import CLASS_NAMES, Thresholds
from busi_unet.data.folds import N_FOLDS
from busi_unet.errors import UsageError
from busi_unet.evaluation.metrics import MISSED_DICE
from busi_unet.evaluation.report import table
from busi_unet.evaluation.summary import Estimate, ImageResult, compare, read_rows, summarise
from busi_unet.publish.figures import FIGURES, count_of, interval_of, signed, value_of
from busi_unet.publish.results import Result, note_of, read_result
from research.audit_page import audit_page
from research.comparison_page import comparison_page
from research.recipes_page import recipes_page

README_MARKS = ("<!-- results: written by research/write_results.py -->", "<!-- end of results -->")
# Plots that hold no pixels of the data set.
PLOTS = {
    "dice_by_size": "Dice by lesion size and class",
    "dice_histogram": "How the Dice of lesions is distributed",
    "confusion_matrix": "Confusion matrix",
    "roc": "ROC, malignant against benign",
    "reliability": "Reliability: how often the likeliest class is right, by its probability",
    "lesion_presence": "Presence of a lesion: precision and recall",
}
_IN_README = [name for name in FIGURES if name not in ("lesion_dice_median", "lesion_iou", "set_size")]
COMPARED = (
    "lesion_dice",
    "benign_dice",
    "malignant_dice",
    "lesion_missed_share",
    "normal_false_mask_share",
    "accuracy",
    "macro_f1",
    "auc_malignant",
    "ece",
    "set_coverage",
)
_BY_SUBSET = ("lesion_dice", "malignant_dice", "lesion_missed_share", "accuracy", "auc_malignant", "ece")


@dataclass(frozen=True)
class Source:
    """One evaluation that the repository shows.

    Attributes:
        name: of its files in research/results.
        heading: in docs/results.md, and of its column in the README.
        ignores_copies: whether its folds were dealt image by image, each image a group of its own.
        all_folds: whether it is a cross-validation, of all five.
        plotted: whether its plots are kept; what is only compared has none.
        beside: what it is compared with, in pairs; None for what has a section of its own.
    """

    name: str
    heading: str
    ignores_copies: bool = False
    all_folds: bool = False
    plotted: bool = True
    beside: Source | None = None


CROSS_VALIDATION = Source("cross_validation", "Five-fold cross-validation", all_folds=True)
EMBEDDED = Source("embedded_test", "Embedded weights, fold 0")
MILD = Source(
    "mild",
    "Mild augmentation over all five folds",
    all_folds=True,
    plotted=False,
    beside=CROSS_VALIDATION,
)
HIGHER_RATE = Source(
    "higher_rate",
    "Another recipe over all five folds",
    all_folds=True,
    plotted=False,
    beside=CROSS_VALIDATION,
)
RANDOM_SPLIT = Source(
    "random_split",
    "What a random split would have claimed",
    ignores_copies=True,
    all_folds=True,
    plotted=False,
    beside=HIGHER_RATE,
)
BEST_EPOCH = Source(
    "best_epoch",
    "The epoch that is best on the validation images",
    all_folds=True,
    plotted=False,
    beside=HIGHER_RATE,
)
NOTEBOOK = Source("notebook", "The notebook's network", plotted=False, beside=CROSS_VALIDATION)
SOURCES = {
    "embedded": EMBEDDED,
    "cross_validation": CROSS_VALIDATION,
    "mild": MILD,
    "random_split": RANDOM_SPLIT,
    "higher_rate": HIGHER_RATE,
    "best_epoch": BEST_EPOCH,
    "notebook": NOTEBOOK,
}
"""By the argument of research/write_results.py that takes a new report of it."""


def keep_report(report: Path, root: Path, source: Source) -> None:
    """Copies what may be published of a report folder into the repository: figures and plots, no galleries.

    Args:
        report: written by `busi_unet.evaluation.report`.
        root: of the clone.
        source: as what it is kept.

    Raises:
        UsageError: it is no report folder, its parts are of two evaluations, it is of another kind, or was
            judged at another level of suspicion.
    """
    result, rows = read_result(report / "metrics.json"), read_rows(report / "per_image.csv")
    if len(rows) != sum(result.images.values()) or len({row.group for row in rows}) != result.groups:
        raise UsageError(
            f"metrics.json and per_image.csv in {report} are of two evaluations.",
            "Write the report anew with scripts/evaluate.py or scripts/cross_validate.py.",
        )
    if source.ignores_copies != all(row.group == row.image_id for row in rows):
        raise UsageError(
            f"{report} cannot be shown as: {source.heading}. Its folds "
            f"{'keep copies together' if source.ignores_copies else 'ignore copies'}.",
            "Name another report.",
        )
    if source.all_folds and {row.fold for row in rows} != set(range(N_FOLDS)):
        raise UsageError(
            f"{report} cannot be shown as: {source.heading}. It holds a part of the folds.",
            "Judge all of them with scripts/cross_validate.py.",
        )
    if any(row.suspicious != (row.probabilities[-1] >= Thresholds.malignant) for row in rows):
        raise UsageError(
            f"{report} was not judged at {Thresholds.malignant:.0%}, the level of suspicion of all results.",
            "Judge a model whose thresholds.malignant is the default; scripts/calibrate.py sets it.",
        )
    results, images = root / "research" / "results", root / "docs" / "images" / "results"
    for folder in (results, images):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(report / "metrics.json", results / f"{source.name}.json")
    shutil.copyfile(report / "per_image.csv", results / f"{source.name}_per_image.csv")
    for plot in PLOTS if source.plotted else ():
        target = images / f"{source.name}_{plot}.png"
        target.unlink(missing_ok=True)
        if (report / f"{plot}.png").is_file():
            shutil.copyfile(report / f"{plot}.png", target)


def results_page(root: Path) -> str:
    """docs/results.md."""
    parts = ["# Results", _PROTOCOL, *(_section(root, source) for source in _kept(root))]
    for source, meaning in (
        (MILD, _MILD),
        (HIGHER_RATE, _HIGHER_RATE),
        (BEST_EPOCH, _BEST_EPOCH),
        (RANDOM_SPLIT, _RANDOM_SPLIT),
        (NOTEBOOK, _NOTEBOOK),
    ):
        if _file(root, source).is_file() and _file(root, source.beside).is_file():
            parts.append(_comparison(root, source, meaning))
    return "\n\n".join(parts) + "\n"


def readme_with_results(root: Path) -> str:
    """README.md with its table of results replaced.

    Raises:
        UsageError: the marks around the table are missing.
    """
    text = (root / "README.md").read_text(encoding="utf-8")
    start, end = README_MARKS
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UsageError(
            f"README.md lacks the marks {start} and {end}.", "Put them around the results table."
        )
    return f"{before}{start}\n\n{_readme_table(root)}\n\n{end}{after}"


def write_results(root: Path) -> list[Path]:
    """Writes them, and the other pages that there are files for; returns the paths."""
    pages = {root / "docs" / "results.md": results_page(root), root / "README.md": readme_with_results(root)}
    for name, page in (
        ("comparison", comparison_page(root)),
        ("recipes", recipes_page(root)),
        ("audit", audit_page(root)),
    ):
        if page is not None:
            pages[root / "docs" / f"{name}.md"] = page
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8", newline="\n")
    return list(pages)


def _kept(root: Path) -> list[Source]:
    return [source for source in (CROSS_VALIDATION, EMBEDDED) if _file(root, source).is_file()]


def _file(root: Path, source: Source) -> Path:
    return root / "research" / "results" / f"{source.name}.json"


def _per_image(root: Path, source: Source) -> Path:
    return _file(root, source).with_name(f"{source.name}_per_image.csv")


def _section(root: Path, source: Source) -> str:
    result = read_result(_file(root, source))
    images = read_rows(_per_image(root, source))
    provenance = result.provenance
    listed = ", ".join(f"{count} {name}" for name, count in result.images.items())
    plots = [
        f"![{title}](images/results/{source.name}_{plot}.png)"
        for plot, title in PLOTS.items()
        if (root / "docs" / "images" / "results" / f"{source.name}_{plot}.png").is_file()
    ]
    rows = [
        (
            title,
            value_of(result.estimates[name], name) + count_of(result.estimates[name]),
            interval_of(result.estimates[name], name),
        )
        for name, title in FIGURES.items()
        if name in result.estimates
    ]
    return "\n\n".join(
        [
            f"## {source.heading}",
            f"{sum(result.images.values())} images ({listed}) in {result.groups} groups of copies.",
            f"```sh\n{provenance['command']}\n```",
            *_recipe(provenance),
            f"{_made_with(provenance)} "
            f"Every figure: [{source.name}.json](../research/results/{source.name}.json); a row per image: "
            f"[{source.name}_per_image.csv](../research/results/{source.name}_per_image.csv).",
            table(["figure", "value", "95 % interval"], rows),
            *_by_class(images),
            *_by_fold(images),
            *_subsets(result.subsets),
            *plots,
        ]
    )


def _recipe(provenance: Mapping[str, Any]) -> list[str]:
    """All options of the training, named in the command or not."""
    options = provenance.get("training_options", {})
    told = ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in options.items() if value is not None
    )
    return [f"Options: {told}."] if told else []


def _comparison(root: Path, source: Source, meaning: str) -> str:
    """Another judgement of the same images, beside what it is compared with and in pairs with it."""
    result, base = read_result(_file(root, source)), read_result(_file(root, source.beside))
    everything, others = (read_rows(_per_image(root, each)) for each in (source.beside, source))
    judged = {row.image_id for row in others}
    own = [row for row in everything if row.image_id in judged]
    before, after = (summarise(rows, names=COMPARED) for rows in (own, others))
    differences = compare(own, others, names=COMPARED)
    rows = [
        (
            FIGURES[name],
            value_of(before[name], name),
            value_of(after[name], name),
            f"{signed(differences[name], name)} ({interval_of(differences[name], name)})",
        )
        for name in COMPARED
    ]
    return "\n\n".join(
        [
            f"## {source.heading}",
            meaning.format(blank=_blank_score(everything)),
            f"```sh\n{result.provenance['command']}\n```",
            _told(source, result),
            f"Beside it, “{source.beside.heading.lower()}”:",
            f"```sh\n{base.provenance['command']}\n```",
            _told(source.beside, base),
            f"The {len(own)} images that were judged here, of {len(everything)} there. The difference is "
            "taken image by image; its interval is from a bootstrap over groups of copies.",
            table(["figure", source.beside.heading.lower(), "here", "difference (95 %)"], rows),
            *(_by_leak(everything, others) if source.ignores_copies else ()),
        ]
    )


def _by_leak(everything: Sequence[ImageResult], others: Sequence[ImageResult]) -> list[str]:
    """The same difference on the images with a copy in another fold of the random split, and on the rest."""
    judged = {row.image_id: row for row in others}
    leaked = leaked_by(everything, others)
    names = ("lesion_dice", "accuracy")
    columns = {}
    for heading, is_leaked in (("a copy in another fold", True), ("none", False)):
        own = [row for row in everything if row.image_id in judged and (row.image_id in leaked) == is_leaked]
        found = compare(own, [judged[row.image_id] for row in own], names=names)
        columns[f"{heading}, {len(own)} images"] = [
            f"{signed(found[name], name)} ({interval_of(found[name], name)})" for name in names
        ]
    rows = list(zip((FIGURES[name] for name in names), *columns.values(), strict=True))
    return [
        "By how much the random split lies above, on the images that had a copy among those that were "
        "trained or validated on, and on the others:",
        table(["figure", *columns], rows),
    ]


def leaked_by(everything: Sequence[ImageResult], judged: Sequence[ImageResult]) -> set[str]:
    """Which of the judged images have a copy in another fold of the split that they were judged under.

    Args:
        everything: all images, with their true groups of copies.
        judged: all images of some folds of a split that ignores copies.
    """
    fold_of = {row.image_id: row.fold for row in judged}
    folds: dict[str, set[int | None]] = {}
    for row in everything:
        # What was not judged lies in one of the folds that were not.
        folds.setdefault(row.group, set()).add(fold_of.get(row.image_id))
    return {row.image_id for row in everything if row.image_id in fold_of and len(folds[row.group]) > 1}


def _told(source: Source, result: Result) -> str:
    return (
        f"{_made_with(result.provenance)} [{source.name}.json](../research/results/{source.name}.json), "
        f"[{source.name}_per_image.csv](../research/results/{source.name}_per_image.csv)."
    )


def _blank_score(rows: Sequence[ImageResult]) -> float:
    """What an empty mask scores on lesion images where background counts: its share of right pixels."""
    shares = [
        1 - row.scores.target_area_px / (row.height_px * row.width_px)
        for row in rows
        if row.scores.target_area_px
    ]
    return sum(shares) / len(shares)


def _by_class(images: Sequence[ImageResult]) -> list[str]:
    """What the prediction sets hold of each class, for which nothing is stated."""
    name = "set_coverage"
    shares = []
    for label in CLASS_NAMES:
        found = summarise([image for image in images if image.label == label], names=(name,))[name]
        if found.value is not None:
            shares.append(f"{label} {value_of(found, name)}{count_of(found)}, {interval_of(found, name)}")
    return [f"The class is within its set, class by class: {'; '.join(shares)}."] if shares else []


def _by_fold(images: Sequence[ImageResult]) -> list[str]:
    """The plainest figures of each fold, where there are several."""
    folds = sorted({image.fold for image in images})
    if len(folds) < 2:
        return []
    names = ("lesion_dice", "accuracy", "normal_false_mask_share")
    rows = []
    for fold in folds:
        # Without intervals, which so few groups hardly tell.
        found = summarise([image for image in images if image.fold == fold], names=names, resamples=1)
        dice, right, false = (found[name] for name in names)
        rows.append(
            (
                str(fold),
                "–" if dice.value is None else f"{value_of(dice, names[0])} (of {dice.n})",
                value_of(right, names[1]) + count_of(right),
                "–" if false.value is None else f"{false.count} of {false.n}",
            )
        )
    return [
        "Fold by fold:",
        table(["fold", *(FIGURES[name] for name in names)], rows),
    ]


def _made_with(provenance: Mapping[str, Any]) -> str:
    seeds = f"Bootstrap seed {provenance['bootstrap']['seed']}"
    if "training_seed" in provenance:
        seeds = (
            f"Training seed {provenance['training_seed']}, bootstrap seed {provenance['bootstrap']['seed']}"
        )
    commit = provenance.get("commit")
    return (
        f"{seeds}; {f'judged at commit {commit}' if commit else 'commit not recorded'}.{note_of(provenance)}"
    )


def _subsets(subsets: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    if not subsets:
        return []
    rows = [
        (
            FIGURES[name],
            *(value_of(estimates[name], name) + _counted(estimates[name]) for estimates in subsets.values()),
        )
        for name in _BY_SUBSET
    ]
    return [
        "The same by what Pawłowska et al. (*Data in Brief* 48:109247, 2023) noted on the images: an "
        "objection (axilla, needle, a copy in another class) or something burnt in (calipers, text, another "
        "overlay). The images without objection are the clean core.",
        table(["figure", *subsets], rows),
    ]


def _readme_table(root: Path) -> str:
    sources = _kept(root)
    results = {source: read_result(_file(root, source)) for source in sources}
    header = ["", *(f"{source.heading}, {sum(results[source].images.values())} images" for source in sources)]
    rows = [
        (FIGURES[name], *(_with_interval(results[source].estimates.get(name), name) for source in sources))
        for name in _IN_README
        if any(name in result.estimates for result in results.values())
    ]
    return table(header, rows)


def _with_interval(estimate: Estimate | None, name: str) -> str:
    if estimate is None or estimate.value is None:
        return "–"
    return f"**{value_of(estimate, name)}** ({interval_of(estimate, name)})"


def _counted(estimate: Estimate) -> str:
    return "" if estimate.value is None else f" (of {estimate.n})"


_PROTOCOL = f"""\
Written by `research/write_results.py` from the files in [results](../research/results). No figure here is
typed by hand; where a file was worked on after the judging, a note beside its command says so.

- **Split.** Folds of [`busi_folds.csv`](../busi_unet/data/busi_folds.csv): no copy of a picture is ever
  in two of them. BUSI has no patient ids, so pictures of one patient may be.
- **Scale.** Masks are compared at the picture's own size. A missed lesion counts as Dice 0, and as the
  picture's diagonal in HD95. Lesion figures are means over the images that have a lesion.
- **Operating point.** Temperature, mask thresholds, prediction sets, edge band and guard are fitted on
  pictures that are not judged. *Suspected* is a picture whose probability of malignant is
  {Thresholds.malignant:.0%} or more, whatever its class; that level is not fitted ([trust.md](trust.md)).
- **Intervals.** 95 %, from a bootstrap over groups of copies. They hold the chance of the pictures, not
  that of the training, which ran once each; what another seed alone does:
  [recipes.md](recipes.md#short-trainings).
- **Choices.** Recipes were compared on folds 1 and 2, which the cross-validation judges, too. The level of
  suspicion was set after all five had been judged with fitted ones. The embedded
  weights were fitted without fold 0; how often it was looked at: [model.md](model.md#looks-at-fold-0).
- **AUC** is of the probability of malignant as a share of that of malignant and benign.
- **Missed** is a lesion with Dice below {MISSED_DICE}; a **false mask** is any pixel on a picture without
  a lesion.
- Refused pictures stay in every figure, with an empty mask and the class they were given.
- `data/busi_marks.csv` in the commands is [`busi_marks.csv`](../busi_unet/data/busi_marks.csv) of the
  package."""

_MILD = """\
The recipe before marks were burnt in and painted out: mild augmentation, a dropout of .5, a weight decay of
.05 and 24 epochs, the defaults of its commit. It goes by what is burnt into the pictures
([audit.md](audit.md))."""

_HIGHER_RATE = """\
What had looked better on validation folds since the published networks were trained: twice the learning rate
for two thirds of the epochs, depthwise filters trained with all others, the growing average of weights, and
the last epoch in place of the best one. Over all five folds no figure below can be told from the published
ones, so that these stayed."""

_BEST_EPOCH = """\
The same trainings as in the section before, step by step; each model has the weights of the epoch with the
best mean of Dice and accuracy on the validation images in place of the last epoch's (`--select`), and what
is fitted after training is fitted to them. The published cross-validation takes the best, too."""

_RANDOM_SPLIT = """\
One recipe under two splits: the folds dealt image by image, so that over a third of the test images have a
copy among those that are trained or validated on (`scripts/prepare_data.py kaggle --ignore-copies --output
data/busi_random`), and the folds that keep copies together. The images are the same, so the difference is
what such a split adds without any better network."""

_NOTEBOOK = """\
The network of the course notebook that this project grew from, Ronneberger's U-Net of width 64 (31 M
parameters) at 128 × 128 from random weights, without augmentation and without an average of weights, on
the same folds, with the losses and the presence rule of this package. The notebook reported 0.910 on its
test set: `dice` of masks cast to integers, which turns every probability below 1 into 0, with background
counted as a class. A blank mask scores {blank:.3f} that way on the lesion images here."""
