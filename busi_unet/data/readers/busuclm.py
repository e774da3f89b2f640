"""BUS-UCLM (Vallez et al., Scientific Data 12:242, 2025): masks in colour, green benign and red malignant."""

from __future__ import annotations

from pathlib import Path

from busi_unet.config import CLASS_NAMES
from busi_unet.data.readers import Case, Layout, Scan, folders, images_below, read_table, subfolder

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
    listed = []
    for row in read_table(base / _TABLE, ("Image", "Label")):
        stem, label = Path(row["image"]).stem, row["label"].lower()
        listed.append(stem)
        if stem not in images:
            continue
        if label not in CLASS_NAMES:
            found.problems.append(f"{_TABLE}: the class {row['label']!r} of {stem} is not known")
        if stem not in masks:
            found.problems.append(f"images/{images[stem].name}: its mask in masks/ is missing")
            continue
        patient = stem[:_PATIENT_LETTERS]
        found.cases.append(Case(stem, images[stem], label, (masks[stem],), scale_mask=True, patient=patient))
    found.compare(_TABLE, listed, images)
    return found


LAYOUT = Layout("BUS-UCLM", f"{_TABLE} beside images/ and masks/", _find, _scan, source="busuclm")
