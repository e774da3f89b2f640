import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from fakes.dicom_files import dicom
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
        *("deep__a_mask.png", "deep__a_overlay.jpg", "study__b_mask.png", "study__b_overlay.jpg"),
        *("predictions.jsonl", "predictions.csv", "report.html", "written.sha256", "resume.jsonl"),
    }


def test_formats_and_progress_where_the_lines_go_to_a_file(image, tiny_model, tmp_path, capsys):
    arguments = ["predict", str(image), "--model", str(tiny_model), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--format", "coco,yolo"]) == 0
    assert "1 of 1 images done" in capsys.readouterr().err
    assert {"a.txt", "coco.json"} < {path.name for path in (tmp_path / "out").iterdir()}
    assert main([*arguments, "--anyway", "--format", "png,dicom"]) == 1
    assert "Choose PNG or COCO" in capsys.readouterr().out
    assert (tmp_path / "out" / "a_mask.png").is_file()
    assert main([*arguments, "--format", "gif"]) == 2


def test_masks_that_it_did_not_write_are_refused_before_any_work(image, tiny_model, capsys):
    reference = image.with_name("a_mask.png")
    reference.write_bytes(b"drawn by hand")
    folder = str(image.parent)
    assert main(["predict", folder, "--model", str(tiny_model), "--output", folder]) == 2
    assert "a_mask.png" in capsys.readouterr().err
    assert {path.name for path in image.parent.iterdir()} == {"a.png", "a_mask.png"}
    assert reference.read_bytes() == b"drawn by hand"


def test_names_of_any_kind_get_a_row_each(image, tiny_model, tmp_path):
    """Exit code 1 exactly if a row has an error."""
    content, root = image.read_bytes(), tmp_path / "names"
    names = ("1.2.7.1", "1.2.7.10", ".hidden", "a\\b", "e\u0301", "\u00e9", "x" * 250, "line\nend")
    for folder in (root, root / ("y" * 200)):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.png").write_bytes(content)
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe.png")).write_bytes(content)
    with zipfile.ZipFile(root / "study.zip", "w") as archive:
        for name in ("z" * 300, "back\\slash", "\u00e9"):
            archive.writestr(f"{name}.png", content)
    arguments = ["predict", str(root), "--model", str(tiny_model), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    lines = (tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == len({record["mask"].casefold() for record in records}) == 2 * len(names) + 1 + 3
    assert all((tmp_path / "out" / record["overlay"]).is_file() for record in records)
    (root / "broken.png").write_bytes(content[:100])
    assert main(arguments) == 1


def test_views_are_summarised_and_mixed_patients_refused_before_any_work(tiny_model, tmp_path, capsys):
    pixels = make_phantom("benign", seed=0, size=(64, 90)).image
    for name, patient in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / f"{name}.dcm").write_bytes(dicom(pixels, PatientID=patient, StudyInstanceUID="1.2"))
    (tmp_path / "t.csv").write_text("image,lesion\na.dcm,L\nc.dcm,L\n")
    out = tmp_path / "out"
    arguments = ["predict", *(str(tmp_path / f"{name}.dcm") for name in "abc")]
    arguments += ["--model", str(tiny_model), "--output", str(out), "--json", "--views"]
    assert main([*arguments, str(tmp_path / "t.csv"), "lesion"]) == 2
    assert "a.dcm" in (error := capsys.readouterr().err) and "c.dcm" in error and not out.exists()
    assert main([*arguments, "dicom"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [len(line["images"]) for line in lines if "views" in line] == [2, 1]
    assert len((out / "views.jsonl").read_text().splitlines()) == 2 and (out / "views.csv").exists()


def test_a_data_set_of_the_hub_and_a_shard(image, hub, tiny_model, tmp_path, capsys):
    with tarfile.open(tmp_path / "s-0.tar", "w") as shard:
        shard.add(image, "0001.png")
    hub.put("me/images", {"train/b.PNG": image.read_bytes(), "README.md": b"x"}, repo_type="dataset")
    named = ["hf://datasets/me/images", str(tmp_path / "s-0.tar")]
    arguments = ["--model", str(tiny_model), "--output", str(tmp_path / "out"), "--json"]
    assert main(["predict", *named, *arguments]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record["image"]: record["mask"] for record in records} == {
        f"{tmp_path / 's-0.tar'}/0001.png": "s-0__0001_mask.png",
        "datasets/me/images/train/b.PNG": "train__b_mask.png",
    }
