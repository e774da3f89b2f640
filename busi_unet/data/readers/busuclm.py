"""BUS-UCLM (Vallez et al., Scientific Data 12:242, 2025): masks in colour, green benign and red malignant."""

from __future__ import annotations

from pathlib import Path

from busi_unet.config import CLASS_NAMES
from busi_unet.data.layout import Case, Layout, Scan, folders, images_below, named, read_table, subfolder

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
    listed, absent = set(), []
    for row in read_table(base / _TABLE, ("Image", "Label")):
        stem, label = Path(row["image"]).stem, row["label"].lower()
        listed.add(stem)
        if stem not in images:
            absent.append(stem)
            continue
        if label not in CLASS_NAMES:
            found.problems.append(f"{_TABLE}: the class {row['label']!r} of {stem} is not known")
        if stem not in masks:
            found.problems.append(f"images/{images[stem].name}: its mask in masks/ is missing")
            continue
        found.cases.append(
            Case(
                stem,
                images[stem],
                label,
                (masks[stem],),
                scale_mask=True,
                patient=stem[:_PATIENT_LETTERS],
            )
        )
    if absent:
        found.warnings.append(f"{_TABLE}: {len(absent)} of its images are not here ({named(absent)})")
    found.problems += [
        f"images/{path.name}: is not in {_TABLE}" for stem, path in images.items() if stem not in listed
    ]
    return found


LAYOUT = Layout("BUS-UCLM", f"{_TABLE} beside images/ and masks/", _find, _scan, source="busuclm")
