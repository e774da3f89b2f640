"""Whatever two events set the image in quick succession, what is shown belongs to the second."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.dicom_files import dicom
from PIL import Image
from playwright.sync_api import Browser, TimeoutError, expect

from busi_unet.app.strips import examples
from busi_unet.app.text import BATCH_START, INVITATION, MANY_IMAGES, ONE_IMAGE
from busi_unet.config import CLASS_NAMES
from busi_unet.data.phantom import make_phantom
from busi_unet.inference.predictor import Predictor
from busi_unet.io.decode import read_image

pytestmark = [pytest.mark.browser, pytest.mark.slow]

APART, SLOW = 0.3, 0.5
CLIP = np.stack([make_phantom("benign", seed=seed, size=(90, 160)).image for seed in range(3)])
IMAGES = {
    f"{name}.png": make_phantom("malignant", seed=9, size=(80, 110 + n)).image for n, name in enumerate("ab")
}
PASTED = make_phantom("normal", seed=4, size=(84, 120)).image
ANYTIME = ("upload", "paste", "photo", "example", "recent")
FIRST = (*ANYTIME, "frame", "clear")
# There is no × where the box is empty, and no frame to choose where no clip is.
SECOND = {
    **dict.fromkeys(FIRST, ANYTIME),
    **dict.fromkeys(("upload", "paste", "photo"), (*ANYTIME, "clear")),
    "frame": (*ANYTIME, "clear", "frame"),
}
PAIRS = [(first, second) for first in FIRST for second in SECOND[first]]
# What is dropped goes the way of an upload, and what a row opens that of one of the last images.
PAIRS += [("upload", "drop"), ("drop", "row"), ("row", "drop"), ("row", "upload"), ("frame", "row")]
_COPY = """async (bytes) => {
    const blob = new Blob([new Uint8Array(bytes)], { type: "image/png" });
    await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
}"""
_DROP = """([name, bytes]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([new Uint8Array(bytes)], name));
    const drop = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
    document.querySelector("#overlay").dispatchEvent(drop);
}"""
_FIRST_RECENT = "document.querySelector('#recent button')?.dataset.key"
_SHOWN = """() => {
    const seen = (name) => {
        const element = document.querySelector(name);
        return element && getComputedStyle(element).visibility === "visible" ? element : null;
    };
    return {
        box: seen("#image .file-preview")?.textContent.replace(/\\s+/g, "") ?? "",
        capture: !!document.querySelector("#capture .image-frame img"),
        verdict: seen("#verdict")?.textContent ?? "",
        original: seen("#original img")?.src ?? null,
        overlay: seen("#overlay img")?.src ?? null,
    };
}"""


def _label(pixels: np.ndarray) -> int:
    """The class that the slowed network gives an image, another for each here."""
    return int(pixels.astype(int).sum()) % len(CLASS_NAMES)


class Visitor:
    """A page and what its visitor does; each event returns a check of what must be shown in the end."""

    def __init__(self, browser: Browser, url: str, folder: Path) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 1000})
        self.context.grant_permissions(["clipboard-read", "clipboard-write", "camera"])
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        self.folder = folder
        self.uploads = self.examples = 0
        self.batch, self.clip = False, ""
        self.page.goto(url)
        expect(self.page.locator("#examples img")).to_have_count(3)
        self.page.get_by_text("Or paste it, or use the camera").click()

    def prepare(self, *events: str) -> None:
        """What the events need is there: a clip, the camera, a batch."""
        self.make_room()
        if "photo" in events:
            self.camera()
        if "row" in events and not self.batch:
            self.batch = True
            self.page.get_by_role("tab", name=MANY_IMAGES).click()
            self.page.set_input_files(
                "#batch-images input[type=file]", [self.folder / name for name in IMAGES]
            )
            self.page.get_by_role("button", name=BATCH_START).click()
            expect(self.page.get_by_text("Done.")).to_be_visible()
            self.page.get_by_role("tab", name=ONE_IMAGE).click()
        if {"frame", "clear", "recent"} & {*events}:
            before = self.page.evaluate(_FIRST_RECENT)
            self.page.set_input_files("#image input[type=file]", self.folder / "clip.dcm")
            expect(self.page.locator("#clip-frame")).to_be_visible()
            self.page.wait_for_function(f"key => {_FIRST_RECENT} !== key", arg=before)
            self.clip = self.page.evaluate(_FIRST_RECENT)

    def make_room(self) -> None:
        for name, label in (("#image", "Clear"), ("#capture", "Remove Image")):
            button = self.page.locator(name).get_by_label(label)
            if button.count():
                button.click()

    def camera(self) -> None:
        shutter = self.page.get_by_label("capture photo")
        off = self.page.get_by_text("Click to Access Webcam")
        while not shutter.count():
            source = off if off.count() else self.page.get_by_label("Capture from camera")
            if source.count():
                # It may go while it is clicked.
                with contextlib.suppress(TimeoutError):
                    source.click(timeout=2000)
            time.sleep(0.1)
        self.page.wait_for_function("document.querySelector('#capture video')?.readyState >= 2")

    def upload(self) -> dict[str, Any]:
        self.make_room()
        name = list(IMAGES)[self.uploads % 2]
        self.uploads += 1
        self.page.set_input_files("#image input[type=file]", self.folder / name)
        return {"box": name, "pixels": IMAGES[name]}

    def drop(self) -> dict[str, Any]:
        name = list(IMAGES)[self.uploads % 2]
        self.uploads += 1
        self.page.evaluate(_DROP, [name, list((self.folder / name).read_bytes())])
        return {"box": name, "pixels": IMAGES[name]}

    def recent(self) -> dict[str, Any]:
        # At once: what is to be clicked moves while another image comes in.
        self.page.evaluate("key => document.querySelector(`#recent [data-key='${key}']`).click()", self.clip)
        return {"pixels": CLIP[0]}

    def row(self) -> dict[str, Any]:
        self.page.get_by_role("tab", name=MANY_IMAGES).click()
        self.page.locator("#batch-table").get_by_text("b.png").click()
        return {"pixels": IMAGES["b.png"]}

    def paste(self) -> dict[str, Any]:
        if self.page.locator("#capture .image-frame img").count():
            self.make_room()
        # By keyboard: where the camera was on before, its surface lies over the button.
        self.page.get_by_label("Paste from clipboard").press("Enter")
        return {"capture": True, "pixels": PASTED}

    def photo(self) -> dict[str, Any]:
        if self.page.locator("#capture .image-frame img").count():
            self.make_room()
        self.camera()
        self.page.get_by_label("capture photo").click()
        return {"capture": True}

    def example(self) -> dict[str, Any]:
        number = self.examples % 3
        self.examples += 1
        self.page.locator("#examples button").nth(number).click()
        return {"pixels": read_image(examples()[number].path).pixels}

    def frame(self) -> dict[str, Any]:
        number = self.page.locator("#clip-frame input[type=number]")
        frame = 2 if number.input_value() == "1" else 3
        number.fill(str(frame))
        return {"box": "clip.dcm", "pixels": CLIP[frame - 1]}

    def clear(self) -> dict[str, Any]:
        # It may still be on its way.
        self.page.locator("#image [aria-label='Clear'], #capture [aria-label='Remove Image']").first.click()
        return {"verdict": INVITATION}

    def differs(self, expected: dict[str, Any]) -> str:
        """What is shown that is not of the event; empty if all is."""
        shown = self.page.evaluate(_SHOWN)
        if expected.get("box", "") not in shown["box"] or bool(shown["box"]) != ("box" in expected):
            return f"the box says {shown['box']!r}"
        if shown["capture"] != expected.get("capture", False):
            return "another place to choose an image is full"
        if expected.get("verdict", "") not in shown["verdict"]:
            return f"the verdict is {shown['verdict']!r}"
        if expected.get("verdict") == INVITATION:
            return "there is an image" if shown["original"] or shown["overlay"] else ""
        if not shown["original"] or not shown["overlay"]:
            return "there is no image"
        original, overlay = (self.pixels(shown[name]) for name in ("original", "overlay"))
        if "pixels" in expected and not np.array_equal(original, expected["pixels"]):
            return "it is another image"
        if not np.array_equal(original, overlay):
            return "the overlay is of another image"
        label = CLASS_NAMES[_label(original)]
        named = f"{label.capitalize()} (" in shown["verdict"]
        return "" if named else f"not {label}: {shown['verdict']!r}"

    def pixels(self, address: str) -> np.ndarray:
        """The image of a panel, grey."""
        return np.asarray(Image.open(io.BytesIO(self.page.request.get(address).body())).convert("L"))


@pytest.fixture
def visitors(
    browser: Browser, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[float], list[Visitor]]]:
    """Two visitors of one server; call it with the seconds that a run of the network takes from then on."""
    (tmp_path / "clip.dcm").write_bytes(dicom(CLIP, frames=len(CLIP)))
    for name, pixels in IMAGES.items():
        Image.fromarray(pixels).save(tmp_path / name)
    run, delay = Predictor.run, [0.0]

    def slowed(self: Predictor, frames: Any) -> Any:
        time.sleep(delay[0])
        (raw,) = run(self, frames)
        logits = np.eye(len(CLASS_NAMES), dtype=np.float32)[_label(frames[0])] * 9
        # Without an outline, the overlay is the image.
        return [replace(raw, probability=raw.probability * 0, class_logits=logits)]

    monkeypatch.setattr(Predictor, "run", slowed)
    two = [Visitor(browser, address, tmp_path) for _ in range(2)]
    stream = io.BytesIO()
    Image.fromarray(PASTED).save(stream, "PNG")
    two[0].page.evaluate(_COPY, list(stream.getvalue()))

    def call(seconds: float) -> list[Visitor]:
        delay[0] = seconds
        return two

    yield call
    for visitor in two:
        visitor.context.close()


def _until_shown(visitors: list[Visitor], expected: list[dict[str, Any]], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    for visitor, last in zip(visitors, expected, strict=True):
        while (wrong := visitor.differs(last)) and time.monotonic() < end:
            time.sleep(0.1)
        assert not wrong


def test_of_two_events_the_second_is_shown(
    visitors: Callable[[float], list[Visitor]], subtests: pytest.Subtests
) -> None:
    two = visitors(0)
    half = (len(PAIRS) + 1) // 2
    rounds = list(zip(PAIRS[:half], PAIRS[len(PAIRS) // 2 :], strict=True))
    for pairs in rounds:
        with subtests.test(pairs=pairs):
            visitors(0)
            for visitor, pair in zip(two, pairs, strict=True):
                visitor.prepare(*pair)
            visitors(SLOW)
            for visitor, (first, _) in zip(two, pairs, strict=True):
                getattr(visitor, first)()
            time.sleep(APART)
            expected = [getattr(visitor, second)() for visitor, (_, second) in zip(two, pairs, strict=True)]
            _until_shown(two, expected)
            # Nothing that comes late replaces it.
            time.sleep(SLOW)
            _until_shown(two, expected, seconds=0)
