"""The data report: one HTML page about a prepared data set, read in one pass over its images."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy import ndimage

from busi_unet.data import report_plots
from busi_unet.data.layout import natural_order
from busi_unet.data.prepared import split_of_fold
from busi_unet.data.summary import class_name, summarise
from busi_unet.errors import MissingDependencyError
from busi_unet.imaging.overlay import draw_overlay
from busi_unet.io.decode import decode_image
from busi_unet.io.files import replace_file
from busi_unet.io.html import data_uri, jpeg_uri, png_of, render
from busi_unet.io.masks import decode_mask

if TYPE_CHECKING:
    from datasets import Dataset

SAMPLES = 6
SAMPLE_GROUPS = 6
LARGEST_GROUPS = 2
MAX_CONFLICTS = 30
MAX_OF_GROUP = 14

_THUMBNAIL = 180
_HEAT_SIDE = 64


@dataclass(frozen=True)
class ImageFacts:
    """What the report keeps of an image once its pixels are gone.

    Attributes:
        image_id: its name.
        label: its class; "unknown" where it has none.
        source: data set it came from.
        width: in pixels.
        height: in pixels.
        mean_grey: from 0 to 255.
        lesion_share: of the pixels, from 0 to 1.
        lesions: connected regions of the mask.
        taller_than_wide: the box of the region with the largest box.
    """

    image_id: str
    label: str
    source: str
    width: int
    height: int
    mean_grey: float
    lesion_share: float
    lesions: int
    taller_than_wide: bool


@dataclass
class DataFacts:
    """Everything that the page shows.

    Attributes:
        summary: what `busi_unet.data.summary.summarise` gives.
        images: all of them.
        grey: by class, the sum over its images of the share of each grey level, (256,).
        heat: by class, the sum over its lesion images of the masks at one size, rows first.
        thumbnails: by image id, as data URIs, of the images that are shown.
        samples: image ids by source and class.
        groups: image ids by group, in the order of the classes.
        label_of: class by image id.
        shown_groups: the groups with thumbnails.
    """

    summary: dict[str, Any]
    images: list[ImageFacts] = field(default_factory=list)
    grey: dict[str, np.ndarray] = field(default_factory=lambda: defaultdict(lambda: np.zeros(256)))
    heat: dict[str, np.ndarray] = field(
        default_factory=lambda: defaultdict(lambda: np.zeros((_HEAT_SIDE, _HEAT_SIDE)))
    )
    thumbnails: dict[str, str] = field(default_factory=dict)
    samples: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    label_of: dict[str, str] = field(default_factory=dict)
    shown_groups: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """The classes that have any image; "unknown" among them."""
        return [name for name, count in self.summary["classes"].items() if count]

    @property
    def conflicts(self) -> list[str]:
        """The groups that hold images of several classes."""
        return [conflict["group"] for conflict in self.summary["cross_class_groups"]]

    def of(self, label: str) -> list[ImageFacts]:
        """Return the images of a class."""
        return [image for image in self.images if image.label == label]


def write_data_report(
    dataset: Mapping[str, Dataset],
    path: str | Path,
    *,
    record: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> None:
    """Write one HTML page that needs neither network nor scripts.

    The page shows images of the data set, so it must be shared no more widely than the data.

    Args:
        dataset: what `load_prepared` gives.
        path: file to write; replaced if it exists.
        record: what `read_record` gives, to tell where the data came from.
        seed: picks the sample images.
        progress: shows a bar on stderr.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    if find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "The data report needs the package matplotlib.", 'Run: pip install "busi-unet[train]"'
        )
    facts, path = collect_facts(dataset, seed=seed, progress=progress), Path(path)
    page = render("data.html", **_context(facts, record or {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: file.write(page.encode("utf-8")))


def collect_facts(dataset: Mapping[str, Dataset], *, seed: int = 0, progress: bool = False) -> DataFacts:
    """Read every image of what `load_prepared` gives once; `seed` picks those that are shown."""
    from tqdm import tqdm

    facts = DataFacts(summarise(dataset))
    _choose(facts, dataset, random.Random(seed))
    wanted = set().union(*facts.samples.values(), *(facts.groups[group] for group in facts.shown_groups))
    with tqdm(total=facts.summary["images"], desc="data report", unit="image", disable=not progress) as bar:
        for part in dataset.values():
            for row in part:
                _look(facts, row, wanted)
                bar.update()
    return facts


def _choose(facts: DataFacts, dataset: Mapping[str, Dataset], rng: random.Random) -> None:
    """Pick what will be shown, from the columns alone, so that the pixels are read once."""
    by_kind: dict[tuple[str, str], list[str]] = defaultdict(list)
    groups: dict[str, list[str]] = defaultdict(list)
    for part in dataset.values():
        columns = (part[name] for name in ("image_id", "label", "source", "group"))
        for image_id, label, source, group in zip(*columns, strict=True):
            by_kind[source, class_name(label)].append(image_id)
            groups[group].append(image_id)
            facts.label_of[image_id] = class_name(label)
    for source, label in sorted(by_kind, key=lambda kind: (kind[0], facts.classes.index(kind[1]))):
        ids = sorted(by_kind[source, label], key=natural_order)
        chosen = rng.sample(ids, min(SAMPLES, len(ids)))
        facts.samples[source, label] = sorted(chosen, key=natural_order)
    for group, ids in groups.items():
        facts.groups[group] = sorted(
            sorted(ids, key=natural_order), key=lambda image_id: facts.classes.index(facts.label_of[image_id])
        )
    several = sorted((group for group, ids in groups.items() if len(ids) > 1), key=natural_order)
    largest = sorted(several, key=lambda group: -len(groups[group]))[:LARGEST_GROUPS]
    others = [group for group in several if group not in largest and group not in facts.conflicts]
    sample = sorted(rng.sample(others, min(SAMPLE_GROUPS, len(others))), key=natural_order)
    facts.shown_groups = list(dict.fromkeys([*largest, *sample, *facts.conflicts[:MAX_CONFLICTS]]))


def _look(facts: DataFacts, row: Mapping[str, Any], wanted: set[str]) -> None:
    pixels = decode_image(row["image"], name=row["image_id"])
    # An image whose lesions nobody outlined is counted among those without.
    mask = np.zeros(pixels.shape, bool) if row["mask"] is None else decode_mask(row["mask"])
    label, boxes = class_name(row["label"]), _boxes(mask)
    facts.images.append(
        ImageFacts(
            image_id=row["image_id"],
            label=label,
            source=row["source"],
            width=pixels.shape[1],
            height=pixels.shape[0],
            mean_grey=float(pixels.mean()),
            lesion_share=float(mask.mean()),
            lesions=len(boxes),
            taller_than_wide=bool(boxes) and boxes[0][0] > boxes[0][1],
        )
    )
    facts.grey[label] += np.bincount(pixels.ravel(), minlength=256) / pixels.size
    if boxes:
        small = Image.fromarray(mask.astype(np.float32)).resize(
            (_HEAT_SIDE, _HEAT_SIDE), Image.Resampling.BOX
        )
        facts.heat[label] += np.asarray(small)
    if row["image_id"] in wanted:
        facts.thumbnails[row["image_id"]] = _thumbnail(pixels, mask)


def _thumbnail(pixels: np.ndarray, mask: np.ndarray) -> str:
    # The outline is drawn after the image is made small, which would make it faint.
    scale = min(1.0, _THUMBNAIL / max(pixels.shape))
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    share = np.asarray(Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX))
    return jpeg_uri(draw_overlay(small, share >= 0.5, opacity=0.0))


def _boxes(mask: np.ndarray) -> list[tuple[int, int]]:
    """Return height and width of the box of each connected region, the largest box first."""
    regions, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    boxes = [(rows.stop - rows.start, cols.stop - cols.start) for rows, cols in ndimage.find_objects(regions)]
    return sorted(boxes, key=lambda box: -box[0] * box[1])


def _context(facts: DataFacts, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template shows."""
    summary, lesions = facts.summary, [image for image in facts.images if image.lesions]
    plots = report_plots.draw_plots(facts)
    test_fold = record.get("test_fold")
    split_of = [] if test_fold is None or record.get("left_out") else split_of_fold(test_fold)
    counts = list(summary["classes"].values())
    largest = sorted(facts.shown_groups, key=lambda group: -len(facts.groups[group]))[:LARGEST_GROUPS]
    others = [group for group in facts.shown_groups if group not in (*largest, *facts.conflicts)]
    return {
        "title": "Data report",
        "summary": summary,
        "given": [part["given"] for part in record.get("sources", [])],
        "classes": facts.classes,
        "colors": report_plots.COLORS,
        "folds_of": {
            name: ", ".join(str(fold) for fold, split in enumerate(split_of) if split == name)
            for name in summary["splits"]
        },
        "imbalance": max(counts) / max(1, min(count for count in counts if count)),
        "sources": {
            name: {**part, **_medians([image for image in facts.images if name in (image.source, "all")])}
            for name, part in (*summary["by_source"].items(), ("all", {**summary, **summary["classes"]}))
        },
        "several_regions": sum(image.lesions > 1 for image in lesions),
        "samples": facts.samples,
        "thumbnails": facts.thumbnails,
        "label_of": facts.label_of,
        "plots": {name: data_uri(png_of(figure), "image/png") for name, figure in plots.items()},
        "groups": {
            title: {group: facts.groups[group] for group in chosen}
            for title, chosen in (("The largest groups", largest), ("A sample of the others", others))
            if chosen and summary["groups_with_copies"]
        },
        "conflicts": {group: facts.groups[group] for group in facts.conflicts},
        "max_conflicts": MAX_CONFLICTS,
        "max_of_group": MAX_OF_GROUP,
    }


def _medians(images: Sequence[ImageFacts]) -> dict[str, float | None]:
    def median(values: Sequence[float]) -> float | None:
        return float(np.median(values)) if values else None

    return {
        "width": median([image.width for image in images]),
        "height": median([image.height for image in images]),
        "mean_grey": median([image.mean_grey for image in images]),
        "lesion_share": median([image.lesion_share for image in images if image.lesions]),
    }
