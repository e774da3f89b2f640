"""Licence and citation of each published data set. What is not listed is described as its owner's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Citation:
    """What a card says of a source.

    Attributes:
        title: as people call it, with where it comes from.
        licence: one sentence.
        licence_id: as the Hub writes it.
        citation: the reference to give with every result.
        limits: one sentence each.
    """

    title: str
    licence: str
    licence_id: str
    citation: str
    limits: tuple[str, ...] = ()


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
