from pathlib import Path

import pytest
from fakes.evaluations import write_evaluation

from busi_unet.errors import UsageError
from busi_unet.publish.results import read_result, results_of

ROOT = Path(__file__).resolve().parents[2]
OURS, OTHERS = "a" * 64, "b" * 64


def test_a_file_of_this_repository_is_read():
    result = read_result(ROOT / "busi_unet" / "weights" / "evaluation.json")
    assert result.split == "test"
    assert sum(result.images.values()) == result.estimates["accuracy"].n
    assert 0 < result.estimates["lesion_dice"].value < 1


def test_a_given_file_of_other_weights_is_refused(tmp_path):
    path = write_evaluation(tmp_path / "metrics.json", OTHERS)
    with pytest.raises(
        UsageError,
        match="is an evaluation of another model",
    ):
        results_of(OURS, [path])


def test_found_files_count_only_where_they_measure_these_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_evaluation(Path("reports/mine/metrics.json"), OURS)
    write_evaluation(Path("reports/mine-again/metrics.json"), OURS)
    write_evaluation(Path("reports/other/metrics.json"), OTHERS)
    write_evaluation(Path("reports/validation/metrics.json"), OURS, split="validation")
    Path("reports/notes").mkdir()
    Path("reports/notes/metrics.json").write_text("[]", encoding="utf-8")
    assert [result.file_name for result in results_of(OURS)] == [
        "test-ab12cd34.json",
        "validation-ab12cd34.json",
    ]
    assert results_of("c" * 64) == []


def test_given_files_are_used_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_evaluation(Path("reports/mine/metrics.json"), OURS)
    given = write_evaluation(Path("elsewhere.json"), OURS, split="validation")
    assert [result.path for result in results_of(OURS, [given])] == [given]


def test_two_files_of_one_split_are_refused(tmp_path):
    paths = [write_evaluation(tmp_path / name, OURS) for name in ("a.json", "b.json")]
    with pytest.raises(UsageError, match="same split of the same data"):
        results_of(OURS, paths)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"estimates": {"ece": {"value": 1}}}', "null"])
def test_anything_else_is_refused(tmp_path, text):
    path = tmp_path / "metrics.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"metrics\.json is not an evaluation file"):
        read_result(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_result(tmp_path / "missing.json")
