"""The tabs for many images and about the model as a person meets them."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fakes.dicom_files import dicom
from PIL import Image
from playwright.sync_api import Page, expect

from busi_unet.app import text
from busi_unet.data.phantom import make_phantom
from busi_unet.inference.predictor import Predictor

pytestmark = pytest.mark.browser
UPLOAD = "#batch-images input[type=file]"


@pytest.fixture
def batch(page: Page) -> Page:
    """The page with the tab for many images open."""
    page.get_by_role("tab", name=text.MANY_IMAGES).click()
    return page


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two images, a bad file, and a zip with an image in a folder."""
    paths = [tmp_path / "one.png", tmp_path / "bad.png", tmp_path / "two.tif", tmp_path / "more.zip"]
    for seed in (0, 2):
        Image.fromarray(make_phantom("benign", seed=seed, size=(90, 160)).image).save(paths[seed])
    paths[1].write_text("no image", encoding="utf-8")
    with zipfile.ZipFile(paths[3], "w") as zip_file:
        zip_file.write(paths[0], "study/three.png")
    return paths


def test_a_batch_with_a_bad_file(batch: Page, files: list[Path], tmp_path: Path) -> None:
    download = batch.get_by_role("button", name="Download all results")
    expect(download).to_be_disabled()
    batch.set_input_files(UPLOAD, files)
    expect(batch.locator("#batch-images")).to_contain_text(".zip")
    batch.get_by_role("button", name="Analyse all").click()

    expect(batch.locator("#batch-status")).to_contain_text("Done. 4 ")
    table = batch.locator("#batch-table")
    expect(table).to_contain_text("bad.png")
    expect(table).to_contain_text("more.zip/study/three.png")
    expect(batch.locator("#batch-gallery img")).to_have_count(3)
    expect(batch.locator("#batch-cancel")).to_be_disabled()
    expect(download).to_be_enabled()

    with batch.expect_download() as caught:
        download.click()
    caught.value.save_as(tmp_path / "results.zip")
    with zipfile.ZipFile(tmp_path / "results.zip") as zip_file:
        names = set(zip_file.namelist())
        mask = Image.open(io.BytesIO(zip_file.read("study__three_mask.png")))
    assert mask.size == (160, 90)
    assert {"one_mask.png", "two_overlay.jpg", "predictions.csv", "report.html"} < names


@pytest.mark.parametrize("how", ["chosen", "dropped"])
def test_a_folder_brings_its_images_alone(batch: Page, files: list[Path], tmp_path: Path, how: str) -> None:
    inner = tmp_path / "study" / "left"
    inner.mkdir(parents=True)
    for name in ("10.png", "one_mask.png", "9.png", ".hidden.png"):
        (inner / name).write_bytes(files[0].read_bytes())
    (inner / "notes.txt").write_text("no image", encoding="utf-8")
    (inner / "IM1").write_bytes(dicom(make_phantom("benign", seed=1, size=(90, 160)).image))

    if how == "chosen":
        with batch.expect_file_chooser() as chosen:
            batch.get_by_role("button", name=text.BATCH_FOLDER).click()
        chosen.value.set_files(tmp_path / "study")
    else:
        box = batch.locator("#batch-images").bounding_box()
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        data = {"items": [], "files": [str(tmp_path / "study")], "dragOperationsMask": 1}
        session = batch.context.new_cdp_session(batch)
        for kind in ("dragEnter", "dragOver", "drop"):
            session.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})

    expect(batch.locator("#batch-images .filename")).to_have_count(3)
    titles = batch.locator("#batch-images .filename").evaluate_all("files => files.map((file) => file.title)")
    assert titles == ["study__left__9.png", "study__left__10.png", "study__left__IM1"]


def test_cancel_keeps_what_is_done(
    batch: Page, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Predictor.run

    def slowly(self: Predictor, images: Any) -> Any:
        time.sleep(0.3)
        return run(self, images)

    monkeypatch.setattr(Predictor, "run", slowly)
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as zip_file:
        for number in range(100):
            zip_file.write(files[0], f"{number:03}.png")
    batch.set_input_files(UPLOAD, tmp_path / "study.zip")
    expect(batch.locator("#batch-images")).to_contain_text(".zip")
    batch.get_by_role("button", name="Analyse all").click()
    expect(batch.locator("#batch-status")).to_contain_text("of 100 images done")
    batch.locator("#batch-cancel").click()

    expect(batch.locator("#batch-status")).to_contain_text("Cancelled. Of 100 images")
    expect(batch.get_by_role("button", name="Download all results")).to_be_enabled()
    expect(batch.get_by_role("button", name="Analyse all")).to_be_enabled()


@pytest.mark.slow
def test_two_rows_of_one_patient_are_one_summary(batch: Page, tmp_path: Path) -> None:
    files = []
    for number, patient in enumerate("112", start=1):
        files.append(tmp_path / f"{number}.dcm")
        files[-1].write_bytes(
            dicom(make_phantom("benign", seed=number, size=(64, 90)).image, PatientID=patient)
        )
    batch.set_input_files(UPLOAD, files)
    batch.get_by_role("button", name=text.BATCH_START).click()
    batch.get_by_role("button", name="Several images of one lesion").click()

    for name in ("1. 1.dcm", "2. 2.dcm"):
        batch.locator("#views-chosen input").click()
        batch.get_by_role("option", name=name).click()
    batch.keyboard.press("Escape")
    batch.get_by_role("button", name="Summarise together").click()
    expect(batch.locator("#views-shown")).to_contain_text("2 images.")
    expect(batch.locator("#views-files")).to_contain_text("views")

    batch.locator("#views-chosen input").click()
    batch.get_by_role("option", name="3. 3.dcm").click()
    expect(batch.locator("#views-shown")).not_to_contain_text("2 images.")
    batch.keyboard.press("Escape")
    batch.get_by_role("button", name="Summarise together").click()
    expect(batch.get_by_text("different patients")).to_be_visible()


def test_about_fits_a_phone_and_shows_no_borrowed_results(page: Page) -> None:
    page.get_by_role("tab", name=text.ABOUT).click()
    page.set_viewport_size({"width": 390, "height": 844})
    about = page.locator("#about")
    expect(about).to_contain_text(text.NO_EVALUATION)
    expect(about).to_contain_text("Not a medical device.")
    expect(about).to_contain_text("SHA-256")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
