import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from busi_unet.data.phantom import make_phantom

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "predict.py"


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)


def test_json_lines_on_stdout_and_files_beside(tiny_bundle, tmp_path):
    picture = tmp_path / "a.png"
    Image.fromarray(make_phantom("benign", seed=0, size=(64, 90)).image).save(picture)
    result = run(picture, "--model", tiny_bundle, "--output", tmp_path / "out", "--json")
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert set(json.loads(line)["probabilities"]) == {"normal", "benign", "malignant"}
    assert (tmp_path / "out" / "a_mask.png").exists()


def test_exit_codes_tell_a_bad_picture_from_a_bad_call(tiny_bundle, tmp_path):
    bad = tmp_path / "b.png"
    bad.write_text("no picture")
    result = run(bad, "--model", tiny_bundle, "--output", tmp_path / "out")
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert "b.png is not a picture" in result.stdout
    result = run(tmp_path, "--model", tmp_path / "absent")
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)
    assert "no model folder" in result.stderr
