"""Draw the page for docs/images: python tests/browser/screenshots.py

The app runs on the embedded weights and shows the examples, in light, in dark and on a phone.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from conftest import ARGUMENTS, BROWSERS
from playwright.sync_api import Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from busi_unet.app import text
from busi_unet.app.page import LAUNCH_OPTIONS, build_page
from busi_unet.app.strips import examples

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


def one_image(page: Page, _folder: Path) -> None:
    page.get_by_label("Example, malignant").click()
    expect(page.locator("#findings")).to_contain_text("labelled malignant.")
    expect(page.locator("#overlay img")).to_be_visible()
    page.mouse.move(0, 0)


def many_images(page: Page, folder: Path) -> None:
    page.get_by_role("tab", name=text.MANY_IMAGES).click()
    page.set_input_files("#batch-images input[type=file]", sorted(folder.iterdir()))
    page.get_by_role("button", name=text.BATCH_START).click()
    expect(page.get_by_text("Done.")).to_be_visible()


def about_model(page: Page, _folder: Path) -> None:
    page.get_by_role("tab", name=text.ABOUT).click()
    expect(page.locator(".about-facts")).to_be_visible()


def write_images(folder: Path) -> None:
    for example in examples():
        shutil.copy(example.path, folder)
    (folder / "notes.png").write_text("not an image")


def main() -> None:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    demo = build_page()
    _, url, _ = demo.launch(**LAUNCH_OPTIONS, prevent_thread_lock=True, quiet=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_images(Path(folder))
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        expect.set_options(timeout=120_000)
        for scheme, ending in (("light", ""), ("dark", "_dark")):
            for show, name in (
                (one_image, "app"),
                (many_images, "many_images"),
                (about_model, "about_model"),
            ):
                page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
                page.set_default_timeout(120_000)
                page.goto(url)
                show(page, Path(folder))
                # Images fade in, and toasts fade out.
                page.wait_for_timeout(1500)
                page.screenshot(path=IMAGES / f"{name}{ending}.png", full_page=True)
                page.close()
        phone = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="light")
        phone.goto(url)
        one_image(phone, Path(folder))
        phone.wait_for_timeout(1500)
        phone.screenshot(path=IMAGES / "app_phone.png")
        browser.close()
    demo.close()


if __name__ == "__main__":
    main()
