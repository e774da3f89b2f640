"""BUS-BRA (Gómez-Flores et al., Medical Physics 51:3110, 2024), whole or in part.

Its official folds never divide a patient; official fold k is fold k - 1 here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from busi_unet.data.readers import Citation, Layout, Scan, folders, images_below
from busi_unet.io.tables import read_table

_TABLE, _FOLDS = "bus_data.csv", "5-fold-cv.csv"


def _find(root: Path) -> Path | None:
    return next((folder for folder in folders(root) if (folder / _TABLE).is_file()), None)


def _scan(base: Path) -> Scan:
    found = Scan(base)
    fold_of: dict[str, int] = {}
    if has_folds := (base / _FOLDS).is_file():
        for row in read_table(base / _FOLDS, ("ID", "kFold")):
            if row["kfold"] in ("1", "2", "3", "4", "5"):
                fold_of[row["id"]] = int(row["kfold"]) - 1
            else:
                found.problems.append(f"{_FOLDS}: fold {row['kfold']!r} of {row['id']} is not one of 1 to 5")
    else:
        found.warnings.append(f"{_FOLDS} is missing: folds are assigned by patient, not the official ones")
    images = {path.stem: path for path in images_below(base / "Images")}
    for case, row in found.listed(base / _TABLE, ("ID", "Pathology", "Case"), images):
        mask = base / "Masks" / f"{case.image_id.replace('bus_', 'mask_')}.png"
        fold = fold_of.get(case.image_id)
        if not mask.is_file():
            found.problems.append(f"Images/{case.image.name}: its mask Masks/{mask.name} is missing")
        if has_folds and fold is None:
            found.problems.append(f"{_FOLDS}: {case.image_id} is missing")
        found.cases.append(replace(case, masks=(mask,), patient=row["case"], fold=fold))
    return found


_CITATION = Citation(
    "BUS-BRA (Rio de Janeiro)",
    citation="Gómez-Flores W, Gregorio-Calas MJ, Coelho de Albuquerque Pereira W. BUS-BRA: A breast "
    "ultrasound dataset for assessing computer-aided diagnosis systems. "
    "Medical Physics 51(4):3110–3123 (2024).",
    limits=("BUS-BRA has no normal images.",),
)
LAYOUT = Layout(
    "BUS-BRA",
    f"{_TABLE} beside Images/ and Masks/",
    _find,
    _scan,
    source="busbra",
    citations={"busbra": _CITATION},
)
