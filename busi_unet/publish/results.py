"""Which files of `scripts/evaluate.py` belong to a set of weights."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from busi_unet.errors import UsageError
from busi_unet.evaluation.summary import Estimate
from busi_unet.io.files import reading

# Where scripts/evaluate.py writes unless told otherwise, and where this repository keeps its own.
PLACES = ("reports/*/metrics.json", "research/results/*.json")


@dataclass(frozen=True)
class Result:
    """One evaluation, as its file tells it.

    Attributes:
        path: the file.
        estimates: figure by name, see `busi_unet.evaluation.summary.summarise`.
        images: number of images by class.
        groups: number of groups of copies.
        provenance: split, command, seed of the bootstrap, hash of the model, versions; a note, if the file
            was worked on later.
        subsets: the estimates of a part of the images, by its name.
    """

    path: Path
    estimates: dict[str, Estimate]
    images: dict[str, int]
    groups: int
    provenance: dict[str, Any]
    subsets: dict[str, dict[str, Estimate]]

    @property
    def split(self) -> str:
        return self.provenance["split"]

    @property
    def on_own_split(self) -> bool:
        """Whether the images are surely those that the model's own split keeps for this."""
        return self.provenance.get("split_is_the_models_own") is True

    @property
    def file_name(self) -> str:
        """Its name in the repository: one per split and content of the data."""
        return f"{self.split}-{self.provenance['data_sha256'][:8]}.json"


def read_result(path: str | os.PathLike) -> Result:
    """Reads the JSON that `scripts/evaluate.py` writes as metrics.json, or prints with --json.

    Raises:
        UsageError: the file is missing or is something else.
    """
    path = Path(path)
    hint = "Name the metrics.json in a report folder of scripts/evaluate.py."
    with reading(path, "is not an evaluation file", hint):
        summary = json.loads(path.read_text(encoding="utf-8"))
        result = Result(
            path=path,
            estimates=_estimates(summary["estimates"]),
            images=summary["images"],
            groups=summary["groups"],
            provenance=summary["provenance"],
            subsets={name: _estimates(part) for name, part in summary.get("subsets", {}).items()},
        )
        for key in ("split", "bootstrap", "command"):
            result.provenance[key]
    return result


def results_of(model_sha256: str, given: Iterable[str | os.PathLike] = ()) -> list[Result]:
    """The evaluations of exactly this model, by split.

    Args:
        model_sha256: see `busi_unet.models.pretrained.model_hash`.
        given: evaluation files; where there are none, the usual places below the working folder are searched.

    Raises:
        UsageError: a given file measures another model, cannot be read, or repeats another.
    """
    results: dict[str, Result] = {}
    for path in given:
        result = read_result(path)
        measured = result.provenance.get("model_sha256")
        if measured != model_sha256:
            raise UsageError(
                f"{path} measures another model ({str(measured)[:12]}…) than this one "
                f"({model_sha256[:12]}…): other weights, thresholds or calibration.",
                "Evaluate this model: python scripts/evaluate.py MODEL --data DATA --split test",
            )
        if result.file_name in results:
            raise UsageError(
                f"{path} and {results[result.file_name].path} measure the same split of the same data.",
                "Name one of them.",
            )
        results[result.file_name] = result
    if not results:
        for path in sorted(path for place in PLACES for path in Path().glob(place)):
            try:
                result = read_result(path)
            except UsageError:
                # Found, not named: any JSON may lie there.
                continue
            if result.provenance.get("model_sha256") == model_sha256:
                results.setdefault(result.file_name, result)
    return [results[name] for name in sorted(results)]


def note_of(provenance: Mapping[str, Any]) -> str:
    """What was done to a file after the judging, as a sentence to go behind another; empty for most."""
    return f" {provenance['note']}" if "note" in provenance else ""


def _estimates(summary: dict[str, dict[str, Any]]) -> dict[str, Estimate]:
    return {name: Estimate(**estimate) for name, estimate in summary.items()}
