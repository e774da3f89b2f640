from importlib.resources import files

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from busi_unet.imaging import quality
from busi_unet.imaging.quality import (
    blacken,
    has_annotations,
    image_warnings,
    panel_boxes,
    text_boxes,
    text_remark,
)
from busi_unet.io.decode import DecodedImage, decode_image
from busi_unet.io.tables import read_table


def speckle(shape=(300, 400), low=20, high=220) -> np.ndarray:
    """Noise as wide as a beam: 9 columns, 3 rows."""
    coarse = np.random.default_rng(0).uniform(low, high, (shape[0] // 3, shape[1] // 9)).astype(np.float32)
    smooth = Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC)
    return np.clip(np.asarray(smooth), 0, 255).astype(np.uint8)


def flat(grey=60) -> np.ndarray:
    return np.full((300, 400), grey, np.uint8)


def drawn(pixels: np.ndarray, draw) -> np.ndarray:
    image = Image.fromarray(pixels)
    draw(ImageDraw.Draw(image))
    return np.asarray(image)


def caliper(draw):
    draw.line((200, 150, 200, 160), fill=255)
    draw.line((195, 155, 205, 155), fill=255)


def text(draw):
    draw.text((250, 200), "RT 12", fill=255, font=ImageFont.load_default(14))


def logo(draw):
    draw.text((5, 2), "MAKER", fill=255)


def interface(draw):
    draw.rectangle((50, 150, 350, 152), fill=255)


class TestAnnotations:
    @pytest.mark.parametrize("draw", [caliper, text])
    def test_text_and_calipers_are_found(self, draw):
        pixels = drawn(flat(90), draw)
        assert has_annotations(pixels)
        assert has_annotations(np.where(pixels == 90, speckle(high=150), pixels))

    @pytest.mark.parametrize("draw", [logo, interface])
    def test_the_makers_logo_and_a_bright_interface_are_let_pass(self, draw):
        assert not has_annotations(drawn(flat(), draw))


@pytest.mark.slow
@pytest.mark.busi
def test_annotations_are_found_where_the_published_list_has_them(busi_root):
    table = read_table(files("busi_unet.data").joinpath("busi_subgroups.csv"), ["image", "burnt_in"])
    listed = {row["image"] for row in table if row["burnt_in"]}
    found = {True: [], False: []}
    for path in sorted(busi_root.glob("*/*).png"))[::4]:
        found[path.stem in listed].append(has_annotations(decode_image(path)))
    assert np.mean(found[True]) >= 0.97
    assert np.mean(found[False]) <= 0.04


class TestText:
    @pytest.mark.parametrize(
        ("size", "ink", "paper"), [(12, 255, 0), (14, 110, 12), (14, 20, 190), (60, 255, 0)]
    )
    def test_a_name_in_a_margin_is_found_whole(self, size, ink, paper):
        pixels = np.vstack([np.full((100, 400), paper, np.uint8), speckle(high=150)])
        font = ImageFont.load_default(size)
        named = drawn(pixels, lambda d: d.text((20, 10), "Doe, Jane", fill=ink, font=font))
        boxes = text_boxes(named)
        assert text_remark(boxes, named.shape).startswith("Text at the top")
        assert (blacken(named, boxes) == blacken(pixels, boxes)).all()

    def test_in_a_large_image_too(self, monkeypatch):
        monkeypatch.setattr(quality, "_LOOKED_OVER", 200)
        pixels = np.vstack([np.zeros((100, 799), np.uint8), np.repeat(speckle((300, 799), high=150), 2, 0)])
        font = ImageFont.load_default(40)
        named = drawn(pixels, lambda d: d.text((20, 10), "Doe, Jane", fill=255, font=font))
        boxes = text_boxes(named)
        assert boxes and (blacken(named, boxes) == blacken(pixels, boxes)).all()

    def test_each_line_has_its_box(self):
        pixels = drawn(flat(0), lambda d: [d.text((20, y), "ID 0042", fill=255) for y in (20, 250)])
        assert [top < 100 for _, top, _, _ in text_boxes(pixels)] == [True, False]

    @pytest.mark.parametrize("draw", [caliper, interface])
    def test_calipers_and_interfaces_are_no_text(self, draw):
        assert text_boxes(drawn(speckle(high=150), draw)) == ()


def test_blackening_leaves_the_rest_and_the_original():
    pixels = flat()
    black = blacken(pixels, [(-5, 10, 20, 30), (390, 290, 500, 500)])
    assert (black == 0).sum() == 20 * 20 + 10 * 10
    assert (pixels == 60).all()


class TestWarnings:
    def test_a_clean_image_has_none(self):
        assert image_warnings(DecodedImage(speckle())) == ()

    @pytest.mark.parametrize(
        ("image", "words"),
        [
            (DecodedImage(speckle((120, 180))), "180 × 120"),
            (DecodedImage(speckle(low=20, high=23)), "nearly blank"),
            (DecodedImage(speckle(low=20, high=45)), "low contrast"),
            (DecodedImage(speckle(), doppler=True), "Doppler"),
        ],
    )
    def test_small_flat_or_coloured(self, image, words):
        (warning,) = image_warnings(image)
        assert words in warning

    @pytest.mark.parametrize(("gap", "grey"), [(2, 0), (20, 0), (6, 30), (4, 255)])
    def test_two_images_side_by_side(self, gap, grey):
        pair = np.hstack([speckle(), np.full((300, gap), grey, np.uint8), speckle()[:, 30:]])
        assert panel_boxes(pair) == ((0, 0, 400, 300), (400 + gap, 0, 770 + gap, 300))
        assert any("side by side" in warning for warning in image_warnings(DecodedImage(pair)))

    @pytest.mark.parametrize("black", [slice(0, 150), slice(350, 400), slice(100, 300), slice(0, 400)])
    def test_a_margin_or_a_shadow_divides_nothing(self, black):
        pixels = speckle()
        pixels[80 if black.start == 100 else 0 :, black] = 0
        assert panel_boxes(pixels) == ()
