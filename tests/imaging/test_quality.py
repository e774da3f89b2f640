import csv

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from busi_unet.data.phantom import make_phantom
from busi_unet.imaging.quality import has_annotations, image_warnings
from busi_unet.io.decode import DecodedImage, read_image


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
        (warning,) = image_warnings(DecodedImage(np.where(pixels == 90, speckle(high=150), pixels)))
        assert "burnt into" in warning

    def test_in_a_large_image_too(self):
        pixels = drawn(speckle((1200, 1600), 20, 120), lambda d: d.rectangle((800, 600, 805, 640), fill=255))
        assert has_annotations(pixels)

    @pytest.mark.parametrize("draw", [logo, interface])
    def test_the_makers_logo_and_a_bright_interface_are_let_pass(self, draw):
        assert not has_annotations(drawn(flat(), draw))

    @pytest.mark.parametrize("label", ["normal", "benign", "malignant"])
    def test_synthetic_images_have_none(self, label):
        assert not has_annotations(make_phantom(label, seed=1, size=(200, 260)).image)

    @pytest.mark.parametrize("shape", [(16, 16), (16, 900), (900, 16), (16, 9000)])
    def test_any_shape(self, shape):
        assert not has_annotations(np.zeros(shape, np.uint8))


class TestWarnings:
    def test_a_clean_image_has_none(self):
        assert image_warnings(DecodedImage(speckle())) == ()

    @pytest.mark.parametrize(
        ("pixels", "words"),
        [
            (speckle((120, 180)), "180 × 120"),
            (speckle(low=20, high=23), "nearly blank"),
            (speckle(low=20, high=45), "low contrast"),
        ],
    )
    def test_small_and_flat(self, pixels, words):
        (warning,) = image_warnings(DecodedImage(pixels))
        assert words in warning

    def test_colour(self):
        image = np.repeat(speckle()[:, :, None], 3, axis=2)
        assert image_warnings(read_image(image)) == ()
        image[100:105, 100:110] = (200, 40, 10)
        assert any("colour" in warning for warning in image_warnings(read_image(image)))


@pytest.mark.slow
@pytest.mark.busi
def test_against_the_published_list(busi_root):
    """Annotations are found on BUSI as `has_annotations` states; no other warning is common there."""
    listed = busi_root.parent / "groups.csv"
    if not listed.is_file():
        pytest.skip(f"no list of burnt-in annotations at {listed}")
    found, others = {True: [], False: []}, 0
    with listed.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            image = read_image(busi_root / row["label"] / f"{row['image']}.png")
            found[bool(row["burnt_in"])].append(has_annotations(image.pixels))
            others += any("small" in w or "contrast" in w or "blank" in w for w in image_warnings(image))
    assert sum(found[True]) >= 0.97 * len(found[True])
    assert sum(found[False]) <= 0.04 * len(found[False])
    assert others <= 0.01 * 780
