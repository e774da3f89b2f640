"""BrEaST-Lesions-USG (Pawłowska et al., Scientific Data 11:148, 2024): one image per patient.

`caseNNN_tumor.png` outlines the lesion; areas marked in `caseNNN_otherK.png` are not lesions and not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import read_published_folds
from busi_unet.data.readers import Case, Citation, Layout, Scan, children, folders, images_below, read_table


def _tables(folder: Path) -> Iterable[Path]:
    return (path for path in children(folder) if path.match("BrEaST*.xlsx"))


def _find(root: Path) -> Path | None:
    return next((folder for folder in folders(root) if any(_tables(folder))), None)


def _scan(base: Path) -> Scan:
    found = Scan(base)
    table = next(iter(_tables(base)))
    files = {path.name: path for path in images_below(base)}
    published = {row.image_id: row.fold for row in read_published_folds("breast")}
    listed = []
    for row in read_table(table, ("Image_filename", "Mask_tumor_filename", "Classification")):
        name, mask, label = row["image_filename"], row["mask_tumor_filename"], row["classification"].lower()
        stem = Path(name).stem
        listed.append(stem)
        if name not in files:
            continue
        if label not in CLASS_NAMES:
            found.problems.append(f"{table.name}: the class {row['classification']!r} of {name} is not known")
        if mask and mask not in files:
            found.problems.append(f"{name}: its mask {mask} is missing")
        elif not mask and label != "normal":
            found.problems.append(f"{table.name}: {name} is {label} and has no mask")
        masks = (files[mask],) if mask in files else ()
        found.cases.append(Case(stem, files[name], label, masks, patient=stem, fold=published.get(stem)))
    # Masks have an underscore in their names.
    images = {path.stem: path for path in files.values() if "_" not in path.name}
    found.compare(table.name, listed, images)
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
