"""A prediction in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from busi_unet.imaging.measure import Lesion

if TYPE_CHECKING:
    from busi_unet.predictor import Prediction

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def describe(prediction: Prediction) -> str:
    """What was found, as a few sentences of Markdown."""
    if prediction.refused:
        return f"**Not analysed.** {' '.join(prediction.reasons)}"
    lesions = prediction.measurements
    sentences = [f"**{_count(len(lesions))} outlined.**"]
    if lesions:
        sentences.append(_lesion(lesions[0], "It" if len(lesions) == 1 else "The largest"))
    sentences.append(
        f"Most probable class: {prediction.label} ({prediction.probabilities[prediction.label]:.0%})."
    )
    if bool(lesions) == (prediction.label == "normal"):
        # The outline follows a threshold of its own, so the two can differ; saying so beats hiding it.
        sentences.append("Outline and class disagree: look at this picture with special care.")
    return " ".join(sentences)


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
