"""The evaluations that a model folder keeps in `evaluation.json`; the app and the model card show them.

An object: a key that names data set, split and weights to the summary of an evaluation. Beside those of the
model itself there may be some of its siblings, trained by the same recipe without a hospital: `sibling_of` in
their provenance names the model's weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from busi_unet.config import EVALUATION_NAME
from busi_unet.io.files import reading, replace_file
from busi_unet.models.folder import model_hash, weights_hash


def read_evaluations(folder: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """Return the evaluations of exactly the model in a folder, and of its siblings, by their key.

    Raises:
        UsageError: the file is damaged, or something else.
    """
    path = Path(folder) / EVALUATION_NAME
    if not path.is_file():
        return {}
    model, weights = model_hash(folder), weights_hash(folder)
    with reading(path, "does not hold evaluations", "Delete it, and evaluate again."):
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: summary
            for key, summary in found.items()
            if summary["provenance"]["model_sha256"] == model
            or summary["provenance"].get("sibling_of") == weights
        }


def add_evaluation(folder: str | os.PathLike, summary: Mapping[str, Any]) -> None:
    """Add an evaluation to a model folder; one of the same data set, split and weights is replaced.

    Raises:
        UsageError: as from `read_evaluations`.
        OSError: the folder cannot be written.
    """
    write_evaluations(folder, [*read_evaluations(folder).values(), summary])


def write_evaluations(folder: str | os.PathLike, summaries: Iterable[Mapping[str, Any]]) -> None:
    """Write the evaluations of a model folder, in place of those that were there."""
    found = {key_of(summary): summary for summary in summaries}
    text = json.dumps(found, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    replace_file(Path(folder) / EVALUATION_NAME, lambda file: file.write(text.encode()))


def key_of(summary: Mapping[str, Any]) -> str:
    """Return what an evaluation is of: its sources, its split, and the start of the weights' SHA-256."""
    provenance = summary["provenance"]
    return f"{'+'.join(sorted(summary['sources']))} {provenance['split']} {provenance['weights_sha256'][:12]}"
