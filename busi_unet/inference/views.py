"""Several images (views) of one lesion or one patient: one summary of them."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.imaging.measure import percent, quantity
from busi_unet.io.dicom import read_header
from busi_unet.io.files import composed, write_ours
from busi_unet.io.tables import read_table, table_lines

NAMES = ("views.jsonl", "views.csv")
COLUMNS = (
    *("views", "images", "analysed", "flagged", "p_malignant", "p_malignant_image"),
    *(*CLASS_NAMES, "agree", "longest_diameter", "perpendicular", "longest_diameter_image"),
    *("area", "area_image", "unit", "remarks"),
)
_PATIENT = ("PatientID", "PatientName", "PatientBirthDate")
_STUDY = "StudyInstanceUID"
# Digests of this process alone: what names a patient is compared, and never kept or written.
_KEY = secrets.token_bytes(16)


def summarise_views(
    views: Mapping[str, Mapping[str, Any]],
    *,
    files: Mapping[str, str | os.PathLike] | None = None,
    name: str = "",
) -> dict[str, Any]:
    """Summarise images that show one lesion, or one patient.

    Args:
        views: by the name of each image its record of `batch.predict_files`.
        files: by the name of each image its file, so that DICOM files of different patients are refused.
        name: of the lesion or patient.

    Returns:
        A summary, JSON-ready: the `images` and those `not_analysed`; the highest malignant probability and
        whether any image is flagged; `labels` by image, how many images have each class, and whether they
        `agree`; the largest diameter with its perpendicular and the largest lesion's area, each with its
        image, in millimetres where they are known, else in pixels (`unit`); `remarks`. Values that no image
        gives are None.

    Raises:
        UsageError: no images, or images of different patients.
    """
    if not views:
        raise UsageError("No images were given to summarise.", "Name those of one lesion or patient.")
    remarks = check_one_patient(files) if files else []
    analysed = {key: view for key, view in views.items() if view["label"]}
    shares = {key: view["probabilities"]["malignant"] for key, view in analysed.items()}
    most = max(shares, key=shares.__getitem__, default=None)
    classes = Counter(view["label"] for view in analysed.values())
    if missing := [key for key in views if key not in analysed]:
        remarks.append(f"Not analysed: {', '.join(missing)}.")
    if any(view["frames"] > 1 for view in analysed.values()):
        remarks.append("Only one frame of a clip counts.")
    return {
        "views": name,
        "images": list(views),
        "not_analysed": missing,
        "flagged": any(view["flagged"] for view in analysed.values()) if analysed else None,
        "p_malignant": most and shares[most],
        "p_malignant_image": most,
        "labels": {key: view["label"] for key, view in analysed.items()},
        "classes": {label: classes[label] for label in CLASS_NAMES},
        "agree": len(classes) == 1 if analysed else None,
        **_largest(analysed, remarks),
        "remarks": remarks,
    }


def _largest(analysed: Mapping[str, Mapping[str, Any]], remarks: list[str]) -> dict[str, Any]:
    """Return the largest measurements and their images; what cannot be compared is remarked on."""
    lesions = [(key, lesion) for key, view in analysed.items() for lesion in view["measurements"]]
    in_mm = [(key, lesion) for key, lesion in lesions if lesion["unit"] == "mm"]
    if lesions and not in_mm and len({key for key, _ in lesions}) > 1:
        remarks.append("Sizes are in pixels, which may differ between images.")
    elif in_mm and len(in_mm) < len(lesions):
        unknown = dict.fromkeys(key for key, lesion in lesions if lesion["unit"] != "mm")
        remarks.append(f"Left out of the sizes, their pixel size is unknown: {', '.join(unknown)}.")
    unit, measured = ("mm", in_mm) if in_mm else ("px", lesions)
    area = "area_mm2" if in_mm else "area_px"
    longest = max(measured, key=lambda each: each[1][f"longest_diameter_{unit}"], default=None)
    largest = max(measured, key=lambda each: each[1][area], default=None)
    return {
        "unit": unit if measured else None,
        "longest_diameter": longest and longest[1][f"longest_diameter_{unit}"],
        "perpendicular": longest and longest[1][f"perpendicular_{unit}"],
        "longest_diameter_image": longest and longest[0],
        "area": largest and largest[1][area],
        "area_image": largest and largest[0],
    }


def describe_views(summary: Mapping[str, Any]) -> list[str]:
    """Return a summary in sentences, which images it is of first."""
    images = len(summary["images"])
    sentences = [f"{summary['views'] + ': ' if summary['views'] else ''}{images} image{'s' * (images > 1)}."]
    if summary["p_malignant"] is not None:
        counts = ", ".join(f"{count} {label}" for label, count in summary["classes"].items() if count)
        told = {True: "The images agree", False: "The images disagree"}[summary["agree"]]
        flag = ", flagged" if summary["flagged"] else ""
        sentences += [
            f"Highest malignant probability {percent(summary['p_malignant'])} "
            f"({summary['p_malignant_image']}){flag}.",
            f"{told if len(summary['labels']) > 1 else 'Class'}: {counts}.",
        ]
        if summary["unit"]:
            unit = summary["unit"]
            sizes = quantity(summary["longest_diameter"], summary["perpendicular"], unit=unit)
            area = quantity(summary["area"], unit=f"{unit}²")
            sentences.append(
                f"Largest diameters {sizes} ({summary['longest_diameter_image']}), "
                f"largest area {area} ({summary['area_image']})."
            )
        else:
            sentences.append("No lesion outlined.")
    return [*sentences, *summary["remarks"]]


def write_views(summaries: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write `views.jsonl` and `views.csv`, a line and a row per summary."""
    lines = "".join(json.dumps(summary, ensure_ascii=False) + "\n" for summary in summaries)
    rows = (
        {
            **summary,
            **summary["classes"],
            "images": " | ".join(summary["images"]),
            "analysed": len(summary["labels"]),
            "remarks": " ".join(summary["remarks"]),
        }
        for summary in summaries
    )
    write_ours(folder, NAMES[0], lines.encode())
    write_ours(folder, NAMES[1], table_lines(rows, COLUMNS))


