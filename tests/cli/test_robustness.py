import csv
import json
from pathlib import Path

import pytest

from busi_unet.cli import main
from busi_unet.data.prepared import load_prepared
from busi_unet.evaluation.robustness import DISTURBANCES


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_a_model_on_disturbed_images(prepared, tiny_model, capsys):
    arguments = [str(tiny_model), "--data", str(prepared)]
    assert main(["robustness", *arguments]) == 0
    printed = capsys.readouterr()
    (folder,) = Path("reports").iterdir()
    assert str(folder) in printed.err
    (stored,) = (json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json"))
    assert set(stored["effects"]) == set(DISTURBANCES)
    assert stored["provenance"]["command"].startswith(f"busi-unet robustness {tiny_model} --data")
    assert stored["provenance"]["seed"] == 0
    with (folder / "per_image.csv").open(encoding="utf-8", newline="") as stream:
        names = [row["disturbance"] for row in csv.DictReader(stream)]
    assert names.count("none") == names.count("text_in") == len(load_prepared(prepared)["test"])
