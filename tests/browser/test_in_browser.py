"""The tab for one image as a person meets it."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from fakes.dicom_files import PATIENT, dicom, region
from PIL import Image, ImageDraw
from playwright.sync_api import Page, Request, expect

from busi_unet.app import text
from busi_unet.app.strips import examples
from busi_unet.data.phantom import make_phantom

pytestmark = pytest.mark.browser

UPLOAD = "#image input[type=file]"
SIZE = (200, 90)
# Puts an image of 160×120 on the clipboard.
_COPY = """async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 160, height: 120 });
    const pen = canvas.getContext("2d");
    pen.fillRect(0, 0, 160, 120);
    pen.fillStyle = "#888";
    pen.fillRect(20, 20, 60, 60);
    const blob = await new Promise((done) => canvas.toBlob(done));
    await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
}"""

# Pastes or drops a file on an element: an image of a width and 120 rows, or so many bytes.
_BRING = """async ([kind, place, name, size]) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [Math.min(size, 500), 120];
    canvas.getContext("2d").fillRect(20, 20, 60, 60);
    const blob = await new Promise((done) => canvas.toBlob(done));
    const files = new DataTransfer();
    files.items.add(new File([size > 500 ? new Uint8Array(size) : blob], name, { type: "image/png" }));
    const options = { bubbles: true, cancelable: true, dataTransfer: files, clipboardData: files };
    const event = kind === "paste" ? new ClipboardEvent(kind, options) : new DragEvent(kind, options);
    document.querySelector(place).dispatchEvent(event);
}"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A grey TIFF, which a browser cannot show by itself, much wider than high."""
    path = tmp_path / "image.tif"
    Image.fromarray(make_phantom("malignant", seed=0, size=SIZE[::-1]).image).save(path)
    return path


def _natural_size(page: Page, panel: str) -> list[int]:
    expect(page.locator(f"{panel} img").first).to_be_visible()
    page.wait_for_function("panel => document.querySelector(panel + ' img').naturalWidth > 0", arg=panel)
    return page.locator(f"{panel} img").first.evaluate("image => [image.naturalWidth, image.naturalHeight]")


def _analyse(page: Page, path: Path) -> None:
    """Upload an image and wait for its answer and the redraw that follows."""
    page.set_input_files(UPLOAD, path)
    expect(page.locator("#findings")).to_contain_text("Weights")
    expect(page.locator("#overlay img")).to_be_visible()


def _set_threshold(page: Page, value: float) -> None:
    page.locator("#threshold input[type=number]").fill(str(value))
    page.locator("#threshold input[type=number]").press("Tab")
    expect(page.locator("#findings")).to_contain_text(f"threshold set by hand ({value:.2f})")


def _tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def _until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Waits for what no element of the page tells."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.1)


def _pixels(page: Page, panel: str) -> np.ndarray:
    """Return the image of a panel, as its file is served."""
    answer = page.request.get(page.locator(f"{panel} img").first.get_attribute("src"))
    return np.asarray(Image.open(io.BytesIO(answer.body())))


def test_upload_example_and_clearing(page: Page, image: Path) -> None:
    expect(page.get_by_text("Research use only, not a medical device.")).to_be_visible()
    page.set_input_files(UPLOAD, image)

    assert _natural_size(page, "#original") == _natural_size(page, "#overlay") == [200, 90]
    expect(page.locator("#verdict tr")).to_contain_text(["normal", "benign", "malignant"])
    expect(page.locator("#findings")).to_contain_text("Weights: folder")

    page.locator("#examples button").nth(1).click()
    expect(page.locator("#findings")).to_contain_text("labelled benign.")
    expect(page.locator(UPLOAD)).to_be_attached()  # the upload of before is gone
    with Image.open(examples()[1].path) as example:
        assert _natural_size(page, "#overlay") == list(example.size)

    page.set_input_files(UPLOAD, image)
    expect(page.locator("#findings")).not_to_contain_text("labelled")
    page.get_by_label("Clear").click()
    expect(page.locator("#verdict")).to_contain_text(text.INVITATION)
    expect(page.locator("#overlay img")).to_have_count(0)


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_an_image_pasted_or_dropped_anywhere_is_the_next(page: Page, image: Path, kind: str) -> None:
    _analyse(page, image)

    page.evaluate(_BRING, [kind, "#findings", "next.png", 160])
    expect(page.locator("#verdict")).to_contain_text("next")
    assert _natural_size(page, "#original") == [160, 120]
    expect(page.locator("#image .filename")).to_have_attribute("title", "next.png")

    page.evaluate(_BRING, [kind, "#pixel-size input", "typing.png", 200])
    expect(page.locator("#verdict")).to_contain_text("next" if kind == "paste" else "typing")


