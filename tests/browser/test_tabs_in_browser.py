"""The tabs for many images and about the model as a person meets them."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from busi_unet.app import text
from busi_unet.app.about import build_about_tab
from busi_unet.app.batch import build_batch_tab
from busi_unet.app.model import load_predictor
from busi_unet.app.page import LAUNCH_OPTIONS
from busi_unet.data.phantom import make_phantom
from busi_unet.inference.prediction import Prediction
from busi_unet.inference.predictor import Predictor

pytestmark = [
    pytest.mark.browser,
    # Gradio's queue uses a pandas option that newer pandas calls deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio.queueing"),
]
UPLOAD = "#batch-images input[type=file]"


@pytest.fixture
def tabs(
    browser: Browser, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """The two tabs alone, with a small untrained network."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    model = load_predictor(str(tiny_model))
    with gr.Blocks(analytics_enabled=False) as demo:
        with gr.Tab(text.MANY_IMAGES):
            build_batch_tab(lambda: model)
        with gr.Tab("About this model") as tab:
            build_about_tab(lambda: model, tab)
    _, url, _ = demo.launch(**LAUNCH_OPTIONS, prevent_thread_lock=True, quiet=True)
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    try:
        page.goto(url)
        yield page
    finally:
        page.close()
        demo.close()


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


def test_a_batch_with_a_bad_file(tabs: Page, files: list[Path], tmp_path: Path) -> None:
    download = tabs.get_by_role("button", name="Download all results")
    expect(download).to_be_disabled()
    tabs.set_input_files(UPLOAD, files)
    expect(tabs.locator("#batch-images")).to_contain_text(".zip")
    tabs.get_by_role("button", name="Analyse all").click()

    expect(tabs.locator("#batch-status")).to_contain_text("Done. 4 ")
    table = tabs.locator("#batch-table")
    expect(table).to_contain_text("bad.png")
    expect(table).to_contain_text("more.zip/study/three.png")
    expect(tabs.locator("#batch-gallery img")).to_have_count(3)
    expect(tabs.get_by_role("button", name="Cancel")).to_be_disabled()
    expect(download).to_be_enabled()

    with tabs.expect_download() as caught:
        download.click()
    caught.value.save_as(tmp_path / "results.zip")
    with zipfile.ZipFile(tmp_path / "results.zip") as zip_file:
        names = set(zip_file.namelist())
        mask = Image.open(io.BytesIO(zip_file.read("study__three_mask.png")))
    assert mask.size == (160, 90)
    assert {"one_mask.png", "two_overlay.png", "predictions.csv", "report.html"} < names


def test_cancel_keeps_what_is_done(
    tabs: Page, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Predictor.predict

    def slowly(*args: Any, **kwargs: Any) -> Prediction:
        time.sleep(0.3)
        return predict(*args, **kwargs)

    monkeypatch.setattr(Predictor, "predict", slowly)
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as zip_file:
        for number in range(100):
            zip_file.write(files[0], f"{number:03}.png")
    tabs.set_input_files(UPLOAD, tmp_path / "study.zip")
    expect(tabs.locator("#batch-images")).to_contain_text(".zip")
    tabs.get_by_role("button", name="Analyse all").click()
    expect(tabs.locator("#batch-status")).to_contain_text("of 100 images done")
    tabs.get_by_role("button", name="Cancel").click()

    expect(tabs.locator("#batch-status")).to_contain_text("Cancelled. Of 100 images")
    expect(tabs.get_by_role("button", name="Download all results")).to_be_enabled()
    expect(tabs.get_by_role("button", name="Analyse all")).to_be_enabled()


def test_the_table_sorts(tabs: Page, files: list[Path]) -> None:
    tabs.set_input_files(UPLOAD, [files[2], files[0]])
    expect(tabs.locator("#batch-images")).to_contain_text("one")
    tabs.get_by_role("button", name="Analyse all").click()
    expect(tabs.locator("#batch-status")).to_contain_text("Done.")
    first = tabs.locator("#batch-table").get_by_role("gridcell").first
    expect(first).to_have_text("two.tif")

    heading = tabs.locator("#batch-table").get_by_role("columnheader", name="Image")
    heading.hover()
    heading.get_by_label("Open cell menu").click()
    tabs.get_by_role("menuitem", name="Sort ascending").click()
    expect(first).to_have_text("one.png")


def test_about_fits_a_phone_and_shows_no_borrowed_figures(tabs: Page) -> None:
    tabs.set_viewport_size({"width": 390, "height": 844})
    tabs.get_by_role("tab", name="About this model").click()
    about = tabs.locator("#about")
    expect(about).to_contain_text("No evaluation came with these weights")
    expect(about).to_contain_text("Not a medical device.")
    expect(about).to_contain_text("SHA-256")
    assert tabs.evaluate("document.documentElement.scrollWidth") <= 390
