"""All frames of a clip: analysed, looked at by a click on the timeline, never shown beside another image."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from fakes.dicom_files import dicom
from PIL import Image
from playwright.sync_api import Page, expect

from busi_unet.data.phantom import make_phantom
from busi_unet.inference.predictor import Predictor

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FRAMES = np.stack([make_phantom("benign", seed=seed, size=(80, 120)).image for seed in range(6)])
UPLOAD = "#image input[type=file]"


def test_timeline_and_key_frame_belong_to_the_clip_alone(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clip.dcm").write_bytes(dicom(FRAMES, frames=len(FRAMES)))
    Image.fromarray(FRAMES[0]).save(tmp_path / "other.png")
    clip, verdict = page.locator("#clip"), page.locator("#verdict")
    page.set_input_files(UPLOAD, tmp_path / "clip.dcm")
    expect(clip).to_contain_text("Only one of 6 frames is analysed.")
    expect(verdict).to_contain_text("frame 1 of 6")

    page.get_by_role("button", name="Analyse all 6 frames").click()
    expect(clip).to_contain_text("All 6 frames done")
    page.get_by_role("button", name="Overlay clip and table").click()
    expect(page.locator("#clip-files")).to_contain_text("clip_frames")
    expect(page.locator("#clip-overlays img")).not_to_have_js_property("naturalWidth", 0)
    # The middle of the fourth of six frames.
    chart = clip.locator("svg")
    box = chart.bounding_box()
    chart.click(position={"x": box["width"] * 3.5 / 6, "y": box["height"] / 2})
    expect(verdict).to_contain_text("frame 4 of 6")
    expect(clip).to_contain_text("All 6 frames done")
    key = clip.get_by_role("button", name="Key frame")
    key.click()
    expect(verdict).to_contain_text(f"frame {key.inner_text().split()[-1]} of 6")

    predict = Predictor.predict

    def slowly(*arguments, **options):
        time.sleep(0.5)
        return predict(*arguments, **options)

    monkeypatch.setattr(Predictor, "predict", slowly)
    page.locator("#image").get_by_label("Clear").click()
    expect(clip).to_be_hidden()
    page.set_input_files(UPLOAD, tmp_path / "clip.dcm")
    page.get_by_role("button", name="Analyse all 6 frames").click()
    expect(clip).to_contain_text("of 6 frames done")
    page.locator("#image").get_by_label("Clear").click()
    page.set_input_files(UPLOAD, tmp_path / "other.png")
    expect(verdict).to_contain_text("other")
    time.sleep(1.5)
    expect(clip).to_be_hidden()
    expect(page.locator("#clip-overlays")).to_be_hidden()