def test_a_file_that_is_too_large_is_not_uploaded(page: Page, image: Path) -> None:
    _analyse(page, image)
    uploads = []
    page.on("request", lambda request: uploads.append(request.url) if "/upload" in request.url else None)
    page.evaluate(_BRING, ["drop", "#image", "large.png", 60 * 1024**2])
    expect(page.locator("#told")).to_contain_text("60.0 MB; the limit for one image is 50 MB")
    assert uploads == []

    page.evaluate(_BRING, ["drop", "#image", "next.png", 160])
    expect(page.locator("#verdict")).to_contain_text("next")
    expect(page.locator("#told")).to_have_count(0)


def test_a_bad_file_gives_a_sentence_and_the_app_goes_on(page: Page, image: Path, tmp_path: Path) -> None:
    page.set_input_files(UPLOAD, image)
    expect(page.locator("#overlay img")).to_be_visible()
    page.get_by_label("Clear").click()
    bad = tmp_path / "text.png"
    bad.write_text("no image", encoding="utf-8")

    page.set_input_files(UPLOAD, bad)
    expect(page.locator("#verdict")).to_contain_text("The file is not")
    expect(page.get_by_test_id("toast-body")).to_contain_text("The file is not")
    expect(page.locator("#overlay img")).to_have_count(0)

    page.get_by_label("Clear").click()
    expect(page.get_by_test_id("toast-body")).to_have_count(0)
    page.set_input_files(UPLOAD, image)
    expect(page.locator("#overlay img")).to_be_visible()


