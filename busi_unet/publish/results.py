"""The evaluations that belong to a set of weights."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from busi_unet.errors import UsageError
from busi_unet.evaluation.statistics import Estimate
from busi_unet.io.files import reading

# Where an evaluation is written unless told otherwise.
_PLACE = "reports/*/metrics.json"


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
    def on_own_split(self) -> bool:
        """Return whether the images are, for sure, those that the model's own split keeps for this."""
        return self.provenance.get("split_is_the_models_own") is True

    @property
    def file_name(self) -> str:
        """Return its name in the repository: one for each split and content of the data."""
        return f"{self.split}-{self.provenance['data_sha256'][:8]}.json"


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
        for key in ("split", "bootstrap", "command"):
            result.provenance[key]
    return result


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
        if result.provenance.get("model_sha256") != model_sha256:
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
            if result.provenance.get("model_sha256") == model_sha256:
                results.setdefault(result.file_name, result)
    return [results[name] for name in sorted(results)]


def _estimates(part: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate(**found) for name, found in part["estimates"].items()}
