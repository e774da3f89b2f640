"""BUS-UCLM (Vallez et al., Scientific Data 12:242, 2025): masks in colour, green benign and red malignant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from busi_unet.data.readers import Layout, Scan, folders, images_below, subfolder

_TABLE = "INFO.csv"
_PATIENT_LETTERS = 4


def _find(root: Path) -> Path | None:
    for folder in folders(root):
        if (folder / _TABLE).is_file() and subfolder(folder, "images") and subfolder(folder, "masks"):
            return folder
    return None


def _scan(base: Path) -> Scan:
    found = Scan(base)
    images, masks = ({path.stem: path for path in images_below(base / name)} for name in ("images", "masks"))
    for case, _ in found.listed(base / _TABLE, ("Image", "Label"), images):
        if mask := masks.get(case.image_id):
            patient = case.image_id[:_PATIENT_LETTERS]
            found.cases.append(replace(case, masks=(mask,), scale_mask=True, patient=patient))
        else:
            found.problems.append(f"images/{case.image.name}: its mask in masks/ is missing")
    return found


LAYOUT = Layout("BUS-UCLM", f"{_TABLE} beside images/ and masks/", _find, _scan, source="busuclm")
