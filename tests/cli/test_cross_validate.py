import json

import pytest

from busi_unet.cli import main

TINY = ["--encoder", "plain", "--width", "4", "--size", "32", "--epochs", "1", "--batch-size", "4"]


@pytest.mark.slow
def test_one_fold_at_a_time(prepared, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = ["--data", str(prepared), "--output", str(output), "--folds", "4", "--json"]
    assert main(["cross-validate", *TINY, *arguments]) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert [part["fold"] for part in summary["provenance"]["parts"]] == [4]
    assert summary["provenance"]["command"].startswith("busi-unet cross-validate --encoder plain")
    assert str(output / "results-4") in printed.err
    assert (output / "results-4" / "metrics.json").is_file()
