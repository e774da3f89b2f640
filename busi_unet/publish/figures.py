"""How the figures of an evaluation are named and written, in the card and in the repository's own pages."""

from __future__ import annotations

from busi_unet.learning.metrics import ECE_BINS, MISSED_DICE
from busi_unet.learning.summary import Estimate

FIGURES = {
    "lesion_dice": "Lesion Dice, mean",
    "lesion_dice_median": "Lesion Dice, median",
    "benign_dice": "Lesion Dice, mean, benign",
    "malignant_dice": "Lesion Dice, mean, malignant",
    "lesion_iou": "Lesion IoU, mean",
    "lesion_hd95_px": "HD95 on lesion images, px",
    "lesion_missed_share": f"Lesions missed (Dice < {MISSED_DICE})",
    "normal_false_mask_share": "Normals with any false mask",
    "accuracy": "Three-class accuracy",
    "macro_f1": "Macro-F1",
    "auc_malignant": "AUC, benign against malignant",
    "malignant_sensitivity": "Malignant images suspected (sensitivity)",
    "malignant_specificity": "Other images not suspected (specificity)",
    "ece": f"Expected calibration error, {ECE_BINS} bins",
    "set_coverage": "Class within the 90 % prediction set",
    "set_size": "Classes in a set, mean",
    "edge_coverage": "Share of the edge within its 90 % band, mean",
}


def value_of(estimate: Estimate, name: str) -> str:
    """The value alone, or that it is undefined."""
    return "undefined" if estimate.value is None else f"{estimate.value:.{_digits(name)}f}"


def count_of(estimate: Estimate) -> str:
    """How many of how many, behind a share; nothing where there is no share."""
    return "" if estimate.value is None or estimate.count is None else f" ({estimate.count} of {estimate.n})"


def interval_of(estimate: Estimate, name: str) -> str:
    """The interval's ends, or a dash."""
    if estimate.ci_low is None or estimate.ci_high is None:
        return "–"
    return f"{estimate.ci_low:.{_digits(name)}f} to {estimate.ci_high:.{_digits(name)}f}"


def signed(difference: Estimate, name: str) -> str:
    """A difference of two values, with its sign."""
    return "undefined" if difference.value is None else f"{difference.value:+.{_digits(name)}f}"


def _digits(name: str) -> int:
    return 1 if name.endswith("_px") else 3
