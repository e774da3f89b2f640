"""BrEaST-Lesions-USG (Pawłowska et al., Scientific Data 11:148, 2024): one image per patient.

`caseNNN_tumor.png` outlines the lesion; areas marked in `caseNNN_otherK.png` are not lesions and not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from busi_unet.data.folds import read_published_folds
from busi_unet.data.readers import Citation, Layout, Scan, children, folders, images_below


def _tables(folder: Path) -> Iterable[Path]:
    return (path for path in children(folder) if path.match("BrEaST*.xlsx"))


def _find(root: Path) -> Path | None:
    return next((folder for folder in folders(root) if any(_tables(folder))), None)


def _scan(base: Path) -> Scan:
    found = Scan(base)
    table = next(iter(_tables(base)))
    files = {path.name: path for path in images_below(base)}
    # Masks have an underscore in their names.
    images = {path.stem: path for path in files.values() if "_" not in path.name}
    fold_of = {row.image_id: row.fold for row in read_published_folds("breast")}
    columns = ("Image_filename", "Classification", "Mask_tumor_filename")
    for case, row in found.listed(table, columns, images):
        image, mask = case.image.name, row["mask_tumor_filename"]
        if mask and mask not in files:
            found.problems.append(f"{image}: its mask {mask} is missing")
        elif not mask and case.label != "normal":
            found.problems.append(f"{table.name}: {image} is {case.label} and has no mask")
        masks = (files[mask],) if mask in files else ()
        stem = case.image_id
        found.cases.append(replace(case, masks=masks, patient=stem, fold=fold_of.get(stem)))
    return found


_CITATION = Citation(
    "BrEaST-Lesions-USG (Poland)",
    citation="Pawłowska A, Ćwierz-Pieńkowska A, Domalik A, Jaguś D, Kasprzak P, Matkowski R, Fura Ł, "
    "Nowicki A, Żołek N. Curated benchmark dataset for ultrasound based breast lesion analysis. "
    "Scientific Data 11:148 (2024).",
)
LAYOUT = Layout(
    "BrEaST",
    "the table BrEaST….xlsx beside the images",
    _find,
    _scan,
    source="breast",
    citations={"breast": _CITATION},
)
