from importlib.resources import files

import numpy as np
import pytest
from imaging.test_burnt_in import speckle

from busi_unet.imaging.burnt_in import has_annotations
from busi_unet.imaging.quality import image_warnings, panel_boxes
from busi_unet.io.decode import DecodedImage, decode_image
from busi_unet.io.files import read_image_table


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
def test_annotations_are_found_where_the_published_list_has_them(busi_root):
    table = read_image_table(files("busi_unet.data").joinpath("busi_subgroups.csv"), ["burnt_in"])
    listed = {name for name, row in table if row["burnt_in"]}
    found = {True: [], False: []}
    for path in sorted(busi_root.glob("*/*).png"))[::4]:
        found[path.stem in listed].append(has_annotations(decode_image(path)))
    assert np.mean(found[True]) >= 0.97
    assert np.mean(found[False]) <= 0.04
