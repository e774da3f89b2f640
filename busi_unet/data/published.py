"""What is known of the published data sets: licence and citation, and folds told by an image's pixels."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

from busi_unet.data.readers import named


@dataclass(frozen=True)
class Citation:
    """What a card says of a source."""

    title: str  # as people call it, with where it comes from
    licence: str  # one sentence
    licence_id: str  # as the Hub writes it
    citation: str  # the reference to give with every result
    limits: tuple[str, ...] = ()  # one sentence each


CITATIONS = {
    "busi": Citation(
        "BUSI (Cairo, 2018)",
        "Licence: not stated clearly by its owners; copies name different ones.",
        "unknown",
        "Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Dataset of breast ultrasound images. "
        "Data in Brief 28:104863 (2020). On its duplicates: Pawłowska A, Karwat P, Żołek N. "
        "Data in Brief 48:109247 (2023).",
        (
            "BUSI is from one hospital and two scanners of one maker, of women aged 25 to 75.",
            "BUSI has no patient ids: its folds separate duplicates and views of one lesion, not patients. "
            "Results on it are optimistic.",
        ),
    ),
    "busbra": Citation(
        "BUS-BRA (Rio de Janeiro)",
        "Licence: CC BY 4.0.",
        "cc-by-4.0",
        "Gómez-Flores W, Gregorio-Calas MJ, Coelho de Albuquerque Pereira W. BUS-BRA: A breast ultrasound "
        "dataset for assessing computer-aided diagnosis systems. Medical Physics 51(4):3110–3123 (2024).",
        ("BUS-BRA has no normal images.",),
    ),
    "breast": Citation(
        "BrEaST-Lesions-USG (Poland)",
        "Licence: CC BY 4.0.",
        "cc-by-4.0",
        "Pawłowska A, Ćwierz-Pieńkowska A, Domalik A, Jaguś D, Kasprzak P, Matkowski R, Fura Ł, Nowicki A, "
        "Żołek N. Curated benchmark dataset for ultrasound based breast lesion analysis. "
        "Scientific Data 11:148 (2024).",
    ),
}
"""By the name that the column `source` of a prepared data set has."""


def citation_of(source: str) -> Citation:
    """Return what is known of a source; of data of one's own, that its owner has to say it."""
    unknown = "Licence and citation: to be added by whoever publishes this."
    return CITATIONS.get(source) or Citation(source, unknown, "unknown", "")


# --- Folds ---------------------------------------------------------------------------------------

# Sources whose folds come with the package as a table, and how messages call them. BUS-BRA brings its own.
PUBLISHED = {"busi": "BUSI", "breast": "BrEaST"}


@dataclass(frozen=True)
class FoldRow:
    """One image of a published split.

    `group` is the patient, or the id of the first image among its copies; `pixel_sha256` is its
    `pixel_hash`; `other_class_copies` are the ids of the images of its group that are filed under another
    class, and `cross_class` says that there are any: the label of such an image is in doubt.
    """

    image_id: str
    label: str
    group: str
    fold: int
    pixel_sha256: str
    cross_class: bool
    other_class_copies: tuple[str, ...]


@cache
def read_published_folds(source: str) -> tuple[FoldRow, ...]:
    """Return the published folds of one of `PUBLISHED`; research/publish_folds.py made them."""
    text = resources.files("busi_unet.data").joinpath(f"{source}_folds.csv").read_text(encoding="utf-8")
    return tuple(
        FoldRow(
            row["image_id"],
            row["label"],
            row["group"],
            int(row["fold"]),
            row["pixel_sha256"],
            row["cross_class"] == "true",
            tuple(filter(None, row["other_class_copies"].split(";"))),
        )
        for row in csv.DictReader(text.splitlines())
    )


class Placed(NamedTuple):
    """An image, its `pixel_hash`, and the fold that it was put in."""

    image_id: str
    label: str | None
    pixel_sha256: str
    fold: int


def departures(images: Sequence[Placed], source: str) -> list[str]:
    """Return how images that look like those of a published source, one of `PUBLISHED`, depart from it.

    Returns:
        At most one sentence; none for its images in their published folds, and for data that share neither
        pixels nor names with it.
    """
    published = read_published_folds(source)
    # BUSI itself holds some images twice, under two classes: then either is the published one.
    known = {(row.pixel_sha256, row.label, row.fold) for row in published}
    pixels = {row.pixel_sha256 for row in published}
    names = {(row.image_id, row.label) for row in published}
    others = [i.image_id for i in images if (i.pixel_sha256, i.label, i.fold) not in known]
    if not others or not any(i.pixel_sha256 in pixels or (i.image_id, i.label) in names for i in images):
        return []
    return [
        f"{len(others)} of {len(images)} images are not those of {PUBLISHED[source]} in its published folds "
        f"({named(others)}): other images, pixels, classes or folds. Results on these data cannot be "
        "compared with results on the published folds."
    ]
