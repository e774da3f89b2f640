"""The page without a server, in a real browser, against Python."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from busi_unet import Predictor
from busi_unet.app.strips import examples
from busi_unet.config import CLASS_NAMES
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import BusiUNetError
from busi_unet.inference.predictor import EMBEDDED
from busi_unet.publish.web import build_web_page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ANALYSE = """async (images) => {
    const { src } = document.querySelector("script");
    const { network } = await import(src);
    const { analyse } = await import(src.replace("page.js", "predictor.js"));
    const found = [];
    for (const image of images) {
        const bytes = Uint8Array.from(atob(image), (each) => each.charCodeAt(0));
        const { probabilities, mask } = await analyse(await network, new Blob([bytes]), { anyway: true });
        found.push({ probabilities, mask: mask.join("") });
    }
    return found;
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the embedded model."""
    path = tmp_path_factory.mktemp("web") / "page"
    try:
        build_web_page(EMBEDDED, path)
    except BusiUNetError as error:
        pytest.skip(str(error))
    return path


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ThreadingHTTPServer]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def address(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/"


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def test_the_page_answers_as_python_does(blank_page: Page, address: str) -> None:
    files = [example.path.read_bytes() for example in examples()]
    # Wide, high, and so small that it is enlarged.
    for label, size in zip((*CLASS_NAMES, *CLASS_NAMES), ((96, 420), (300, 200), (90, 120)) * 2, strict=True):
        files.append(png(make_phantom(label, seed=len(files), size=size).image))
    files.append(png(np.stack([make_phantom("benign", seed=9, size=(200, 260)).image] * 3, axis=2)))
    blank_page.goto(address)
    found = blank_page.evaluate(ANALYSE, [base64.b64encode(file).decode() for file in files])
    predictor = Predictor.from_pretrained()
    for file, answer in zip(files, found, strict=True):
        expected = predictor.predict(file, anyway=True)
        shares = answer["probabilities"]
        assert max(shares, key=shares.get) == expected.label
        mask = (np.frombuffer(answer["mask"].encode(), np.uint8) == ord("1")).reshape(expected.mask.shape)
        assert mask.any() == expected.mask.any()
        assert 2 * (mask & expected.mask).sum() >= 0.98 * (mask.sum() + expected.mask.sum())


def test_images_are_answered_or_refused_also_without_a_network(blank_page: Page, address: str) -> None:
    blank_page.goto(address)
    blank_page.evaluate("navigator.serviceWorker.ready")
    blank_page.context.set_offline(True)
    blank_page.reload()
    noise = png(np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8))
    choose = blank_page.get_by_label("Choose an image")
    choose.set_input_files({"name": "noise.png", "mimeType": "image/png", "buffer": noise})
    expect(blank_page.get_by_text("Not analysed")).to_be_visible()
    blank_page.get_by_role("button", name="Analyse anyway").click()
    expect(blank_page.get_by_role("row", name="malignant")).to_contain_text("%")

    malignant = examples()[CLASS_NAMES.index("malignant")].path
    choose.set_input_files(malignant)
    expect(blank_page.get_by_role("img", name=malignant.name)).to_be_visible()
    expect(blank_page.get_by_text("Malignant (")).to_be_visible()


@pytest.mark.parametrize("missing", ["WebAssembly", "DecompressionStream"])
def test_a_browser_without_what_is_needed_is_told_so(blank_page: Page, address: str, missing: str) -> None:
    blank_page.add_init_script(f"delete globalThis.{missing}")
    blank_page.goto(address)
    expect(blank_page.get_by_role("status")).to_contain_text(missing)