def check_one_patient(files: Mapping[str, str | os.PathLike]) -> list[str]:
    """Check that DICOM files, by name, are of one patient; return remarks on what they leave open.

    Raises:
        UsageError: patient ID, name or birth date differ; it names the files, not the patients.
    """
    known = {name: told for name, path in files.items() if (told := _identity(Path(path)))}
    for tag in _PATIENT:
        patients = _grouped((told[tag], name) for name, told in known.items() if tag in told)
        if len(patients) > 1:
            listed = "; ".join(", ".join(names) for names in patients.values())
            raise UsageError(
                f"These images are of different patients, their {tag} differs: {listed}.",
                "Choose images of one patient.",
            )
    remarks = []
    if len({told[_STUDY] for told in known.values() if _STUDY in told}) > 1:
        remarks.append("The images are of more than one examination.")
    if len(files) > 1 and any("PatientID" not in known.get(name, {}) for name in files):
        remarks.append("Not every file names its patient: whether they belong together was not checked.")
    return remarks


def group_by_dicom(files: Mapping[str, str | os.PathLike]) -> dict[str, list[str]]:
    """Group files, by name, by the patient and the examination that their DICOM tags tell.

    Returns:
        The names of each group as "Examination 1", … in the order of the files; without the files that do
        not tell both.
    """
    known = ((name, _identity(Path(path)) or {}) for name, path in files.items())
    tags = ("PatientID", _STUDY)
    groups = _grouped((tuple(map(told.get, tags)), name) for name, told in known if told.keys() >= set(tags))
    return {f"Examination {number}": names for number, names in enumerate(groups.values(), start=1)}


def group_by_folder(files: Mapping[str, str | os.PathLike]) -> dict[str, list[str]]:
    """Group files by the folder in which each lies, as its name tells."""
    return _grouped((str(Path(name).parent), name) for name in files)


def group_by_table(files: Mapping[str, str | os.PathLike], table: Path, column: str) -> dict[str, list[str]]:
    """Group files, by name, by the entries of a column of a table.

    Args:
        files: by name.
        table: with a column `image`: names of files, with their folders or without.
        column: tells what the images of one lesion or patient have in common; without an entry, an image
            belongs to none.

    Raises:
        UsageError: no such table or column; none of the files is in it; two files have the name of an entry.
    """
    by_name = _grouped((called, name) for name in files for called in map(composed, {name, Path(name).name}))
    groups: dict[str, list[str]] = {}
    for row in read_table(table, ("image", column)):
        image, group = row["image"], row[column.lower()]
        found = by_name.get(image, [])
        if len(found) > 1:
            raise UsageError(
                f"{table} names {image}, and these have that name: {', '.join(found)}.",
                "Write it with its folder.",
            )
        if found and group and found[0] not in groups.get(group, ()):
            groups.setdefault(group, []).append(found[0])
    if not groups:
        raise UsageError(
            f"{table} groups none of these images.", f"Name them like {next(iter(files), 'a.png')}."
        )
    return groups


def _grouped(pairs: Iterable[tuple[Any, str]]) -> dict[Any, list[str]]:
    """Return the names that come with each key."""
    groups: dict[Any, list[str]] = {}
    for key, name in pairs:
        groups.setdefault(key, []).append(name)
    return groups


def _identity(path: Path) -> dict[str, str] | None:
    """Return digests of whose examination a DICOM file is of, by tag; None for what cannot be read as one."""
    try:
        header = read_header(path, tags=[*_PATIENT, _STUDY])
    except Exception:
        # A damaged file is told of when it is analysed.
        return None
    if header is None:
        return None
    told = {}
    for tag in (*_PATIENT, _STUDY):
        # Programs differ in the case of names, and in how they mark parts that are empty.
        value = " ".join(str(header.get(tag) or "").casefold().replace("^", " ").replace("=", " ").split())
        if value:
            told[tag] = hashlib.blake2b(value.encode(), key=_KEY).hexdigest()
    return told
