import json
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from busi_unet.cli import main
from busi_unet.data.phantom import make_phantom


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "in" / "deep" / "a.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(make_phantom("benign", seed=0, size=(64, 90)).image).save(path)
    return path


def test_json_lines_on_stdout_and_files_in_the_folder(image, tiny_model, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(image), "--model", str(tiny_model), "--output", str(out), "--json"]) == 0
    printed = capsys.readouterr()
    (line,) = printed.out.splitlines()
    assert set(json.loads(line)["probabilities"]) == {"normal", "benign", "malignant"}
    assert "warning: the model's probabilities are not calibrated" in printed.err
    assert json.loads(line)["calibrated"] is False
    assert (out / "a_mask.png").exists()


def test_a_folder_and_a_zip_with_a_bad_file_each(image, tiny_model, tmp_path, capsys):
    (tmp_path / "in" / "bad.png").write_text("no image")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(image, "study/b.png")
        archive.writestr("study/empty.png", b"")
    out = tmp_path / "out"
    inputs = [str(tmp_path / "in"), str(tmp_path / "more.zip")]
    assert main(["predict", *inputs, "--model", str(tiny_model), "--output", str(out)]) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 4
    assert f"{Path('more.zip')}/study/empty.png is empty" in printed.out
    assert "error: 2 of 4 images could not be used; the others were." in printed.err
    assert {path.name for path in out.iterdir()} == {
        *("deep__a_mask.png", "deep__a_overlay.png", "study__b_mask.png", "study__b_overlay.png"),
        *("predictions.jsonl", "predictions.csv", "report.html"),
    }


def test_a_model_that_is_not_there_is_wrong_usage(image, tmp_path, capsys):
    assert main(["predict", str(image), "--model", str(tmp_path / "absent")]) == 2
    assert "absent" in capsys.readouterr().err


def test_a_dicom_file_names_the_extra_it_needs(tiny_model, tmp_path, monkeypatch, capsys):
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    out = tmp_path / "out"
    assert main(["predict", str(tmp_path / "a.dcm"), "--model", str(tiny_model), "--output", str(out)]) == 1
    assert 'pip install "busi-unet[dicom]"' in capsys.readouterr().out
