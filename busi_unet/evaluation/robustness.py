"""Robustness: how a model's answers change when its images are perturbed.

Every perturbation leaves the lesion and its class what they are, so that a model that looks at the lesion
should answer as before. Text and calipers are those of training (`busi_unet.data.augment`): to withstand
them tells that it worked, not what other annotations would do. The imitations of another scanner
are not among the augmentations, and do not replace images from another hospital. The report folder shows no
pixel of the data set: `robustness.json` holds every metric with its interval and where it comes from,
`per_image.csv` a row per image and perturbation, "none" for the image as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from busi_unet.data.augment import draw_calipers, draw_text, paint_out
from busi_unet.data.prepared import decode_row
from busi_unet.errors import UsageError
from busi_unet.evaluation.evaluate import score
from busi_unet.evaluation.metrics import measure_over, shown_in
from busi_unet.evaluation.report import table, write_csv, write_json
from busi_unet.evaluation.rows import ImageResult, Table, count_classes
from busi_unet.evaluation.statistics import Bootstrap, Estimate, Statistic, mean
from busi_unet.imaging.quality import has_annotations
from busi_unet.inference.predictor import Predictor
from busi_unet.version import commit, versions

if TYPE_CHECKING:
    from datasets import Dataset

Pair = tuple[np.ndarray, np.ndarray]
Perturbation = Callable[[np.ndarray, np.ndarray, np.random.Generator], Pair | None]
"""Takes an image, uint8 (H, W), its mask, bool (H, W), and a generator; its docstring is its meaning.

