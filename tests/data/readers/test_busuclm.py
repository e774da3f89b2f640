from pathlib import Path

import numpy as np
import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.data.prepared import read_record

COLOURS = {"Benign": (0, 255, 0), "Malignant": (255, 0, 0), "Normal": None}


@pytest.fixture
def busuclm(tmp_path, write_image, write_mask) -> Path:
    """Two images of each of six patients, two patients a class."""
    base = tmp_path / "BUS-UCLM"
    lines = ["Image;Label;Doppler;Marks;Combined"]
    for number, patient in enumerate(("ALWI", "ANAT", "CHSO", "DIPO", "FAMA", "GOLI")):
        label = list(COLOURS)[number % 3]
        for index in range(2):
            name = f"{patient}_{index:03d}.png"
            write_image(base / "images" / name, "RGB")
            size = (20, 25) if (patient, index) == ("ALWI", 1) else (40, 50)
            write_mask(base / "masks" / name, COLOURS[label], mode="RGB", size=size)
            lines.append(f"{name};{label};No;No;No")
    (base / "INFO.csv").write_text("\n".join(lines) + "\n")
    return base


def test_masks_in_colour_classes_and_patients(busuclm, prepared_rows, tmp_path):
    rows = prepared_rows(busuclm)
    assert len(rows) == 12
    assert {row["source"] for row in rows.values()} == {"busuclm"}
    assert {row["group"] for row in rows.values()} == {"ALWI", "ANAT", "CHSO", "DIPO", "FAMA", "GOLI"}
    for patient, label in (("ALWI", "benign"), ("ANAT", "malignant"), ("CHSO", "normal")):
        row = rows[f"{patient}_000"]
        assert CLASS_NAMES[row["label"]] == label
        assert np.asarray(row["mask"]).sum() == (0 if label == "normal" else 255 * 150)
    # A mask of half the size is scaled to its image, and said to be.
    assert rows["ALWI_001"]["mask"].size == (50, 40) and np.asarray(rows["ALWI_001"]["mask"]).any()
    assert any("ALWI_001" in warning for warning in read_record(tmp_path / "prepared")["warnings"])


def test_an_image_without_its_mask_is_listed(busuclm, scan):
    (busuclm / "masks" / "ANAT_000.png").unlink()
    assert [line.partition(":")[0] for line in scan(busuclm).problems] == ["images/ANAT_000.png"]
