"""A prediction in words: sentences of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from busi_unet.imaging.agreement import Agreement
from busi_unet.imaging.measure import Lesion

if TYPE_CHECKING:
    from busi_unet.inference.prediction import Prediction

AGREEMENT_LEGEND = "Blue: in both. Vermillion: outlined only. Yellow: in the reference only."
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def describe(prediction: Prediction, *, anyway: bool = False) -> str:
    """What was found, as a few sentences.

    Args:
        prediction: of one picture.
        anyway: tell the result of a refused picture too, behind the reasons.
    """
    reasons = " ".join(prediction.reasons)
    if prediction.refused and not anyway:
        return f"**Not analysed.** {reasons}"
    lesions = prediction.measurements
    sentences = [f"**{_count(len(lesions))} outlined.**"]
    if lesions:
        sentences.append(_lesion(lesions[0], "It" if len(lesions) == 1 else "The largest"))
    sentences.append(
        f"Most probable class: {prediction.label} ({prediction.probabilities[prediction.label]:.0%})."
    )
    if not prediction.calibrated:
        sentences.append("The probabilities are not calibrated: they may be far too sure.")
    if flag := describe_flag(prediction):
        sentences.append(flag)
    if bool(lesions) == (prediction.label == "normal"):
        # The outline follows a threshold of its own, so the two can differ; saying so beats hiding it.
        sentences.append("Outline and class disagree: look at this picture with special care.")
    if prediction.refused:
        sentences.insert(0, f"**Analysed all the same, not to be trusted.** {reasons}")
    if in_words := describe_set(prediction):
        sentences.append(in_words)
    return " ".join(sentences)


def describe_flag(prediction: Prediction) -> str:
    """That malignancy is suspected beside another class; empty where it is not, or is the class itself."""
    if not prediction.flagged or prediction.label == "malignant":
        return ""
    share = f"{prediction.probabilities['malignant']:.0%}"
    sentence = (
        f"Malignancy is suspected all the same: its probability ({share}) reaches the level from which "
        "it is, as that of many benign lesions does."
    )
    if prediction.prediction_set is not None and "malignant" not in prediction.prediction_set:
        sentence += " That level is lower than the one from which a class stays among those that are left."
    return sentence


def describe_set(prediction: Prediction) -> str:
    """Which classes cannot be excluded; empty where the weights are not calibrated for it."""
    if prediction.prediction_set is None:
        return ""
    names, confidence = prediction.prediction_set, f"{prediction.coverage:.0%}"
    if len(names) == 1:
        return f"At {confidence} confidence, only {names[0]} is left."
    if len(names) == len(prediction.probabilities):
        return f"At {confidence} confidence, no class can be excluded."
    return f"{_listed(names).capitalize()} cannot be told apart at {confidence} confidence."


def describe_agreement(agreement: Agreement) -> str:
    """How well the outline agrees with a reference mask: a paragraph of figures, one of what lies behind."""
    figures = [
        f"{name} **{value:.3f}**"
        for name, value in (("Dice", agreement.dice), ("IoU", agreement.iou))
        if value is not None
    ]
    if agreement.hd95_px is not None:
        in_mm = "" if agreement.hd95_mm is None else f" ({agreement.hd95_mm:.1f} mm)"
        figures.append(f"HD95 **{agreement.hd95_px:.1f} px**{in_mm}")
    areas = (
        f"Outlined: {agreement.predicted_area_px:,} px; in the reference: {agreement.reference_area_px:,} px."
    )
    return "\n\n".join(part for part in (", ".join(figures), agreement.remark, areas) if part)


def _listed(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _count(number: int) -> str:
    if number == 0:
        return "No lesion"
    word = _NUMBERS[number].capitalize() if number < len(_NUMBERS) else str(number)
    return f"{word} {'lesion' if number == 1 else 'lesions'}"


def _lesion(lesion: Lesion, subject: str) -> str:
    shape = "taller than wide" if lesion.taller_than_wide else "not taller than wide"
    if lesion.unit == "mm":
        area, size = f"{lesion.area_mm2:,.1f} mm²", f"{lesion.width_mm:.1f} × {lesion.height_mm:.1f} mm"
        diameter = f"{lesion.longest_diameter_mm:.1f} mm"
    else:
        area, size = f"{lesion.area_px:,} px", f"{lesion.width_px} × {lesion.height_px} px"
        diameter = f"{lesion.longest_diameter_px:.0f} px"
    return (
        f"{subject} covers {area}, {lesion.area_share:.1%} of the picture, is {shape} ({size}), "
        f"and its longest diameter is {diameter}."
    )
