"""Rows of a batch that are chosen are summarised; those of different patients are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.dicom_files import dicom
from playwright.sync_api import Page, expect

from busi_unet.app.text import BATCH_START, MANY_IMAGES
from busi_unet.data.phantom import make_phantom

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    # Gradio's queue uses a pandas option that newer pandas calls deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio.queueing"),
]


def test_two_rows_of_one_patient_are_one_summary(page: Page, tmp_path: Path) -> None:
    files = []
    for number, patient in enumerate("112", start=1):
        files.append(tmp_path / f"{number}.dcm")
        files[-1].write_bytes(
            dicom(make_phantom("benign", seed=number, size=(64, 90)).image, PatientID=patient)
        )
    page.get_by_role("tab", name=MANY_IMAGES).click()
    page.set_input_files("#batch-images input[type=file]", files)
    page.get_by_role("button", name=BATCH_START).click()
    page.get_by_role("button", name="Several images of one lesion").click()

    for name in ("1. 1.dcm", "2. 2.dcm"):
        page.locator("#views-chosen input").click()
        page.get_by_role("option", name=name).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Summarise together").click()
    expect(page.locator("#views-shown")).to_contain_text("2 images.")
    expect(page.locator("#views-files")).to_contain_text("views")

    page.locator("#views-chosen input").click()
    page.get_by_role("option", name="3. 3.dcm").click()
    expect(page.locator("#views-shown")).not_to_contain_text("2 images.")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Summarise together").click()
    expect(page.get_by_text("different patients")).to_be_visible()
