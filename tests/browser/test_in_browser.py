"""The page as a person meets it: a picture, an example, a bad file, a phone."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Page, Request, expect

from busi_unet.data.phantom import make_phantom

pytestmark = [
    pytest.mark.browser,
    # Gradio's queue uses a pandas option that newer pandas calls deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio.queueing"),
]

SCREENSHOTS = Path(__file__).parents[2] / "reports" / "screenshots"
UPLOAD = "#picture input[type=file]"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A grey TIFF, which a browser cannot show by itself, much wider than high."""
    path = tmp_path / "picture.tif"
    Image.fromarray(make_phantom("malignant", seed=0, size=(90, 200)).image).save(path)
    return path


def _screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def _natural_size(page: Page, panel: str) -> list[int]:
    expect(page.locator(f"{panel} img")).to_be_visible()
    page.wait_for_function("panel => document.querySelector(panel + ' img').naturalWidth > 0", arg=panel)
    return page.locator(f"{panel} img").evaluate("image => [image.naturalWidth, image.naturalHeight]")


def test_upload_example_and_clearing(page: Page, picture: Path) -> None:
    expect(page.get_by_text("Research use only, not a medical device.")).to_be_visible()
    page.set_input_files(UPLOAD, picture)

    assert _natural_size(page, "#original") == _natural_size(page, "#overlay") == [200, 90]
    probabilities = page.locator("#probabilities")
    for name in ("normal", "benign", "malignant"):
        expect(probabilities).to_contain_text(name)
    expect(page.locator("#findings")).to_contain_text("Most probable class")
    expect(page.locator("#findings")).to_contain_text("Weights: folder")
    _screenshot(page, "upload")

    page.locator("#examples button").nth(1).click()
    expect(page.locator("#findings")).to_contain_text("Synthetic example, drawn as benign.")
    expect(page.locator(UPLOAD)).to_be_attached()  # the upload of before is gone
    assert _natural_size(page, "#overlay") == [480, 360]
    _screenshot(page, "example")

    page.set_input_files(UPLOAD, picture)
    expect(page.locator("#findings")).not_to_contain_text("Synthetic")
    page.get_by_label("Clear").click()
    expect(page.locator("#findings")).to_have_text("Upload a picture, or choose an example.")
    expect(page.locator("#overlay img")).to_have_count(0)


def test_a_bad_file_gives_a_sentence_and_the_app_goes_on(page: Page, picture: Path, tmp_path: Path) -> None:
    page.set_input_files(UPLOAD, picture)
    expect(page.locator("#overlay img")).to_be_visible()
    page.get_by_label("Clear").click()
    bad = tmp_path / "text.png"
    bad.write_text("no picture", encoding="utf-8")

    page.set_input_files(UPLOAD, bad)
    expect(page.get_by_text("The file is not a picture that can be read.")).to_be_visible()
    expect(page.locator("#findings")).to_have_text("The last picture was not analysed.")
    expect(page.locator("#overlay img")).to_have_count(0)
    _screenshot(page, "bad-file")

    page.get_by_label("Clear").click()
    page.set_input_files(UPLOAD, picture)
    expect(page.locator("#overlay img")).to_be_visible()


def test_a_phone_shows_everything_and_no_other_host_is_called(page: Page, picture: Path) -> None:
    hosts = set()

    def note(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme.startswith("http"):
            hosts.add(address.hostname)

    page.on("request", note)
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    page.reload()
    page.set_input_files(UPLOAD, picture)
    expect(page.locator("#overlay img")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert hosts == {"127.0.0.1"}
    _screenshot(page, "phone-dark")
