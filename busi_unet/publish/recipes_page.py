"""docs/recipes.md: what each change of the recipe gave, written from docs/results/recipes.json."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from busi_unet.files import reading
from busi_unet.learning.report import table
from busi_unet.learning.summary import Estimate
from busi_unet.publish.figures import FIGURES, interval_of, signed, value_of


def keep_recipes(file: Path, root: Path) -> None:
    """Copies what scripts/compare_recipes.py wrote into the repository.

    Raises:
        UsageError: it is something else.
    """
    _page(file)
    kept = _file(root)
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, kept)


def recipes_page(root: Path) -> str | None:
    """The page; None where no comparison is kept."""
    return _page(_file(root)) if _file(root).is_file() else None


def _page(file: Path) -> str:
    with reading(file, "compares no recipes", "Name the file that scripts/compare_recipes.py wrote."):
        return _written(json.loads(file.read_text(encoding="utf-8")))


def _written(found: Mapping[str, Any]) -> str:
    recipes, baseline = found["recipes"], found["baseline"]
    names = [baseline, *(name for name in recipes if name != baseline)]
    figures = list(recipes[baseline]["estimates"])
    values = [
        (
            name,
            _changed(recipes[name]["changed"]) if name != baseline else "baseline",
            *(value_of(_estimate(recipes[name]["estimates"][figure]), figure) for figure in figures),
        )
        for name in names
    ]
    differences = [
        (name, *(_difference(recipes[name]["differences"][figure], figure) for figure in figures))
        for name in names[1:]
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
    titles = [FIGURES[figure] for figure in figures]
    return (
        "\n\n".join(
            [
                "# Recipes",
                _HEAD.format(
                    images=found["images"],
                    folds=", ".join(found["folds"]),
                    command=found["command"],
                    commit=found["commit"] or "not recorded",
                    seed=found["bootstrap"]["seed"],
                ),
                table(["recipe", "changed", *titles], values),
                "Less the baseline, image by image, with 95 % intervals over groups of copies:",
                table(["recipe", *titles], differences),
                "What they cost: the time of a forward pass, and minutes of training, all folds together, on "
                "a machine that had other work:",
                table(["recipe", "parameters", "time", "minutes"], costs),
            ]
        )
        + "\n"
    )


def _file(root: Path) -> Path:
    return root / "docs" / "results" / "recipes.json"


def _estimate(written: Mapping[str, Any]) -> Estimate:
    return Estimate(**written)


def _difference(written: Mapping[str, Any], figure: str) -> str:
    estimate = _estimate(written)
    return f"{signed(estimate, figure)} ({interval_of(estimate, figure)})"


def _changed(options: Mapping[str, Any]) -> str:
    return " ".join(
        f"`--{name.replace('_', '-')}`" if value is True else f"`--{name.replace('_', '-')} {value}`"
        for name, value in options.items()
    )


_HEAD = """\
Each recipe was trained on three of the folds 1 to 4 and judged on the one left out, at native resolution; the
figures below are over the {images} images of {folds} together. Fold 0 takes no part. Epoch, temperature and
thresholds are chosen on the images that are judged, so that all figures are a little too good, and alike so.
One run each: what a repetition with another seed would change is not in the intervals.

```sh
scripts/train.py --fold 0 --validation-fold K --output runs/recipes/RECIPE/fold-K OPTIONS
{command}
```

Written by `scripts/write_results.py`; bootstrap seed {seed}, judged at commit {commit}. Every figure:
[recipes.json](results/recipes.json)."""
