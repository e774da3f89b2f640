"""The words of the page; those about the weights are in `model.py`, those of the API with its handlers.

A few more are in the templates; warnings and remarks about an image, and summaries of several, come from
`imaging`, `io` and `inference`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from busi_unet.config import CLASS_NAMES
from busi_unet.data.readers import citation_of
from busi_unet.imaging.agreement import Agreement
from busi_unet.imaging.measure import Lesion, percent

if TYPE_CHECKING:
    from busi_unet.config import Calibration
    from busi_unet.inference.prediction import Prediction
    from busi_unet.io.decode import DecodedImage

# The page.
TITLE = "Breast ultrasound: lesion outline and class"
INTRODUCTION = (
    "Outlines lesions and classifies the image as normal, benign or malignant. "
    "**Research use only, not a medical device.**"
)
ONE_IMAGE, MANY_IMAGES, ABOUT = "One image", "Many images", "About this model"
WAIT = "One moment…"
TRY_AGAIN = "Try again."

# One image: choosing it.
IMAGE = "Image"
INVITATION = "Drop or paste an image anywhere (PNG, JPEG, GIF, WebP, BMP, TIFF, DICOM), or choose an example."
EXAMPLES = "Or an example"
EXAMPLE = "Example"
EXAMPLES_SOURCE = (
    "Examples: [BrEaST](https://doi.org/10.7937/9WKK-Q141), fold 0, not used to train the embedded weights. "
    "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). Pawłowska A, et al. Curated benchmark "
    "dataset for ultrasound based breast lesion analysis. Scientific Data 11:148 (2024)."
)
RECENT = "Last images"
LAST_IMAGE = "Last image"
RECENT_GONE = ("That image is no longer kept.", "Choose its file again.")
OTHER_SOURCES, CAPTURE = "Or paste it, or use the camera", "Paste or camera"
CLIP_FRAME = "Frame of the clip"
PIXEL_SIZE, PIXEL_SIZE_INFO = "Pixel size, mm", "If you know it: lesions are then measured in millimetres."

# One image: how it is shown.
DISPLAY, VIEW, OPACITY, COLOR, DIAMETERS = "Display", "Show", "Opacity", "Colour", "Draw the diameters"
THRESHOLD, THRESHOLD_INFO = "Threshold", "Lesion probability of a pixel."
THRESHOLD_UNUSED = "Not in use: the mask was corrected by hand."
OUTLINE_AND_TINT, OUTLINE, TINT, BOUNDARY_BAND = "Outline and tint", "Outline", "Tint", "Boundary band"
UNCERTAINTY, LESION_PROBABILITY, ACTIVATION_MAP = "Uncertainty", "Lesion probability", "Class activation map"
MAPS = (UNCERTAINTY, LESION_PROBABILITY, ACTIVATION_MAP)
VIEWS = (OUTLINE_AND_TINT, OUTLINE, TINT, BOUNDARY_BAND, *MAPS)
ORIGINAL, OVERLAY, OVERLAYS = "Original", "Overlay", "Overlays"
PROBABILITIES, VERDICT, FINDINGS = "Class probabilities", "Verdict", "Findings"
MASK, CONTOURS = "Mask", "Contours"
ANYWAY, ANALYSING = "Analyse anyway", "Analysing…"
CROP_START, CROP, LEFT, RIGHT = "Crop", "Analyse this part", "Only the left image", "Only the right image"
CROP_HINT, CANCEL = "Drag a box over the original.", "Cancel"
TEXT_ON_LESION = "What looks like text touches the outline.", "Crop the image instead."
BLACKEN, CROPPED, BLACKENED = "Blacken the text", "(cropped)", "(blackened)"
LOOK_FOR_TEXT = "Before you share the image, look for remaining text: single characters are not found."
NO_BOX = ("There is no box.", "Press Crop, and draw one over the image.")
NOT_WRITTEN = "Not written"
NOT_ANALYSED, ANALYSED_ANYWAY = "Not analysed", "Analysed anyway, not reliable"
REFUSED_HELP = "If it is a breast ultrasound image, crop it to the scan alone, or analyse it anyway."

# One image: all frames of a clip.
CLIP, CLIP_ALL, CLIP_WRITING = "Clip", "Analyse all {:,} frames", "Writing the overlay clip…"
CLIP_RESULTS, CLIP_FILES = "Overlay clip and table", "A row per frame (CSV), overlays (WebP)"
KEY_FRAME, LARGEST = "Key frame {}", "Largest: {}, frame {}"
MOST_MALIGNANT = "Most malignant: {}, frame {}"
CLIP_LEGEND = (
    "Key frame: of the frames with a large, lasting outline, the one with the surest lesion. "
    "Above the dashed line a frame is flagged. A click on the timeline shows the frame."
)


def clip_offer(frames: int, most: int, *, at_hand: bool) -> str:
    """Return that only one frame is analysed, and what to do if the others cannot be."""
    told = f"Only one of {frames:,} frames is analysed."
    if not at_hand:
        return f"{told} Choose the file again to analyse the others."
    if frames > most:
        return f"{told} At most {most:,} can be analysed: export a shorter clip."
    return told


def clip_ended(done: int, told: Mapping[str, Any]) -> str:
    """Return how a run over a clip ended; `told` are the values of `Clip.to_dict`."""
    start = f"All {done}" if done == told["frames"] else f"Cancelled, {done} of {told['frames']}"
    refused = f", {done - told['analysed']} not analysed" if done > told["analysed"] else ""
    return f"{start} frames done: {told['with_lesion']} with an outline, {told['flagged']} flagged{refused}."


# One image: what can be done with it.
MEASUREMENTS, MEASUREMENTS_LABEL = "Measure", "Lesions, the largest first"
MEASUREMENT_HEADERS = (
    *("No.", "Area", "Longest diameter", "Perpendicular", "Width × height"),
    *("Taller than wide", "Below the skin", "Left, top – right, bottom"),
)
MEASUREMENT_LEGEND = (
    "Perpendicular: the longest line at right angles to the longest diameter. Taller than wide counts toward "
    "malignancy. Below the skin: from the skin line to the lesion's top; ≥ if the image may be cut there."
)
REFERENCE = "Compare"
REFERENCE_LABEL = "Reference masks: the image's size, lesion white; several are merged"
AGREEMENT = "Agreement"
AGREEMENT_LEGEND = "Blue: in both. Vermillion: outlined only. Yellow: in the reference only."
CORRECT, CORRECT_APPLY, CORRECT_UNDO, CORRECT_DROP = "Correct", "Measure it", "Undo", "Undo all"
CORRECT_MODE = "How to correct"
CORRECT_MODES = LESION_HERE, NOT_THIS_ONE, CLICK_BOX, BRUSH = ("Lesion here", "Not this one", "Box", "Brush")
CORRECT_HINT = "Click on the result above, or move a cross over it with the arrow keys and press Enter."
CORRECT_NOT = "Click in the middle of an outline to remove it, near its edge to trim it."
CORRECT_CORNER = "Now click the opposite corner of the box."
CORRECT_NOTHING = "Nothing is outlined there, so nothing was taken away. Click inside an outline."
CORRECT_BRUSH = "Paint the mask below, then measure it."
EDITOR = "Paint the lesion, erase what is not lesion"
PAIR_CLASS, MAKE_PAIR = "Class of the training pair", "Make a training pair"
PAIR_FILE = "Image and mask in the layout of BUSI"
DOWNLOAD, MAKE_FILES, FILES = "Download", "Make the files", "Overlay, values, report, and the formats chosen"
FORMATS = "Formats"
FORMATS_INFO = "DICOM: of DICOM images only. It copies the patient's data from their header."
ALL_VALUES, REPORT = "Values", "Report"

# About this model.
RESULTS, WEIGHTS, DATA, LIMITS, LICENCE = "Results", "Weights", "Data", "Limits", "Licence"
METRIC_HEADERS = ("Metric", "Value", "Interval")
NOT_DEFINED = "not defined"
FLAGGED, UNSEEN = "Cancers found", "At an unseen hospital"
OWN = "At its own hospitals, on images it was not trained on"
FLAG_IS = "A flag means: look again, cancer cannot be excluded. It is not a diagnosis."
SIBLINGS = "Results for an unseen hospital come from models trained the same way without it."
NO_EVALUATION = "These weights have not been evaluated. Run busi-unet evaluate on their folder."
CONFUSION = "Confusion matrix. Rows: true class, columns: predicted; refused images have none."
UNKNOWN_DATA = "The training data are not recorded: ask whoever published these weights."
LIMITS_LIST = (
    "Not a medical device. For research and teaching, not for diagnosis or treatment.",
    "Expect worse results on other scanners, hospitals and patients than those it was trained on.",
    "An image that is not breast ultrasound may still be analysed: check what you upload.",
    "An image without an outline may show a lesion, and one called normal may have an outline.",
)
LICENCE_OF_CODE = "Code and embedded weights: MIT."


def measured_on(split: str, classes: str, images: int, groups: int, level: float) -> str:
    """Return what the metrics were measured on."""
    return (
        f"Measured on the {split} split: {images} images ({classes}) in {groups} groups, at native "
        f"resolution. Bars show the {percent(level)} interval of a bootstrap over groups. A missed lesion "
        "counts as Dice 0, and as the image's diagonal in HD95."
    )


# Errors about one image: what was wrong, what to do next.
NO_IMAGE = ("No image was given.", "Choose one and try again.")
NO_IMAGE_YET = ("There is no image to work on.", "Upload one, or choose an example.")
NOTHING_PAINTED = ("Nothing has been painted yet.", "Press Start, then paint.")
NO_PAIR_CLASS = "The class of the training pair is not chosen."
NOT_USED = "It is not used."


def pixel_size_not_plausible(millimetres: float) -> tuple[str, str]:
    return f"A pixel of {millimetres:g} mm is not plausible.", "Type millimetres, such as 0.08."


# Many images.
BATCH_FILES, BATCH_FOLDER = "Images, zips or a folder", "Choose a folder"
BATCH_START = "Analyse all"
BATCH_DOWNLOAD, BATCH_PROGRESS, BATCH_TABLE = "Download all results", "Progress", "Images"
BATCH_TABLE_HINT = (
    "Classes in percent; prediction set: those that cannot be excluded. Flag: malignant above the alert "
    "threshold. Sort with ⋮ in a heading; a click on a row opens its image."
)
BATCH_HEADERS = (
    *("No.", "Image", "Class", "Flag", *(name.capitalize() for name in CLASS_NAMES)),
    *("Prediction set", "Lesions", "Longest", "Unit", "Remarks"),
)
BATCH_FLAG = "⚑ flagged"
BATCH_FILTER, BATCH_ALL, BATCH_FLAGGED, BATCH_REFUSED = "Show", "All", "Flagged", "Without a result"
BATCH_CHANGED = ("The files have changed since this table was made.", "Analyse them again.")
BATCH_STOPPING = "Stopping after this image…"
BATCH_NOT_USED = "could not be used"
BATCH_FAILED = "Nothing was analysed."
BATCH_EMPTY = ("No image was given.", "Choose files or a zip and try again.")
SUMMARY, SUMMARY_ROWS = "Several images of one lesion or patient", "Rows"
SUMMARY_INFO = "Two or more. Without any, DICOM files are grouped by patient and examination."
SUMMARY_START, SUMMARY_FILES = "Summarise together", "Summary (JSON lines, CSV)"
SUMMARY_TOO_FEW = (
    "There are fewer than two images to summarise.",
    "Choose two rows or more; without any, the files need DICOM tags of patient and examination.",
)


def batch_invitation(images: int, megabytes: int) -> str:
    """Return what to choose for a batch, and its limits."""
    return (
        f"Choose or drop files, zips or a folder: at most {images} images and {megabytes} MB together. In "
        "zips and folders, files named like masks (`…_mask.png`) are left out. Of a clip the first frame is "
        "taken."
    )


def batch_too_large(
    files: int | str, megabytes: float | str, most: int, most_megabytes: int
) -> tuple[str, str]:
    """Return why a batch is refused, and what to do."""
    return (
        f"{files} files of {megabytes} MB together: at most {most} images and {most_megabytes} MB at once.",
        "Choose fewer, or use busi-unet predict, which has no limit.",
    )


def progress(done: int, of: int, things: str, seconds_left: float) -> str:
    """Return how far a run is."""
    if seconds_left < 1:
        left = "nearly done"
    elif seconds_left < 90:
        left = f"about {seconds_left:.0f} s left"
    else:
        left = f"about {seconds_left / 60:.0f} min left"
    return f"{done} of {of} {things} done, {left}."


def batch_ended(outcome: str, of: int, *, flagged: int, cancelled: bool, shown: int | None) -> str:
    """Return how a batch ended; `shown` is the number of overlays on the page where that is not all."""
    ended = f"**Cancelled.** Of {of} images, these are done:" if cancelled else "**Done.**"
    status = f"{ended} {outcome} **{flagged} flagged.**"
    return status if shown is None else f"{status} The first {shown} are shown below; the zip holds all."


def example(case: str, label: str) -> str:
    """Return what is said beside the result of an example."""
    return f"*Example: BrEaST {case}, labelled {label}.*"


def spacing_info(down_mm: float, across_mm: float) -> str:
    """Return what a file says of the size of its pixels."""
    stated = f"The file states {across_mm:.4g} mm across and {down_mm:.4g} mm in depth."
    return f"{stated} Type another to override it."


def image_name(name: str, image: DecodedImage) -> str:
    """Return which image is shown: its name, and the frame of a clip."""
    return name if image.frames == 1 else f"{name}, frame {image.index + 1} of {image.frames}"


def too_many_megabytes(megabytes: float | str, most: int) -> tuple[str, str]:
    return (
        f"The file is {megabytes} MB; the limit for one image is {most} MB.",
        f"Export a smaller file; for a zip of many images use the tab {MANY_IMAGES}.",
    )


def headline(prediction: Prediction, *, corrected: bool = False) -> str:
    """Return class, flag and lesions at a glance; `corrected`: the outline is by hand."""
    if prediction.label is None:
        return NOT_ANALYSED
    flag = (
        "" if not prediction.flagged else ", flagged" if prediction.label == "malignant" else ", but flagged"
    )
    lesions = prediction.measurements
    if lesions:
        size = lesions[0].lengths("longest_diameter").replace(" ", "\u00a0")
        found = f"{len(lesions)}\u00a0lesion{'s' * (len(lesions) > 1)}{' outlined by hand' * corrected}, "
        found += f"{'' if len(lesions) == 1 else 'the largest '}{size} long"
    else:
        found = f"no lesion outlined{', by hand' * corrected}"
    share = percent(prediction.probabilities[prediction.label])
    return f"{prediction.label.capitalize()} ({share}){flag} · {found}"


def explain(prediction: Prediction, alert_threshold: float, benign_flagged: int | None = None) -> list[str]:
    """Return the sentences below the headline: why an image is refused or flagged.

    Args:
        alert_threshold: malignant probability from which an image is flagged.
        benign_flagged: how many of 100 benign lesions are flagged, where it was measured.
    """
    if prediction.label is None:
        return [*prediction.reasons, REFUSED_HELP]
    reasons = [f"{ANALYSED_ANYWAY}. {' '.join(prediction.reasons)}"] if prediction.refused else []
    return list(filter(None, [*reasons, describe_flag(prediction, alert_threshold, benign_flagged)]))


def details(prediction: Prediction, calibration: Calibration) -> str:
    if prediction.label is None:
        return ""
    sentences = [describe_set(prediction, calibration)]
    if not prediction.calibrated:
        sentences.append("The probabilities are not calibrated and may be overconfident.")
    lesions = prediction.measurements
    if lesions:
        sentences.append(_lesion(lesions[0], "The lesion" if len(lesions) == 1 else "The largest lesion"))
    if bool(lesions) == (prediction.label == "normal"):
        # The mask follows a threshold of its own, so the two can differ.
        sentences.append("Mask and class disagree: check this image with special care.")
    return " ".join(filter(None, sentences))


def describe_flag(prediction: Prediction, alert_threshold: float, benign_flagged: int | None = None) -> str:
    if not prediction.flagged or prediction.label == "malignant":
        return ""
    too = ""
    # Nothing was measured on images that are refused.
    if benign_flagged and not prediction.refused:
        too = f" At the model's own hospitals, about {benign_flagged} of 100 benign lesions are flagged, too."
    return (
        f"Flagged: malignant probability {percent(prediction.probabilities['malignant'])} is above the "
        f"{percent(alert_threshold)} alert threshold.{too}"
    )


def describe_set(prediction: Prediction, calibration: Calibration) -> str:
    if prediction.prediction_set is None:
        return ""
    sets = (
        f"Prediction set: {', '.join(prediction.prediction_set)}. "
        f"Such sets are built to contain the true class of {100 * prediction.coverage:.0f} of 100 images."
    )
    measured = calibration.prediction_sets and calibration.prediction_sets.elsewhere
    if not measured:
        return sets
    shares = [
        f"{100 * share:.0f} of 100 in {citation_of(source).title}" for source, share in measured.items()
    ]
    return f"{sets} At hospitals that they were not fitted to, they contain it in {', '.join(shares)}."


def describe_agreement(agreement: Agreement) -> list[str]:
    metrics = [
        f"{name} **{value:.3f}**"
        for name, value in (("Dice", agreement.dice), ("IoU", agreement.iou))
        if value is not None
    ]
    if agreement.hd95_px is not None:
        in_mm = "" if agreement.hd95_mm is None else f" ({agreement.hd95_mm:.1f} mm)"
        metrics.append(f"HD95 **{agreement.hd95_px:.1f} px**{in_mm}")
    areas = f"Outlined: {agreement.predicted_area_px:,} px²; reference: {agreement.reference_area_px:,} px²."
    return list(filter(None, (", ".join(metrics), agreement.remark, areas)))


def describe_view(prediction: Prediction, view: str) -> str:
    if prediction.label is None:
        return ""
    if view == BOUNDARY_BAND:
        if prediction.boundary_band is None:
            return "No boundary band: the weights have none, or the mask was changed by hand."
        share = percent(prediction.boundary_band.coverage)
        return f"On average, {share} of the true boundary lies between the orange and the blue line."
    scale = "from dark violet to yellow"
    legends = {
        UNCERTAINTY: f"Uncertainty of each pixel {scale}: 0 to 1 bit (as likely lesion as not).",
        LESION_PROBABILITY: f"Lesion probability of each pixel {scale}: 0 to 1.",
        ACTIVATION_MAP: f"Class activation map of {prediction.label} (coarse) {scale}: lowest to "
        "highest in this image.",
    }
    return legends.get(view, "")


def describe_threshold(threshold: float, prediction: Prediction) -> str:
    if prediction.mask.any():
        return (
            f"The outline follows a threshold set by hand ({threshold:.2f}), also where the model itself "
            "would draw none."
        )
    highest = prediction.probability.max()
    if highest < threshold:
        return f"No pixel reaches the threshold set by hand ({threshold:.2f}); the highest has {highest:.3f}."
    return f"What reaches the threshold set by hand ({threshold:.2f}) is too small to be outlined."


CORRECTED = "The mask was corrected by hand; the probabilities are the network's own."


def describe_millimetres(typed: float | None) -> str:
    source = "in the file" if typed is None else f"typed in: {typed:g} mm"
    return f"Millimetres are based on the pixel size {source}."


def _lesion(lesion: Lesion, subject: str) -> str:
    return (
        f"{subject} covers {lesion.area_text} ({percent(lesion.area_share, 1)} of the image) and is "
        f"{'' if lesion.taller_than_wide else 'not '}taller than wide "
        f"({lesion.lengths('width')} wide, {lesion.lengths('height')} high)."
    )
