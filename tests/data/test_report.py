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
    prepare(base, output, progress=False)
    return output


@pytest.fixture(scope="module")
def text(prepared) -> str:
    report = prepared / "report.html"
    write_data_report(load_prepared(prepared), report, record=read_record(prepared))
    return report.read_text(encoding="utf-8")


def test_the_page_shows_the_data_loads_nothing_and_escapes_names(text):
    page = Page(text)
    assert all(link[1:] in page.ids for link in page.links if link.startswith("#"))
    assert "160 × 128" in page.words
    shown = {image.get("alt") for image in page.images}
    assert {"<b>copy&", "benign (1)"} < shown and "<b>copy" not in text


def test_a_single_class_without_masks_or_copies_has_a_page(prepared, tmp_path):
    data = load_prepared(prepared)
    normals = {
        name: part.select([n for n, label in enumerate(part["label"]) if label == 0])
        for name, part in data.items()
    }
    write_data_report(normals, tmp_path / "report.html")
    words = Page((tmp_path / "report.html").read_text(encoding="utf-8")).words
    assert "normal" in words and "malignant" not in words


def test_images_without_mask_or_class_are_counted(tmp_path, write_image, write_mask):
    clinic = tmp_path / "clinic"
    for number in range(10):
        write_image(clinic / "images" / f"{number}.png")
        if number % 2:
            write_mask(clinic / "masks" / f"{number}.png")
    data = prepare(clinic, tmp_path / "prepared", progress=False)
    write_data_report(data, tmp_path / "report.html", record=read_record(tmp_path / "prepared"))
    words = Page((tmp_path / "report.html").read_text(encoding="utf-8")).words
    assert "unknown" in words and "clinic" in words
