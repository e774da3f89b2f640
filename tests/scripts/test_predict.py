import json
import subprocess
import sys
import zipfile
from pathlib import Path

from PIL import Image

from busi_unet.data.phantom import make_phantom

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "predict.py"


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)


def save_phantom(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_phantom("benign", seed=0, size=(64, 90)).image).save(path)
    return path


def test_json_lines_on_stdout_and_files_beside(tiny_bundle, tmp_path):
    picture = save_phantom(tmp_path / "a.png")
    result = run(picture, "--model", tiny_bundle, "--output", tmp_path / "out", "--json")
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert set(json.loads(line)["probabilities"]) == {"normal", "benign", "malignant"}
    assert (tmp_path / "out" / "a_mask.png").exists()
    assert "not calibrated" in result.stderr and json.loads(line)["calibrated"] is False
    assert "not calibrated" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_folder_and_a_zip_with_a_bad_file_each(tiny_bundle, tmp_path):
    good = save_phantom(tmp_path / "in" / "deep" / "a.png")
    (tmp_path / "in" / "bad.png").write_text("no picture")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as bundle:
        bundle.write(good, "study/b.png")
        bundle.writestr("study/empty.png", b"")
    out = tmp_path / "out"
    result = run(tmp_path / "in", tmp_path / "more.zip", "--model", tiny_bundle, "--output", out)
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert "2 of 4 pictures could not be used; the others were." in result.stderr
    assert "earlier run" not in result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert f"{Path('more.zip')}/study/empty.png is empty" in result.stdout
    assert {path.name for path in out.iterdir()} == {
        *("deep__a_mask.png", "deep__a_overlay.png", "study__b_mask.png", "study__b_overlay.png"),
        *("predictions.jsonl", "predictions.csv", "report.html"),
    }


def test_exit_codes_tell_a_bad_picture_from_a_bad_call(tiny_bundle, tmp_path):
    bad = tmp_path / "b.png"
    bad.write_text("no picture")
    out = tmp_path / "out"
    out.mkdir()
    (out / "predictions.jsonl").touch()
    result = run(bad, "--model", tiny_bundle, "--output", out)
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert "error: No picture could be used." in result.stderr
    assert f"warning: {out} holds an earlier run" in result.stderr
    assert "b.png is not a picture" in result.stdout
    result = run(tmp_path, "--model", tmp_path / "absent")
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)
    assert "no model folder" in result.stderr
