"""What a mask means is decided by one rule."""

import numpy as np
import pytest
from fakes.image_files import encoded
from PIL import Image, ImageFilter

from busi_unet.errors import UnreadableImageError
from busi_unet.io.masks import decode_mask, read_mask

LESION = np.zeros((60, 80), bool)
LESION[20:40, 30:60] = True
SECOND = np.zeros((60, 80), bool)
SECOND[5:15, 5:15] = True


def two_values(first: object, second: object, mode: str) -> Image.Image:
    image = Image.new(mode, (80, 60), 0)
    image.paste(first, mask=Image.fromarray(LESION))
    image.paste(second, mask=Image.fromarray(SECOND))
    return image


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16", "I", "F"])
def test_masks_of_every_mode_are_read_the_same(mode):
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray(
            LESION.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]) * 255
        )
    else:
        image = Image.fromarray(LESION.astype(np.uint8) * 255).convert(mode)
    mask = read_mask(encoded(image, "TIFF" if mode in ("I", "F") else "PNG"))
    np.testing.assert_array_equal(mask.pixels, LESION)
    assert mask.pixels.dtype == bool and mask.remark == ""


@pytest.mark.parametrize("value", [1, 2, 76, 127, 254, 255])
def test_any_single_value_above_the_background_is_the_lesion(value):
    mask = read_mask(LESION.astype(np.uint8) * value)
    assert np.array_equal(mask.pixels, LESION) and mask.remark == ""


@pytest.mark.parametrize(
    ("first", "second", "mode"),
    [
        (1, 2, "L"),
        (127, 255, "L"),
        ((0, 255, 0), (255, 0, 0), "RGB"),
        ((0, 0, 255, 255), (0, 10, 0, 255), "RGBA"),
    ],
)
def test_several_values_or_colours_are_several_lesions_and_remarked_upon(first, second, mode):
    mask = read_mask(encoded(two_values(first, second, mode)))
    np.testing.assert_array_equal(mask.pixels, LESION | SECOND)
    assert "several values" in mask.remark


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_darkest_colour_is_the_background(kind):
    pixels = np.full((60, 80, 3), 10, kind)
    pixels[LESION] = (0, 200, 0)
    np.testing.assert_array_equal(decode_mask(pixels), LESION)


def test_palettes_count_by_their_colours():
    image = two_values(1, 2, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    np.testing.assert_array_equal(decode_mask(encoded(image)), LESION | SECOND)


def test_a_lesion_on_transparent_ground():
    layers = np.zeros((60, 80, 4), np.uint8)
    layers[LESION] = 255
    np.testing.assert_array_equal(decode_mask(encoded(Image.fromarray(layers))), LESION)
    layers[..., :3] = LESION[..., None] * 255
    layers[..., 3] = 0
    np.testing.assert_array_equal(decode_mask(encoded(Image.fromarray(layers))), LESION)


def test_rare_forms_of_transparency():
    image = Image.fromarray(LESION.astype(np.uint8) * 255)
    np.testing.assert_array_equal(decode_mask(image.convert("LA").convert("La")), LESION)
    deep = Image.fromarray(LESION.astype(np.uint16) * 300)
    np.testing.assert_array_equal(decode_mask(encoded(deep, transparency=0)), LESION)


def test_smoothed_masks_and_jpeg_are_read_at_half():
    image = Image.fromarray(LESION.astype(np.uint8) * 255)
    smooth = read_mask(image.filter(ImageFilter.GaussianBlur(1.5)))
    jpeg = read_mask(encoded(image, "JPEG", quality=60))
    assert (smooth.pixels != LESION).mean() < 0.01
    np.testing.assert_array_equal(jpeg.pixels, LESION)
    assert "grey edges" in smooth.remark and "grey edges" in jpeg.remark
    few = LESION.astype(np.uint8) * 254
    few[0, 0], few[25, 35] = 1, 255
    np.testing.assert_array_equal(decode_mask(few), LESION)


def test_an_empty_mask_has_no_lesion():
    assert not decode_mask(np.zeros((60, 80), np.uint8)).any()
    assert not decode_mask(encoded(Image.new("RGBA", (80, 60)))).any()


@pytest.mark.parametrize(
    "pixels",
    [
        ~LESION,
        np.full((60, 80), 255, np.uint8),
        np.full((60, 80), 7, np.uint8),
        np.pad(np.zeros((58, 78), np.uint8), 1, constant_values=255),
        np.tile(np.arange(80, dtype=np.uint8) * 3, (60, 1)),
        np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8),
        np.zeros((60, 80, 2), np.uint8),
        np.full((60, 80), np.nan),
    ],
    ids=["inverted", "white", "one grey", "all borders", "ramp", "colours", "shape", "nan"],
)
def test_what_is_not_a_mask_is_refused_by_name(pixels):
    with pytest.raises(UnreadableImageError, match="scan 7") as caught:
        read_mask(pixels, name="scan 7")
    assert caught.value.hint


def test_an_image_of_few_greys_is_not_its_own_mask():
    image = LESION.astype(np.uint8) * 90
    with pytest.raises(UnreadableImageError, match="the image itself"):
        read_mask(image, image=image, name="scan 7")
    assert read_mask(image, image=image + 1).pixels.any()
    assert not read_mask(np.zeros((60, 80), np.uint8), image=np.zeros((60, 80), np.uint8)).pixels.any()
