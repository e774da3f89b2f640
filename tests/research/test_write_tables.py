import json
import shutil
from pathlib import Path

import pytest
from fakes.evaluations import make_summary

from busi_unet.evaluation.report import read_evaluations, write_evaluations
from busi_unet.models.folder import model_hash, weights_hash
from research.write_tables import HELD_OUT, IMAGES, TABLES, WEIGHTS, keep_unseen, write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def repository(tmp_path, tiny_model):
    shutil.copytree(tiny_model, tmp_path / WEIGHTS)
    (tmp_path / IMAGES).mkdir(parents=True)
    for page, mark, *_ in TABLES:
        path = tmp_path / page
        before = path.read_text(encoding="utf-8") if path.exists() else "# Page\n"
        path.write_text(f"{before}\n<!-- {mark} -->\nold\n<!-- end of {mark} -->\nrest\n", encoding="utf-8")
    return tmp_path


def evaluation_of(source: str, folder: Path) -> Path:
    path, summary = folder / "metrics.json", make_summary("a" * 64)
    summary["sources"] = {source: {"estimates": summary["estimates"]}}
    summary["provenance"]["weights_sha256"] = source
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps(summary), encoding="utf-8")
    (folder / "missed_vs_outlined.png").write_bytes(b"curve")
    return path


def test_a_column_per_hospital_between_the_marks_and_nothing_else_changes(repository):
    keep_unseen(repository, [evaluation_of(name, repository / name) for name in ("busi", "clinic")])
    assert write(repository) == [repository / "README.md", repository / "docs/results.md"]
    readme, results = (
        (repository / page).read_text(encoding="utf-8") for page in ("README.md", "docs/results.md")
    )
    (dice,) = (line for line in readme.splitlines() if "Lesion Dice" in line)
    assert dice.count("0.612 (0.551 to 0.673)") == 2 and "BUSI" in readme and "clinic" in readme
    assert readme.startswith("# Page\n") and readme.endswith("rest\n") and "\nold\n" not in readme
    assert results.count("\nold\n") == 1, "no evaluation of folds held out"
    assert "images/results/unseen-busi.png" in results
    write(repository)
    assert (repository / "docs/results.md").read_text(encoding="utf-8") == results


def test_unseen_hospitals_are_kept_beside_the_weights_as_those_of_siblings(repository):
    weights = repository / WEIGHTS
    own = make_summary(model_sha256=model_hash(weights), weights_sha256=weights_hash(weights))
    write_evaluations(weights, [own])
    for sources in (("busi", "clinic"), ("busi",)):
        keep_unseen(repository, [evaluation_of(name, repository / name) for name in sources])
        kept = read_evaluations(weights).values()
        assert own in kept and len(kept) == 1 + len(sources)
        curves = [path.name for path in sorted((repository / IMAGES).iterdir())]
        assert curves == [f"unseen-{name}.png" for name in sources]


def test_this_repository_has_the_marks_and_the_tables_of_its_files(tmp_path):
    for folder in (WEIGHTS, IMAGES):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in (HELD_OUT, *(page for page, *_ in TABLES)):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, tmp_path / file)
    write(tmp_path)
    for page, mark, *_ in TABLES:
        assert f"<!-- end of {mark} -->" in (ROOT / page).read_text(encoding="utf-8")
        assert (tmp_path / page).read_text(encoding="utf-8") == (ROOT / page).read_text(encoding="utf-8")
