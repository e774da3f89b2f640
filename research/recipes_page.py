"""docs/recipes.md: what each change of the recipe gave, written from research/results."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from busi_unet.evaluation.report import table
from busi_unet.evaluation.summary import Estimate
from busi_unet.io.files import reading
from busi_unet.publish.figures import FIGURES, interval_of, signed, value_of


@dataclass(frozen=True)
class Comparison:
    """Recipes that were compared with one baseline.

    Attributes:
        name: of its file in research/results.
        heading: of its section.
        meaning: what is compared and why.
    """

    name: str
    heading: str
    meaning: str


_FITTED_LEVEL = (
    " The level of suspicion was then still fitted, on the images that are judged: the highest that 97 % of "
    "the malignant ones reach."
)
COMPARISONS = {
    "recipes": Comparison(
        "recipes", "Whole trainings", "Recipes that could be the published one." + _FITTED_LEVEL
    ),
    "recipes_short": Comparison(
        "recipes_short",
        "Short trainings",
        "One change at a time, on trainings cut short: half of the epochs, the first blocks of the encoder "
        "kept as they start. What needs long to show is not seen here." + _FITTED_LEVEL,
    ),
    "recipes_growing": Comparison(
        "recipes_growing",
        "Short trainings with the growing average",
        "Other single changes of such trainings, with the weight average of today, whose decay grows with "
        "the steps.",
    ),
    "recipes_rate": Comparison(
        "recipes_rate",
        "Short trainings of all filters",
        "Learning rate and size of the pictures, in trainings of twelve epochs of which the last is taken, "
        "with nothing of the encoder kept as it starts.",
    ),
    "recipes_distilled": Comparison(
        "recipes_distilled",
        "Short trainings with teachers",
        "The baseline of the section before, trained again; the same with another seed; and with both of "
        "these as teachers, each fold with its own.",
    ),
}
"""By the argument of research/write_results.py that takes a new file of it."""


def keep_recipes(file: Path, root: Path, comparison: Comparison) -> None:
    """Copies what research/compare_recipes.py wrote into the repository.

    Raises:
        UsageError: it is something else.
    """
    _section(file, comparison)
    kept = _file(root, comparison)
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, kept)


def recipes_page(root: Path) -> str | None:
    """The page; None where no comparison is kept."""
    sections = [
        _section(_file(root, comparison), comparison)
        for comparison in COMPARISONS.values()
        if _file(root, comparison).is_file()
    ]
    return "\n\n".join(["# Recipes", _HEAD, *sections]) + "\n" if sections else None


def _section(file: Path, comparison: Comparison) -> str:
    with reading(file, "compares no recipes", "Name the file that research/compare_recipes.py wrote."):
        return _written(json.loads(file.read_text(encoding="utf-8")), comparison)


def _written(found: Mapping[str, Any], comparison: Comparison) -> str:
    recipes, baseline, uses = found["recipes"], found["baseline"], found["uses"]
    names = [baseline, *(name for name in recipes if name != baseline)]
    figures = list(recipes[baseline]["estimates"])
    titles = [FIGURES[figure] for figure in figures]

    def values(entry: Mapping[str, Any]) -> list[str]:
        return [value_of(_estimate(entry["estimates"][figure]), figure) for figure in figures]

    def differences(entry: Mapping[str, Any]) -> list[str]:
        return [_difference(entry["differences"][figure], figure) for figure in figures]

    changed = [
        (name, _changed(recipes[name]["changed"]) or "baseline", *values(recipes[name])) for name in names
    ]
    costs = [
        (
            name,
            f"{recipes[name]['parameters'] / 1e6:.2f} M",
            f"{recipes[name]['time']:.2f} ×",
            str(recipes[name]["minutes"]),
        )
        for name in names
    ]
    parts = [
        f"## {comparison.heading}",
        comparison.meaning,
        _MADE.format(
            name=comparison.name,
            images=found["images"],
            folds=", ".join(found["folds"]),
            options=_changed(found["baseline_options"]) or "none",
            folder=shlex.split(found["command"])[1],
            command=found["command"],
            commits=", ".join(found["commits"]),
            seed=found["bootstrap"]["seed"],
        ),
        table(["recipe", "changed", *titles], changed),
        "Less the baseline, image by image, with 95 % intervals over groups of copies:",
        table(["recipe", *titles], [(name, *differences(recipes[name])) for name in names[1:]]),
        "What they cost: the time of a forward pass, and minutes of training, all folds together, on "
        "a machine that had other work:",
        table(["recipe", "parameters", "time", "minutes"], costs),
        _USES.format(uses="; ".join(_MEANINGS[name].format(baseline=baseline) for name in uses)),
        table(
            ["use", "time", *titles],
            [(_words(name), f"{use['time']:.2f} ×", *values(use)) for name, use in uses.items()],
        ),
        "Less the baseline:",
        table(["use", *titles], [(_words(name), *differences(use)) for name, use in uses.items()]),
    ]
    return "\n\n".join(parts)


def _file(root: Path, comparison: Comparison) -> Path:
    return root / "research" / "results" / f"{comparison.name}.json"


def _estimate(written: Mapping[str, Any]) -> Estimate:
    return Estimate(**written)


def _difference(written: Mapping[str, Any], figure: str) -> str:
    estimate = _estimate(written)
    return f"{signed(estimate, figure)} ({interval_of(estimate, figure)})"


def _changed(options: Mapping[str, Any]) -> str:
    return " ".join(f"`{_flag(name, value)}`" for name, value in options.items())


def _flag(name: str, value: Any) -> str:
    values = [] if value is True else value if isinstance(value, list) else [value]
    return " ".join(["--" + name.replace("_", "-"), *map(str, values)])


def _words(name: str) -> str:
    return name.replace("_", " ")


_HEAD = """\
Each recipe was trained on three of the folds 1 to 4 and judged on the one left out, at native resolution;
fold 0 takes no part. Epoch, temperature and thresholds are chosen on the images that are judged, so that all
figures are a little too good, and alike so. One run each, with training seed 0 where no other is named: what
a repetition with another seed would change is not in the intervals. Resampling pictures adds to a calibration
error, so that its intervals lie above its values. Written by `research/write_results.py`."""

_MADE = """\
Over the {images} images of {folds} together; the options of the baseline beside the defaults: {options}.

```sh
scripts/train.py --fold 0 --validation-fold K --output {folder}/RECIPE/fold-K OPTIONS
{command}
```

Bootstrap seed {seed}, judged at commit {commits}.
Every figure: [{name}.json](../research/results/{name}.json)."""

_MEANINGS = {
    "without_presence_rule": "{baseline} without the rule that a picture with a low probability of any "
    "lesion gets no mask",
    "with_mirror_image": "the mean of its outputs for the picture and for the mirror image",
    "all_recipes_together": "the mean of the outputs of all recipes above with its encoder and input size",
    "with_averaged_weights": "one network whose weights are the mean of those of them that started from the "
    "same (`research/average_models.py`)",
}

_USES = """\
### The same networks, used otherwise

Nothing is trained here: {uses}. Temperature and thresholds are fitted anew to each mean, on the images that
are judged, as above."""