def test_a_phone_shows_everything_and_no_other_host_is_called(page: Page, image: Path) -> None:
    hosts = set()

    def note(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme.startswith("http"):
            hosts.add(address.hostname)

    page.on("request", note)
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    page.reload()
    page.set_input_files(UPLOAD, image)
    expect(page.locator("#overlay img")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator("#overlay img")).to_be_in_viewport(ratio=1)
    assert page.locator("#display").bounding_box()["y"] > page.locator("#overlay").bounding_box()["y"]
    assert hosts == {"127.0.0.1"}


def test_a_value_typed_out_of_range_is_brought_back(page: Page, image: Path) -> None:
    _analyse(page, image)
    failed = []
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    typed = page.locator("#threshold input[type=number]")

    for wrong, bound in (("5", "0.95"), ("-1", "0.05")):
        typed.fill(wrong)
        expect(page.locator("#findings")).to_contain_text(f"threshold set by hand ({bound})")
        typed.press("Tab")
        expect(typed).to_have_value(bound)
    page.get_by_label("Pixel size, mm").fill("50")
    expect(page.get_by_text("A pixel of 50 mm is not plausible")).to_be_visible()
    expect(page.get_by_label("Pixel size, mm")).to_have_value("")
    expect(page.locator("#measurements")).not_to_contain_text("mm")
    assert failed == []
    expect(page.get_by_test_id("reset-button")).to_have_count(0)


def test_a_cleared_image_leaves_nothing_behind(page: Page, image: Path) -> None:
    size = page.get_by_label("Pixel size, mm")
    expect(size).to_have_value("")
    size.fill("0.1")
    _analyse(page, image)
    _set_threshold(page, 0.3)
    expect(page.locator("#findings")).to_contain_text("typed in: 0.1 mm")
    expect(size).to_have_value("0.1")

    _tab(page, "Download")
    page.get_by_role("button", name="Make the files").click()
    links = page.locator("#downloads a")
    expect(links).to_have_count(4)
    with page.expect_download() as caught:
        links.nth(1).click()
    assert json.loads(caught.value.path().read_text(encoding="utf-8"))["threshold_by_hand"] == 0.3
    page.get_by_label("Draw the diameters").check()
    expect(links).to_have_count(0)

    page.evaluate(_BRING, ["drop", "#verdict", "next.png", 160])
    expect(page.locator("#verdict")).to_contain_text("next")
    expect(size).to_have_value("0.1")
    page.get_by_label("Last image, image", exact=True).click()
    expect(page.locator("#verdict .verdict-name")).to_have_text("image")
    expect(size).to_have_value("0.1")
    page.evaluate(_BRING, ["drop", "#verdict", "last.png", 200])
    expect(page.locator("#verdict")).to_contain_text("last")
    expect(size).to_have_value("0.1")

    page.locator("#image").get_by_label("Clear").click()
    expect(page.locator("#verdict")).to_contain_text(text.INVITATION)
    expect(size).to_have_value("")
    expect(page.locator("#threshold input[type=number]")).to_have_value("0.5")
    expect(page.locator("#more")).to_be_hidden()


def test_the_whole_table_is_to_be_seen(page: Page, image: Path) -> None:
    _analyse(page, image)
    _set_threshold(page, 0.3)
    table = page.locator("#measurements").bounding_box()
    last = page.locator("#measurements").get_by_role("columnheader", name="Left, top").bounding_box()

    assert last["x"] + last["width"] <= table["x"] + table["width"]


def test_full_screen_enlarges(page: Page, image: Path) -> None:
    _analyse(page, image)
    page.locator("#overlay").get_by_label("Fullscreen").click()
    image = page.locator("#overlay img")

    _until(lambda: image.bounding_box()["width"] > 1000)
    _until(lambda: page.locator("#overlay").bounding_box()["height"] == page.viewport_size["height"])
    assert image.evaluate("image => getComputedStyle(image).objectFit") == "contain"


def test_sliders_redraw_without_another_run(page: Page, image: Path) -> None:
    _analyse(page, image)
    runs = []
    page.on("request", lambda request: runs.append(request.url) if "queue/join" in request.url else None)

    _set_threshold(page, 0.95)
    expect(page.locator("#verdict")).to_contain_text("no lesion outlined")
    _until(lambda: np.ptp(_pixels(page, "#overlay"), axis=2).max() == 0)
    _set_threshold(page, 0.05)
    expect(page.locator("#measurements")).to_contain_text("px")
    _until(lambda: np.ptp(_pixels(page, "#overlay"), axis=2).max() > 0)
    after = _pixels(page, "#overlay")
    assert runs == [], "a redraw must not wait in a queue"
    page.get_by_label("Pixel size, mm").fill("0.1")
    page.get_by_label("Pixel size, mm").press("Tab")
    expect(page.locator("#measurements")).to_contain_text("mm²")
    page.locator("#view input").click()
    page.get_by_role("option", name="Uncertainty").click()
    expect(page.locator("#legend")).to_contain_text("as likely lesion as not")
    _until(lambda: (_pixels(page, "#overlay") != after).any())


def test_dicom_clip_with_pixel_size_and_without_the_patient(page: Page, tmp_path: Path) -> None:
    clip = np.stack([make_phantom("benign", seed=seed, size=(90, 160)).image for seed in range(3)])
    path = tmp_path / "IM0001"
    known = region((0, 0, 159, 89), delta=(0.02, 0.01))
    path.write_bytes(dicom(clip, frames=3, SequenceOfUltrasoundRegions=[known]))
    _analyse(page, path)

    expect(page.locator("#pixel-size")).to_contain_text("0.2 mm across and 0.1 mm in depth")
    np.testing.assert_array_equal(_pixels(page, "#original"), clip[0])
    frame = page.locator("#clip-frame input[type=number]")
    expect(frame).to_be_visible()
    page.locator("#clip-frame input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect(frame).to_have_value("2")
    _until(lambda: (_pixels(page, "#original") == clip[1]).all())
    frame.fill("9")
    _until(lambda: (_pixels(page, "#original") == clip[2]).all())
    frame.press("Tab")
    expect(frame).to_have_value("3")
    assert PATIENT not in page.content()


def test_reference_mask(page: Page, image: Path, tmp_path: Path) -> None:
    _analyse(page, image)
    _set_threshold(page, 0.3)
    mask = np.zeros(SIZE[::-1], dtype=np.uint8)
    mask[20:60, 50:120] = 255
    reference, wrong = tmp_path / "mask.png", tmp_path / "wrong.png"
    Image.fromarray(mask).save(reference)
    Image.fromarray(mask[:50]).save(wrong)

    _tab(page, text.REFERENCE)
    page.set_input_files("#reference input[type=file]", wrong)
    expect(page.get_by_text("is 200 × 50 pixels")).to_be_visible()
    expect(page.locator("#reference .filename")).to_have_count(0)
    parts = [reference, tmp_path / "mask_1.png"]
    Image.fromarray(np.roll(mask, 60, axis=1)).save(parts[1])
    Image.fromarray(mask * (np.arange(SIZE[0]) < 110)).save(parts[0])
    page.set_input_files("#reference input[type=file]", parts)
    expect(page.locator("#agreement")).to_contain_text("Dice")
    expect(page.locator("#agreement")).to_contain_text("reference: 5,200 px")
    assert _natural_size(page, "#agreement-image") == list(SIZE)


def test_correction_with_the_brush_becomes_a_training_pair(page: Page, image: Path, tmp_path: Path) -> None:
    _analyse(page, image)
    _tab(page, text.CORRECT)
    page.get_by_label(text.BRUSH, exact=True).check()
    canvas = page.locator("#editor canvas").first
    expect(canvas).to_be_visible()
    page.wait_for_timeout(1500)  # the editor tells nobody when it has drawn a new image
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=8)
    page.mouse.up()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Measure it").click()
    expect(page.locator("#findings")).to_contain_text("corrected by hand")
    expect(page.locator("#threshold input[type=range]")).to_be_disabled()

    page.locator("#pair-class").get_by_label("malignant").check()
    page.get_by_role("button", name="Make a training pair").click()
    with page.expect_download() as caught:
        page.locator("#pair-file a").first.click()
    caught.value.save_as(tmp_path / "pair.zip")
    with zipfile.ZipFile(tmp_path / "pair.zip") as pair:
        mask = np.asarray(Image.open(pair.open("malignant/image_mask.png")))
    assert mask.shape == SIZE[::-1]
    columns = np.nonzero(mask)[1]
    # The stroke ran from the middle of the image to the right.
    assert mask[44:47, 100:104].all()
    assert columns.max() > 104

    page.get_by_role("button", name="Undo all").click()
    expect(page.locator("#findings")).not_to_contain_text("corrected by hand")
    expect(page.locator("#threshold input[type=range]")).to_be_enabled()


def test_clicks_on_the_result_change_its_outline(page: Page, image: Path) -> None:
    _analyse(page, image)
    _set_threshold(page, 0.95)
    verdict, overlay = page.locator("#verdict"), page.locator("#overlay img")
    expect(verdict).to_contain_text("no lesion outlined")
    _tab(page, text.CORRECT)
    undo = page.get_by_role("button", name=text.CORRECT_UNDO, exact=True)
    overlay.click()
    expect(verdict).to_contain_text("1 lesion")
    undo.click()
    expect(verdict).to_contain_text("no lesion outlined")

    page.get_by_label(text.CLICK_BOX, exact=True).check()

    left, right = (
        {
            "x": overlay.bounding_box()["width"] * share,
            "y": overlay.bounding_box()["height"] * (0.42 + share / 6),
        }
        for share in (0.3, 0.6)
    )
    overlay.click(position=left)
    expect(page.locator("#correct-hint")).to_contain_text(text.CORRECT_CORNER)
    overlay.click(position=right)
    expect(verdict).to_contain_text("1 lesion outlined by hand")
    page.get_by_role("button", name=text.CORRECT_DROP).click()
    expect(verdict).to_contain_text("no lesion outlined")

    page.get_by_label(text.LESION_HERE, exact=True).check()
    page.locator("#overlay button:has(.image-frame)").focus()
    for key in ("ArrowLeft", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    expect(verdict).to_contain_text("1 lesion")
    expect(page.locator("#findings")).to_contain_text(text.CORRECTED)


def test_a_refused_image_can_be_analysed_anyway(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "blank.png"
    Image.new("L", (120, 90), 60).save(path)
    page.set_input_files(UPLOAD, path)
    expect(page.locator("#verdict")).to_contain_text("Not analysed")
    expect(page.locator("#verdict tr")).to_have_count(0)

    page.get_by_role("button", name="Analyse anyway").click()
    expect(page.locator("#verdict")).to_contain_text("Analysed anyway")
    expect(page.locator("#verdict tr")).to_have_count(3)
    expect(page.get_by_role("button", name="Analyse anyway")).to_be_hidden()


def test_an_image_with_a_name_is_blackened_and_cropped(page: Page, tmp_path: Path) -> None:
    scan = make_phantom("malignant", seed=0, size=(120, 200)).image
    named = Image.new("L", (240, 180))
    named.paste(Image.fromarray(scan), (20, 50))
    ImageDraw.Draw(named).text((10, 10), "DOE, JANE", fill=220)
    named.save(tmp_path / "named.png")
    page.set_input_files(UPLOAD, tmp_path / "named.png")
    expect(page.locator("#findings")).to_contain_text("Text at the top left")

    page.get_by_role("button", name="Blacken the text").click()
    expect(page.locator("#verdict")).to_contain_text("named (blackened)")
    expect(page.get_by_role("button", name="Blacken the text")).to_be_hidden()
    assert not _pixels(page, "#original")[:40].any()

    page.get_by_label("Last image, named", exact=True).click()
    expect(page.locator("#verdict")).not_to_contain_text("blackened")
    page.get_by_role("button", name="Crop").click()
    frame = page.locator("#crop-frame")
    expect(page.get_by_text(text.CROP_HINT)).to_be_visible()
    page.get_by_role("button", name=text.CANCEL).click()
    expect(frame).to_be_hidden()
    page.get_by_role("button", name="Crop").click()
    panel = page.locator("#original img").bounding_box()
    scale = min(panel["width"] / 240, panel["height"] / 180)
    left, top = (
        panel[corner] + (panel[side] - scale * pixels) / 2
        for corner, side, pixels in (("x", "width", 240), ("y", "height", 180))
    )
    proposed = frame.bounding_box()
    assert abs(proposed["x"] - left - 20 * scale) < 6 * scale
    assert abs(proposed["height"] - 120 * scale) < 12 * scale
    page.mouse.move(left + 60 * scale, top + 60 * scale)
    page.mouse.down()
    page.mouse.move(left + 180 * scale, top + 150 * scale, steps=3)
    page.mouse.up()
    page.get_by_role("button", name="Analyse this part").click()
    expect(page.locator("#verdict")).to_contain_text("named (cropped)")
    expect(frame).to_be_hidden()
    width, height = _natural_size(page, "#original")
    assert abs(width - 120) <= 2 and abs(height - 90) <= 2


def test_an_image_from_the_clipboard_and_from_the_camera(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write", "camera"])
    page.get_by_text("Or paste it, or use the camera").click()
    page.evaluate(_COPY)
    page.get_by_label("Paste from clipboard").click()
    expect(page.locator("#findings")).to_contain_text("Weights")
    assert _natural_size(page, "#original") == [160, 120]

    page.locator("#capture").get_by_label("Remove Image").click()
    expect(page.locator("#verdict")).to_contain_text(text.INVITATION)
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#capture video')?.readyState >= 2")
    video = page.locator("#capture video")
    assert video.evaluate("video => getComputedStyle(video).transform") == "none", "no mirror image"
    page.get_by_label("capture photo").click()
    expect(page.locator("#findings")).to_contain_text("Weights")
    assert _natural_size(page, "#original") != [160, 120]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_barrier(page: Page, image: Path, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.reload()
    _analyse(page, image)
    _set_threshold(page, 0.3)
    found = []
    tabs = (text.MEASUREMENTS, text.REFERENCE, text.CORRECT, text.DOWNLOAD, text.ALL_VALUES)
    for tab in (*tabs, text.MANY_IMAGES, text.ABOUT):
        _tab(page, tab)
        _settle(page)
        found += [(tab, each) for each in _barriers(page)]
    assert found == []


def _settle(page: Page) -> None:
    """Waits until what a tab loads is there: Gradio pales it until then, which is too little contrast."""
    page.wait_for_timeout(500)
    page.wait_for_function("() => document.querySelector('.pending') === null")


def _barriers(page: Page) -> list[str]:
    results = Axe().run(page)
    return [
        f"{violation['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for violation in results.response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