Returns both changed, perhaps in another size, or None where there is nothing to change.
"""

_BORDER = 0.12
_NEARLY_BLACK, _LIT_SHARE, _MARGIN = 8, 0.02, 0.02
_TRIES = 30


def text_in(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    """A side and a place burnt in, anywhere."""
    return draw_text(image, generator), mask


def calipers_on_lesion(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair | None:
    """The lesion measured: dotted lines between crosses."""
    return (draw_calipers(image, mask, generator), mask) if mask.any() else None


def calipers_elsewhere(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    """The same, beside the lesion or without one."""
    # A lesion can fill the image so far that every place touches it: then the best of those tried.
    tries = (draw_calipers(image, None, generator) for _ in range(_TRIES))
    return min(tries, key=lambda candidate: ((candidate != image) & mask).sum()), mask


def strokes_out(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair | None:
    """Text, calipers and pictograms painted out, where there are some."""
    return (paint_out(image), mask) if has_annotations(image) else None


def borders_in(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    """Black bars at the left and the right, 12 % each."""
    columns = ((0, 0), (round(_BORDER * image.shape[1]),) * 2)
    return np.pad(image, columns), np.pad(mask, columns)


def borders_out(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair | None:
    """Black margins cut away, where there are some."""
    lit = []
    for axis in (1, 0):
        # A lesion never lies in the margin.
        used = ((image > _NEARLY_BLACK).mean(axis) >= _LIT_SHARE) | mask.any(axis)
        places = np.flatnonzero(used)
        lit.append(slice(places[0], places[-1] + 1) if places.size else slice(None))
    kept = image[tuple(lit)]
    narrower = any(side <= (1 - _MARGIN) * whole for side, whole in zip(kept.shape, image.shape, strict=True))
    return (kept, mask[tuple(lit)]) if narrower else None


def scanner_convex(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    """Another scanner: fanned out as by a convex probe, black outside; nothing is lost."""
    height, width = image.shape
    half_angle = generator.uniform(0.3, 0.5)
    # At half depth a beam is as far from the next as before; a tall image gets a face of some size still.
    face = max(width / (2 * half_angle) - height / 2, 0.3 * height)
    reach, top = face + height - 1, face * np.cos(half_angle)
    sideways = int(np.ceil(reach * np.sin(half_angle)))
    y, x = np.mgrid[top : reach + 1, -sideways : sideways + 1]
    depth = np.hypot(x, y) - face
    beam = (np.arctan2(x, y) / half_angle + 1) / 2 * (width - 1)
    fan = [
        ndimage.map_coordinates(plane.astype(np.float32), [depth, beam], order=1) for plane in (image, mask)
    ]
    return np.round(fan[0]).astype(np.uint8), fan[1] >= 0.5


def scanner_greys(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    """Another scanner: S-shaped grey map and local contrast (CLAHE; Zuiderveld, Graphics Gems IV, 1994)."""
    import cv2

    middle, slope = generator.uniform(0.3, 0.45), generator.uniform(3.5, 5.5)
    curve = 1 / (1 + np.exp(-slope * (np.arange(256) / 255 - middle)))
    curve = np.round(255 * (curve - curve[0]) / (curve[-1] - curve[0])).astype(np.uint8)
    local = cv2.createCLAHE(clipLimit=generator.uniform(0.8, 1.4), tileGridSize=(4, 4)).apply(image)
    # What was not scanned stays black.
    return np.where(image == 0, np.uint8(0), curve[local]), mask


PERTURBATIONS: dict[str, Perturbation] = {
    each.__name__: each
    for each in (
        text_in,
        calipers_on_lesion,
        calipers_elsewhere,
        strokes_out,
        borders_in,
        borders_out,
        scanner_convex,
        scanner_greys,
    )
}


def generator_for(name: str, image_id: str) -> np.random.Generator:
    """Return the generator of one perturbation of one image, whatever else is perturbed before it."""
    digest = sha256(f"0\t{name}\t{image_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8]))


@dataclass(frozen=True)
class Change:
    """A metric over the same images before and after, and the difference, taken image by image."""

    before: Estimate
    after: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Outcome:
    """What one perturbation does to the images that it applies to.

    Attributes:
        images: how many.
        metrics: by name, those that are shown in "robustness"; empty where there are no images.
        malignant_shift: mean change of the malignant probability.
        class_changed: share of images with another predicted class.
    """

    images: int
    metrics: dict[str, Change]
    malignant_shift: Estimate
    class_changed: Estimate


@dataclass(frozen=True)
class Robustness:
    """What `measure_robustness` found: meanings and outcomes by the name of the perturbation.

    `rows` are of the images that each applies to; first "none", of all images.
    """

    meanings: dict[str, str]
    outcomes: dict[str, Outcome]
    rows: dict[str, list[ImageResult]]
    provenance: dict[str, Any]

    @property
    def summary(self) -> dict[str, Any]:
        """Everything but the rows, ready for JSON."""
        return {
            "perturbations": self.meanings,
            "outcomes": {name: asdict(outcome) for name, outcome in self.outcomes.items()},
            "images": count_classes(self.rows["none"]),
            "groups": len({(row.source, row.group) for row in self.rows["none"]}),
            "provenance": self.provenance,
        }


def measure_robustness(
    predictor: Predictor,
    split: Dataset,
    *,
    perturbations: Mapping[str, Perturbation] = PERTURBATIONS,
    output: str | Path | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Robustness:
    """Predict every image as it is, once, and again under each perturbation that applies to it.

    Images of the prepared data set without an outlined reference are left out; `provenance` are entries to
    add, such as model and command. Nothing is written without `output`, the folder for the report: see the
    head of this module.

    Raises:
        UsageError: no image has an outlined reference.
    """
    if output is not None:
        Path(output).mkdir(parents=True, exist_ok=True)
    # Before the long part: of the code that runs, not of what it has become meanwhile.
    made_with = {
        "bootstrap": Bootstrap.settings(),
        "commit": commit(),
        "versions": versions("datasets", "numpy", "opencv-python-headless", "pillow", "scipy", "torch"),
    }
    unperturbed: list[ImageResult] = []
    pairs: dict[str, list[tuple[ImageResult, ImageResult]]] = {name: [] for name in perturbations}
    for item in tqdm(split, desc="robustness", unit="image"):
        pixels, target = decode_row(item)
        if target is None:
            continue
        before = score(predictor.predict(pixels), target, item)
        unperturbed.append(before)
        for name, perturb in perturbations.items():
            changed = perturb(pixels, target, generator_for(name, item["image_id"]))
            if changed is not None:
                after = score(predictor.predict(changed[0]), changed[1], item)
                pairs[name].append((before, after))
    if not unperturbed:
        raise UsageError("None of the images has an outlined reference.", "Prepare the data with masks.")
    found = Robustness(
        meanings={name: perturb.__doc__ for name, perturb in perturbations.items()},
        outcomes={name: _outcome_of(own) for name, own in pairs.items()},
        rows={"none": unperturbed, **{name: [after for _, after in own] for name, own in pairs.items()}},
        provenance={**made_with, **(provenance or {})},
    )
    if output is not None:
        listed = [{"perturbation": name, **row.to_row()} for name, rows in found.rows.items() for row in rows]
        write_csv(Path(output) / "per_image.csv", listed)
        write_json(Path(output) / "robustness.json", found.summary)
    return found


def _outcome_of(pairs: Sequence[tuple[ImageResult, ImageResult]]) -> Outcome:
    """Return what a perturbation does, from pairs of rows before and after it.

    Both are resampled together, so that the interval tells whether they differ, not how hard the images are.
    """
    before, after = (Table([pair[side] for pair in pairs]) for side in (0, 1))
    bootstrap = Bootstrap(before.groups)
    metrics = {}
    for metric in shown_in("robustness"):
        first, second = metric.measure(before), metric.measure(after)
        if n := min(first.n, second.n):
            difference = bootstrap.estimate(_difference(first.statistic, second.statistic), n)
            metrics[metric.name] = Change(bootstrap.estimate(*first), bootstrap.estimate(*second), difference)
    shift = after.probability("malignant") - before.probability("malignant")
    changed = (before.predicted != after.predicted).astype(float)
    return Outcome(
        len(pairs),
        metrics,
        malignant_shift=bootstrap.estimate(*measure_over(~np.isnan(shift), mean, shift)),
        class_changed=bootstrap.estimate(partial(mean, changed), len(pairs), int(changed.sum())),
    )


def _difference(before: Statistic, after: Statistic) -> Statistic:
    return lambda weights: after(weights) - before(weights)


def to_markdown(found: Robustness) -> str:
    """Return the differences as a Markdown table that also reads well in a terminal."""
    summary, metrics = found.summary, shown_in("robustness")
    listed = ", ".join(f"{count} {name}" for name, count in summary["images"].items())
    rows = []
    for name, outcome in found.outcomes.items():
        changes = [outcome.metrics.get(metric.name) for metric in metrics]
        differences = [change.difference.written(3, sign=True) if change else "–" for change in changes]
        shift, changed = outcome.malignant_shift.written(3, sign=True), outcome.class_changed.written(3)
        rows.append([name, str(outcome.images), *differences, shift, changed])
    header = ["Perturbation", "Images", *(metric.heading for metric in metrics)]
    return "\n\n".join(
        [
            f"Images: {sum(summary['images'].values())} ({listed}); groups: {summary['groups']}. By how much "
            f"each metric changes when the images are perturbed; in parentheses: "
            f"{found.provenance['bootstrap']['level']:.0%} bootstrap intervals over groups.",
            table([*header, "Malignant probability", "Share with another class"], rows),
            "\n".join(f"- {name}: {meaning}" for name, meaning in found.meanings.items()),
        ]
    )
