"""BUS-BRA (Gómez-Flores et al., Medical Physics 51:3110, 2024), whole or in part.

Its official folds never divide a patient; official fold k is fold k - 1 here.
"""

from __future__ import annotations

from pathlib import Path

from busi_unet.config import CLASS_NAMES
from busi_unet.data.readers import Case, Citation, Layout, Scan, folders, images_below, read_table

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
        found.warnings.append(f"{_FOLDS} is missing: folds are dealt by patient, not the official ones")
    images = {path.stem: path for path in images_below(base / "Images")}
    listed = []
    for row in read_table(base / _TABLE, ("ID", "Case", "Pathology")):
        stem, label = row["id"], row["pathology"].lower()
        listed.append(stem)
        if stem not in images:
            continue
        image, mask = images[stem], base / "Masks" / f"{stem.replace('bus_', 'mask_')}.png"
        if not mask.is_file():
            found.problems.append(f"Images/{image.name}: its mask Masks/{mask.name} is missing")
        if label not in CLASS_NAMES:
            found.problems.append(f"{_TABLE}: the class {row['pathology']!r} of {stem} is not known")
        if has_folds and stem not in fold_of:
            found.problems.append(f"{_FOLDS}: {stem} is missing")
        found.cases.append(Case(stem, image, label, (mask,), patient=row["case"], fold=fold_of.get(stem)))
    found.compare(_TABLE, listed, images)
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
