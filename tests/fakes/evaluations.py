"""Summaries of evaluations as `busi-unet evaluate` writes them, for weights of any hash."""

from __future__ import annotations

import copy
import functools
from typing import Any

from busi_unet.evaluation.evaluate import evaluate
from fakes.made_up import MadeUpPredictor, make_split


@functools.cache
def _made_up() -> dict[str, Any]:
    split = make_split(source_of=lambda name: "one" if name.endswith("(1)") else "two")
    return evaluate(MadeUpPredictor(), split).summary


def make_summary(model_sha256: str, **provenance: Any) -> dict[str, Any]:
    """Return the metrics of the made-up predictor as those of a model, of images of two sources."""
    summary = copy.deepcopy(_made_up())
    summary["provenance"] |= {
        "command": "busi-unet evaluate runs/busi/model --data data/busi --split test",
        "model": "runs/busi/model",
        "split": "test",
        "split_is_the_models_own": True,
        "model_sha256": model_sha256,
        "weights_sha256": "c" * 64,
        "unseen_hospital": False,
        **provenance,
    }
    return summary
