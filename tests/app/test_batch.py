import zipfile
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from fakes.dicom_files import dicom
from PIL import Image

from busi_unet.app import answers, batch, text
from busi_unet.app.batch import HEADERS, BatchAnswer, BatchHandlers, summarise_rows
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import UsageError

REQUEST = gr.Request(session_hash="visitor")


@pytest.fixture
def handlers(model, monkeypatch) -> BatchHandlers:
    monkeypatch.setattr(answers, "SECONDS_BETWEEN_UPDATES", 0)
    return BatchHandlers(model)


@pytest.fixture
def images(tmp_path) -> list[str]:
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for seed, path in enumerate(paths):
        Image.fromarray(make_phantom("malignant", seed=seed, size=(64, 90)).image).save(path)
    return list(map(str, paths))


def run(handlers: BatchHandlers, paths: list[str]) -> Iterator[BatchAnswer]:
    return handlers.predict_many(paths, REQUEST)


def folders(cache: Path) -> list[list[str]]:
    return [sorted(path.name for path in folder.iterdir()) for folder in cache.iterdir()]


def test_one_bad_file_is_a_row_and_the_zip_holds_the_others(handlers, images, tmp_path, cache):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    *updates, answer = run(handlers, [images[0], str(bad), *images[1:]])

    assert [len(update.rows["data"]) for update in updates] == [1, 2, 3]
    assert all(update.archive is None for update in updates)
    assert "1 of 4" in updates[0].status
    rows = {row[1]: dict(zip(HEADERS, row, strict=True)) for row in answer.rows["data"]}
    assert [row["No."] for row in rows.values()] == [1, 2, 3, 4]
    assert f"{sum(bool(row['Flag']) for row in rows.values())} flagged" in answer.status
    assert rows["bad.png"]["Class"] in answer.status
    assert rows["bad.png"]["Remarks"].startswith("bad.png")
    assert sum(rows["a.png"][name] for name in ("Normal", "Benign", "Malignant")) == pytest.approx(
        100, abs=0.2
    )
    assert [caption.rpartition(" ")[2] for _, caption in answer.gallery] == ["a.png", "b.png", "c.png"]
    assert Image.open(answer.gallery[0][0]).size == (90, 64)
    with zipfile.ZipFile(answer.archive) as zip_file:
        assert zip_file.testzip() is None
        stems = {f"{name}_{kind}" for name in "abc" for kind in ("mask.png", "overlay.jpg")}
        others = {"predictions.jsonl", "predictions.csv", "report.html", "written.sha256"}
        assert set(zip_file.namelist()) == stems | others
        table = zip_file.read("predictions.csv").decode("utf-8-sig")
        report = zip_file.read("report.html").decode()
    assert str(tmp_path) not in table, "nothing tells where the server keeps files"
    assert "SHA-256" in report
    assert folders(cache) == [["a_overlay.jpg", "b_overlay.jpg", "busi-unet-results.zip", "c_overlay.jpg"]]


def test_cancelling_keeps_what_is_done(handlers, images):
    handlers.begin(REQUEST)
    running = run(handlers, images)
    next(running)
    handlers.cancel(gr.Request(session_hash="somebody else"))
    assert len(next(running).rows["data"]) == 2
    handlers.begin(REQUEST)

    running = run(handlers, images)
    next(running)
    handlers.cancel(REQUEST)
    (answer,) = running
    assert len(answer.rows["data"]) == 2
    assert answer.status.startswith("**Cancelled.**")
    with zipfile.ZipFile(answer.archive) as zip_file:
        assert {"a_mask.png", "b_mask.png", "report.html"} < set(zip_file.namelist())

    handlers.begin(REQUEST)
    assert len([*run(handlers, images)][-1].rows["data"]) == 3, "the next run is not stopped"


def test_a_visitor_who_leaves_takes_the_scratch_files_along(handlers, images, cache):
    running = run(handlers, images)
    next(running)
    running.close()

    assert folders(cache) == [["a_overlay.jpg"]]


def test_too_much_or_nothing_is_one_sentence(handlers, images, monkeypatch):
    with pytest.raises(gr.Error, match=text.BATCH_EMPTY[0]):
        list(run(handlers, []))
    monkeypatch.setattr(batch, "MAX_IMAGES", 2)
    with pytest.raises(gr.Error, match="3 files"):
        list(run(handlers, images))


def test_a_refused_image_has_no_class(handlers, tmp_path):
    Image.new("L", (64, 64), 90).save(tmp_path / "blank.png")
    answer = [*run(handlers, [str(tmp_path / "blank.png")])][-1]

    row = answer.rows["data"][0]
    assert row[2:7] == ["not analysed", "", None, None, None]
    assert batch.filtered([row], text.BATCH_REFUSED) == [row]
    assert batch.filtered([row], text.BATCH_FLAGGED) == []


@pytest.fixture
def examined(tmp_path) -> list[str]:
    """DICOM files of one name, two of one patient and one of another, and a bad file."""
    paths = [tmp_path / f"{number}" / "image.dcm" for number in range(3)]
    for path, patient in zip(paths, "112", strict=True):
        path.parent.mkdir()
        pixels = make_phantom("benign", seed=int(path.parent.name), size=(64, 90)).image
        path.write_bytes(dicom(pixels, PatientID=patient, StudyInstanceUID=f"1.{patient}"))
    (tmp_path / "bad.png").write_text("no image")
    return [*map(str, paths), str(tmp_path / "bad.png")]


@pytest.fixture
def archive(handlers, examined) -> str:
    return [*run(handlers, examined)][-1].archive


@pytest.mark.parametrize("chosen", [[], None])
def test_without_a_choice_each_examination_is_one(examined, archive, chosen):
    shown, _ = summarise_rows(chosen, examined, archive)
    assert shown.count("verdict-words") == 2 and "Examination 2" in shown


def test_mixed_patients_too_few_rows_and_other_files_are_refused(examined, archive):
    with pytest.raises(UsageError, match=r"different patients.*image\.dcm; image-3\.dcm"):
        summarise_rows([1, 3], examined, archive)
    with pytest.raises(UsageError, match="fewer than two images"):
        summarise_rows([1], examined, archive)
    with pytest.raises(UsageError, match=text.BATCH_CHANGED[0]):
        summarise_rows([1, 2], examined[::-1], archive)
