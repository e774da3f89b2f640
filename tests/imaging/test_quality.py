import csv
from itertools import islice

import numpy as np
import pytest
from imaging.test_burnt_in import speckle

from busi_unet.imaging.burnt_in import has_annotations
from busi_unet.imaging.quality import image_warnings, panel_boxes
from busi_unet.io.decode import DecodedImage, read_image


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

    def test_doppler(self):
        (warning,) = image_warnings(DecodedImage(speckle(), doppler=True))
        assert "Doppler" in warning

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


@pytest.mark.slow
@pytest.mark.busi
def test_against_the_published_list(busi_root):
    """Annotations are found on BUSI as docs/results.md states; no other warning is common there."""
    listed = busi_root.parent / "groups.csv"
    if not listed.is_file():
        pytest.skip(f"no list of burnt-in annotations at {listed}")
    found, others = {True: [], False: []}, 0
    with listed.open(encoding="utf-8", newline="") as file:
        for row in islice(csv.DictReader(file), None, None, 4):
            image = read_image(busi_root / row["label"] / f"{row['image']}.png")
            found[bool(row["burnt_in"])].append(has_annotations(image.pixels))
            others += any("small" in w or "contrast" in w or "blank" in w for w in image_warnings(image))
    assert sum(found[True]) >= 0.97 * len(found[True])
    assert sum(found[False]) <= 0.04 * len(found[False])
    assert others <= 0.01 * 195
