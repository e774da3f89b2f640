import runpy
from pathlib import Path

import pytest

from busi_unet.data.fold_table import read_folds
from busi_unet.data.readers import scan_folder

main = runpy.run_path(str(Path(__file__).resolve().parents[2] / "research" / "publish_folds.py"))["main"]


def test_it_writes_a_table(phantom_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "folds.csv"
    assert main([str(phantom_root), "--output", str(path)]) == 0
    rows = read_folds(path)
    assert len(rows) == len(scan_folder(phantom_root).cases)
    assert f"{len(rows)} pictures" in capsys.readouterr().out


def test_a_folder_that_does_not_exist_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "nowhere" in said
