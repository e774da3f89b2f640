from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from busi_unet.app.page import LAUNCH_OPTIONS, build_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A camera that shows a test image.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


# One module at a time: while Playwright runs, no other test could start an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        except Error as error:
            if path is not None:
                raise
            pytest.skip(f"no Chromium; python tasks.py setup installs one ({error.message.splitlines()[0]})")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(one_tiny_model: Path) -> Iterator[str]:
    """The app, served with a small untrained network."""
    demo = build_page(str(one_tiny_model))
    _, url, _ = demo.launch(**LAUNCH_OPTIONS, prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()


@pytest.fixture
def blank_page(browser: Browser) -> Iterator[Page]:
    """A page of desktop width before it is opened, in a context of its own."""
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    # A busy machine may take long; an idle one never waits for this.
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    yield page
    page.close()


@pytest.fixture
def page(blank_page: Page, address: str) -> Page:
    """The app, opened."""
    blank_page.goto(address)
    return blank_page
