"""What the data report shows: everything that is read from the pixels of a prepared data set, in one pass."""

from __future__ import annotations

import base64
import io
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy import ndimage

from busi_unet.data.listing import natural_order
from busi_unet.data.summary import class_name, summarise
from busi_unet.imaging.overlay import draw_overlay
from busi_unet.io.decode import decode_image
from busi_unet.io.masks import decode_mask

if TYPE_CHECKING:
    from datasets import Dataset

SAMPLES_PER_CLASS = 10
SAMPLE_GROUPS = 6
LARGEST_GROUPS = 2
MAX_CONFLICTS = 30

_THUMBNAIL = 180
_HEAT_SIDE = 64


@dataclass(frozen=True)
class ExploredImage:
    """What the report keeps of a picture once its pixels are gone.

    Attributes:
        image_id: its name.
        label: its class.
        group: of its copies.
        fold: it lies in.
        width: in pixels.
        height: in pixels.
        mean_grey: from 0 to 255.
        lesion_share: of the pixels, from 0 to 1.
        lesions: connected regions of the mask.
        taller_than_wide: the box of the region with the largest box.
    """

    image_id: str
    label: str
    group: str
    fold: int
    width: int
    height: int
    mean_grey: float
    lesion_share: float
    lesions: int
    taller_than_wide: bool


@dataclass
class Exploration:
    """Everything that the page shows.

    Attributes:
        summary: what `summarise` gives.
        images: all of them.
        thumbnails: by image id, as data URIs, of the pictures that are shown.
        grey: by class, the sum over its pictures of the share of each grey level, (256,).
        heat: by class, the sum over its lesion pictures of the masks at one size, rows first.
        samples: by class, image ids.
        groups: image ids by group, in the order of the classes.
        label_of: class by image id.
        fold_of: fold by group.
        shown_groups: the groups with thumbnails.
    """

    summary: dict[str, Any]
    images: list[ExploredImage] = field(default_factory=list)
    thumbnails: dict[str, str] = field(default_factory=dict)
    grey: dict[str, np.ndarray] = field(default_factory=lambda: defaultdict(lambda: np.zeros(256)))
    heat: dict[str, np.ndarray] = field(
        default_factory=lambda: defaultdict(lambda: np.zeros((_HEAT_SIDE, _HEAT_SIDE)))
    )
    samples: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    label_of: dict[str, str] = field(default_factory=dict)
    fold_of: dict[str, int] = field(default_factory=dict)
    shown_groups: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """The classes that have any image; "unknown" among them."""
        return [name for name, count in self.summary["classes"].items() if count]

    def of(self, label: str) -> list[ExploredImage]:
        """The pictures of a class."""
        return [image for image in self.images if image.label == label]


def explore(dataset: Mapping[str, Dataset], seed: int, progress: bool) -> Exploration:
    """Reads every picture of what `load_prepared` gives once; `seed` picks those that are shown."""
    from tqdm import tqdm

    found = Exploration(summarise(dataset))
    _choose(found, dataset, random.Random(seed))
    wanted = set().union(*found.samples.values(), *(found.groups[group] for group in found.shown_groups))
    with tqdm(total=found.summary["images"], desc="exploring", unit="image", disable=not progress) as bar:
        for part in dataset.values():
            for row in part:
                _look(found, row, wanted)
                bar.update()
    return found


def _choose(found: Exploration, dataset: Mapping[str, Dataset], rng: random.Random) -> None:
    """Picks what will be shown, from the columns alone, so that the pixels are read once."""
    by_class: dict[str, list[str]] = defaultdict(list)
    groups: dict[str, list[str]] = defaultdict(list)
    for part in dataset.values():
        columns = (part[name] for name in ("image_id", "label", "group", "fold"))
        for image_id, label, group, fold in zip(*columns, strict=True):
            by_class[class_name(label)].append(image_id)
            groups[group].append(image_id)
            found.label_of[image_id], found.fold_of[group] = class_name(label), fold
    for label in found.classes:
        ids = sorted(by_class[label], key=natural_order)
        found.samples[label] = sorted(rng.sample(ids, min(SAMPLES_PER_CLASS, len(ids))), key=natural_order)
    for group, ids in groups.items():
        by_class_and_number = sorted(ids, key=natural_order)
        found.groups[group] = sorted(
            by_class_and_number, key=lambda i: found.classes.index(found.label_of[i])
        )

    conflicts = [conflict["group"] for conflict in found.summary["cross_class_groups"]]
    copies = sorted((g for g, ids in found.groups.items() if len(ids) > 1), key=natural_order)
    largest = sorted(copies, key=lambda group: -len(found.groups[group]))[:LARGEST_GROUPS]
    others = [group for group in copies if group not in largest and group not in conflicts]
    sample = sorted(rng.sample(others, min(SAMPLE_GROUPS, len(others))), key=natural_order)
    found.shown_groups = list(dict.fromkeys([*largest, *sample, *conflicts[:MAX_CONFLICTS]]))


def _look(found: Exploration, row: Mapping[str, Any], wanted: set[str]) -> None:
    frame = decode_image(row["image"], name=row["image_id"])
    # An image whose lesions nobody outlined is counted among those without.
    mask = np.zeros(frame.shape, bool) if row["mask"] is None else decode_mask(row["mask"])
    label, lesions = class_name(row["label"]), _regions(mask)
    found.images.append(
        ExploredImage(
            image_id=row["image_id"],
            label=label,
            group=row["group"],
            fold=row["fold"],
            width=frame.shape[1],
            height=frame.shape[0],
            mean_grey=float(frame.mean()),
            lesion_share=float(mask.mean()),
            lesions=len(lesions),
            taller_than_wide=bool(lesions) and lesions[0][0] > lesions[0][1],
        )
    )
    found.grey[label] += np.bincount(frame.ravel(), minlength=256) / frame.size
    if lesions:
        small = Image.fromarray(mask.astype(np.float32)).resize(
            (_HEAT_SIDE, _HEAT_SIDE), Image.Resampling.BOX
        )
        found.heat[label] += np.asarray(small)
    if row["image_id"] in wanted:
        found.thumbnails[row["image_id"]] = _thumbnail(frame, mask)


def _regions(mask: np.ndarray) -> list[tuple[int, int]]:
    """Height and width of the box of each connected region, the largest box first."""
    # `imaging.measure` also finds diameters, which would take most of the time of this page.
    regions, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    boxes = [(rows.stop - rows.start, cols.stop - cols.start) for rows, cols in ndimage.find_objects(regions)]
    return sorted(boxes, key=lambda box: -box[0] * box[1])


def _thumbnail(frame: np.ndarray, mask: np.ndarray) -> str:
    scale = min(1.0, _THUMBNAIL / max(frame.shape))
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    small = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR))
    covered = (
        np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)) >= 128
    )
    return _jpeg(draw_overlay(small, covered, opacity=0.0))


def _jpeg(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=84)
    return data_uri(buffer.getvalue(), "image/jpeg")


def data_uri(data: bytes, kind: str) -> str:
    """A file of the MIME type `kind` as text that an HTML page can hold."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
