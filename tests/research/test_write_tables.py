import json
from pathlib import Path

import pytest
from fakes.evaluations import make_summary

from busi_unet.errors import UsageError
from busi_unet.evaluation.record import read_evaluations, write_evaluations
from busi_unet.inference.predictor import EMBEDDED
from busi_unet.models.folder import model_hash, weights_hash
from research.write_tables import TABLES, keep, keep_beside_weights, write

ROOT = Path(__file__).resolve().parents[2]


def pages(root: Path) -> None:
    for page, mark, *_ in TABLES:
        path = root / page
        path.parent.mkdir(exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.exists() else "# Page\n"
        path.write_text(f"{before}\n<!-- {mark} -->\nold\n<!-- end of {mark} -->\nrest\n", encoding="utf-8")


def evaluation_of(source: str, folder: Path) -> Path:
    path, summary = folder / "metrics.json", make_summary("a" * 64)
    summary["sources"] = {source: {"estimates": summary["estimates"]}}
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps(summary), encoding="utf-8")
    (folder / "missed_vs_outlined.png").write_bytes(b"curve")
    return path


def test_a_column_per_hospital_between_the_marks_and_nothing_else_changes(tmp_path):
    pages(tmp_path)
    keep(tmp_path, "unseen", [evaluation_of(name, tmp_path / name) for name in ("busi", "clinic")])
    assert write(tmp_path) == [tmp_path / "README.md", tmp_path / "docs/results.md"]
    readme, results = (
        (tmp_path / page).read_text(encoding="utf-8") for page in ("README.md", "docs/results.md")
    )
    (dice,) = (line for line in readme.splitlines() if "Lesion Dice" in line)
    assert dice.count("0.612 (0.551 to 0.673)") == 2 and "BUSI" in readme and "clinic" in readme
    assert readme.startswith("# Page\n") and readme.endswith("rest\n") and "\nold\n" not in readme
    assert results.count("\nold\n") == 1, "no evaluation of folds held out"
    command = json.loads((tmp_path / "busi" / "metrics.json").read_text(encoding="utf-8"))["provenance"][
        "command"
    ]
    assert command in results and "images/results/unseen-busi.png" in results
    again = results
    write(tmp_path)
    assert (tmp_path / "docs/results.md").read_text(encoding="utf-8") == again
    # A hospital that is no longer among them leaves nothing behind.
    keep(tmp_path, "unseen", [evaluation_of("busi", tmp_path / "busi")])
    assert [path.name for path in (tmp_path / "research/results").iterdir()] == ["unseen-busi.json"]


def test_unseen_hospitals_are_kept_beside_the_weights_as_those_of_siblings(tmp_path, tiny_model):
    hashes = {"model_sha256": model_hash(tiny_model), "weights_sha256": weights_hash(tiny_model)}
    own = make_summary(**hashes)
    write_evaluations(tiny_model, [own])
    for sources in (("busi", "clinic"), ("busi",)):
        keep(tmp_path, "unseen", [evaluation_of(name, tmp_path / name) for name in sources])
        keep_beside_weights(tmp_path, tiny_model)
        kept = read_evaluations(tiny_model).values()
        assert own in kept and len(kept) == 1 + len(sources)


def test_this_repository_has_the_unseen_hospitals_beside_its_weights(tmp_path):
    for name in ("config.json", "model.safetensors", "evaluation.json"):
        (tmp_path / name).write_bytes((EMBEDDED / name).read_bytes())
    keep_beside_weights(ROOT, tmp_path)
    assert read_evaluations(tmp_path) == read_evaluations(EMBEDDED)


def test_a_page_without_marks_is_named(tmp_path):
    (tmp_path / "README.md").write_text("no table here", encoding="utf-8")
    keep(tmp_path, "unseen", [evaluation_of("busi", tmp_path / "busi")])
    with pytest.raises(UsageError, match=r"README\.md"):
        write(tmp_path)


def test_this_repository_has_the_marks_and_the_tables_of_its_files(tmp_path):
    for page, *_ in TABLES:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_bytes((ROOT / page).read_bytes())
    for folder in ("research/results", "docs/images/results"):
        (tmp_path / folder).mkdir(parents=True)
        for file in (ROOT / folder).glob("*"):
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    write(tmp_path)
    for page, mark, *_ in TABLES:
        assert f"<!-- end of {mark} -->" in (ROOT / page).read_text(encoding="utf-8")
        assert (tmp_path / page).read_text(encoding="utf-8") == (ROOT / page).read_text(encoding="utf-8")
