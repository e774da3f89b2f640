import json
import re
import shutil
from pathlib import Path

from fakes.evaluations import make_summary

from busi_unet.evaluation.report import read_evaluations, write_evaluations
from busi_unet.models.folder import model_hash, weights_hash
from research.write_tables import HELD_OUT, IMAGES, TABLES, WEIGHTS, keep_unseen, write

ROOT = Path(__file__).resolve().parents[2]


def evaluation_of(source: str, folder: Path) -> Path:
    path, summary = folder / "metrics.json", make_summary("a" * 64)
    summary["sources"] = {source: {"estimates": summary["estimates"]}}
    summary["provenance"]["weights_sha256"] = source
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps(summary), encoding="utf-8")
    (folder / "missed_vs_outlined.png").write_bytes(b"curve")
    return path


def test_unseen_hospitals_are_kept_beside_the_weights_as_those_of_siblings(tmp_path, tiny_model):
    weights = shutil.copytree(tiny_model, tmp_path / WEIGHTS)
    (tmp_path / IMAGES).mkdir(parents=True)
    own = make_summary(model_sha256=model_hash(weights), weights_sha256=weights_hash(weights))
    write_evaluations(weights, [own])
    for sources in (("busi", "clinic"), ("busi",)):
        keep_unseen(tmp_path, [evaluation_of(name, tmp_path / name) for name in sources])
        kept = read_evaluations(weights).values()
        assert own in kept and len(kept) == 1 + len(sources)
        curves = [path.name for path in sorted((tmp_path / IMAGES).iterdir())]
        assert curves == [f"unseen-{name}.png" for name in sources]


def test_the_tables_of_this_repository_come_from_its_files(tmp_path):
    for folder in (WEIGHTS, IMAGES):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    pages = {page: (ROOT / page).read_text(encoding="utf-8") for page, *_ in TABLES}
    for file in (HELD_OUT, *pages):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / HELD_OUT, tmp_path / HELD_OUT)
    emptied = dict(pages)
    for page, mark, *_ in TABLES:
        emptied[page], count = re.subn(
            rf"(?s)(<!-- {mark} -->).*(<!-- end of {mark})", r"\1\2", emptied[page]
        )
        assert count == 1
    for page, text in emptied.items():
        (tmp_path / page).write_text(text, encoding="utf-8")
    write(tmp_path)
    assert {page: (tmp_path / page).read_text(encoding="utf-8") for page in pages} == pages
