import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "pretrain.py"


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_a_model_folder_comes_out(prepared, tmp_path):
    small = ["--encoder", "plain", "--width", 4, "--size", 32, "--epochs", 1, "--batch-size", 4]
    done = run("--data", prepared, "--output", tmp_path / "run", *small)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder == tmp_path / "run" / "model"
    assert (folder / "model.safetensors").is_file()
    again = run("--data", prepared, "--output", tmp_path / "run", *small)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert "Traceback" not in again.stderr


def test_options_about_labels_are_unknown():
    wrong = run("--class-weight", 1)
    assert wrong.returncode == 2
    assert "unrecognized arguments: --class-weight 1" in wrong.stderr
