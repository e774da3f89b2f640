import shutil
from pathlib import Path

import pytest
from fakes.pages import Page

from busi_unet.data.prepare import prepare
from busi_unet.data.prepared import load_prepared, read_record
from busi_unet.data.report import write_data_report


@pytest.fixture(scope="module")
def prepared(phantom_root, tmp_path_factory) -> Path:
    """Phantoms of which one is filed under two classes, one of them under a name that is not good HTML."""
    base = shutil.copytree(phantom_root, tmp_path_factory.mktemp("source") / "phantoms")
    for suffix in ("", "_mask"):
        original = base / "benign" / f"benign (1){suffix}.png"
        shutil.copy(original, base / "malignant" / f"<b>copy&{suffix}.png")
    output = tmp_path_factory.mktemp("prepared") / "busi"
    prepare(base, output)
    return output


@pytest.fixture(scope="module")
def text(prepared) -> str:
    report = prepared / "report.html"
    write_data_report(load_prepared(prepared), report, read_record(prepared))
    return report.read_text(encoding="utf-8")


def test_the_page_shows_the_data_loads_nothing_and_escapes_names(text):
    page = Page(text)
    assert all(link[1:] in page.ids for link in page.links if link.startswith("#"))
    assert "160 × 128" in page.words
    shown = {image.get("alt") for image in page.images}
    assert {"<b>copy&", "benign (1)"} < shown and "<b>copy" not in text
