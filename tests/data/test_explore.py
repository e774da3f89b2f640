import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("datasets")
pytest.importorskip("matplotlib")

from busi_unet.data.explore import write_report
from busi_unet.data.prepare import prepare
from busi_unet.data.prepared import load_prepared, read_record
from busi_unet.errors import BusiUNetError

VOID = {"meta", "img", "source", "br"}


class Page(HTMLParser):
    """Reads a page, checks that its tags close, and keeps what a reader would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str]] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("img", "source"):
            self.images.append(attributes)
        self.links += [attributes[name] for name in ("href", "src", "srcset") if name in attributes]
        self.ids.add(attributes.get("id"))
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words += data


@pytest.fixture(scope="module")
def prepared(phantom_root, tmp_path_factory) -> Path:
    """Phantoms of which one is filed under two classes, one of them under a name that is no good HTML."""
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
    write_report(load_prepared(prepared), report, record=read_record(prepared))
    return report.read_text(encoding="utf-8")


def test_page_is_well_formed_and_needs_nothing_from_outside(text):
    page = Page(text)
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert all(link[1:] in page.ids for link in page.links if link.startswith("#"))
    assert "url(" not in text
    assert "@import" not in text
    assert "http" not in re.sub(r"base64,[^\"]*", "", text)


def test_every_image_has_a_description(text):
    assert all(image.get("alt") for image in Page(text).images if "src" in image)


def test_page_warns_that_it_shows_the_data(text):
    assert "Not for publication" in Page(text).words


def test_figures_are_those_of_the_data(text):
    words = " ".join(Page(text).words.split())
    assert "Images are 160 to 160 pixels wide and 128 to 128 high" in words
    assert "25" in words
    assert "1 groups (2 images)" in words


def test_every_section_has_its_plots(text):
    page = Page(text)
    sections = {"counts", "samples", "sizes", "lesions", "copies", "conflicts"}
    assert sections <= page.ids
    assert sum("srcset" in image for image in page.images) == 6, "a dark twin for each plot"


def test_names_are_escaped(text):
    assert "<b>copy" not in text
    assert "&lt;b&gt;copy&amp;" in text


def test_same_data_same_page(prepared, text, tmp_path):
    write_report(load_prepared(prepared), tmp_path / "again.html", record=read_record(prepared))
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text


def test_a_path_that_cannot_be_written(prepared, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BusiUNetError, match="could not be written"):
        write_report(load_prepared(prepared), tmp_path / "file" / "report.html")


def test_images_without_mask_or_class_are_counted(tmp_path, write_image, write_mask):
    clinic = tmp_path / "clinic"
    for number in range(10):
        write_image(clinic / "images" / f"{number}.png")
        if number % 2:
            write_mask(clinic / "masks" / f"{number}.png")
    data = prepare(clinic, tmp_path / "prepared", progress=False)
    write_report(data, tmp_path / "report.html", record=read_record(tmp_path / "prepared"))
    words = Page((tmp_path / "report.html").read_text(encoding="utf-8")).words
    assert "unknown" in words and "clinic" in words
