"""Summaries of evaluations as `busi-unet evaluate` writes them, for weights of any hash."""

from __future__ import annotations

from typing import Any


def make_summary(model_sha256: str, **provenance: Any) -> dict[str, Any]:
    """Return values that no other evaluation has, so that a borrowed one shows."""

    def estimate(value, n=20, count=None):
        interval = (None, None) if value is None else (round(value * 0.9, 4), round(value * 1.1, 4))
        return {
            "value": value,
            "ci_low": interval[0],
            "ci_high": interval[1],
            "n": n,
            "count": count,
            "undefined_resamples": 0,
        }

    return {
        "class_names": ["normal", "benign", "malignant"],
        "confusion_matrix": [[4, 0, 0], [0, 8, 2], [0, 1, 9]],
        "estimates": {
            "lesion_dice": estimate(0.6123),
            "lesion_hd95_px": estimate(41.37),
            "lesion_missed_share": estimate(0.15, count=3),
            "accuracy": estimate(0.875, n=24, count=21),
            "auc_malignant": estimate(None),
            "ece": estimate(0.0871, n=24),
        },
        "images": {"normal": 4, "benign": 10, "malignant": 10},
        "sources": {
            "one": {"estimates": {"lesion_dice": estimate(0.7345)}},
            "two": {"estimates": {"lesion_dice": estimate(0.4321)}},
        },
        "groups": 22,
        "refused": 0,
        "provenance": {
            "bootstrap": {"level": 0.95, "resamples": 2000, "seed": 7, "unit": "group"},
            "command": "busi-unet evaluate runs/busi/model --data data/busi --split test",
            "data_sha256": "ab12cd34" * 8,
            "model": "runs/busi/model",
            "split": "test",
            "split_is_the_models_own": True,
            "versions": {"busi_unet": "0.1.0"},
            "model_sha256": model_sha256,
            "weights_sha256": "c" * 64,
            "unseen_hospital": False,
            **provenance,
        },
    }
