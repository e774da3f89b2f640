import io

import numpy as np
import pytest
from fakes.image_files import encoded
from PIL import Image

from busi_unet.errors import UnreadableImageError
from busi_unet.io import decode
from busi_unet.io.decode import decode_image


@pytest.fixture
def grey() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_lossless_files_keep_every_grey_value(grey, kind, mode):
    np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(grey).convert(mode), kind)), grey)


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})])
def test_jpeg_and_webp_are_read(kind, options):
    smooth = np.tile(np.linspace(0, 255, 60).astype(np.uint8), (40, 1))
    decoded = decode_image(encoded(Image.fromarray(smooth).convert("RGB"), kind, **options))
    assert np.abs(decoded.astype(int) - smooth).max() <= 4


def test_all_sources_give_the_same_pixels(grey, tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(grey).save(path)
    data = path.read_bytes()
    for source in (grey, grey[:, :, None], Image.fromarray(grey), path, str(path), data, io.BytesIO(data)):
        np.testing.assert_array_equal(decode_image(source), grey)


def test_sixteen_bit_images_equal_their_eight_bit_twins(grey):
    grey[0, 0] = 255
    wide = grey.astype(np.uint16) * 257
    np.testing.assert_array_equal(decode_image(wide), grey)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode_image(encoded(Image.fromarray(wide), kind)), grey)


def test_twelve_bits_in_sixteen_are_not_nearly_black(grey):
    grey[0, 0] = 255
    twelve = np.round(grey / 255 * 4095).astype(np.uint16)
    np.testing.assert_array_equal(decode_image(twelve), grey)


def test_palette_alpha_and_floats(grey):
    palette = Image.fromarray(grey).convert("RGB").quantize(256)
    assert np.abs(decode_image(palette).astype(int) - grey).max() <= 1
    alpha = np.zeros((40, 60), np.uint8)
    alpha[:, :30] = 255
    rgba = np.dstack([grey, grey, grey, alpha])
    decoded = decode_image(encoded(Image.fromarray(rgba), "PNG"))
    np.testing.assert_array_equal(decoded[:, :30], grey[:, :30])
    assert not decoded[:, 30:].any()
    np.testing.assert_array_equal(decode_image(grey / 255.0), grey)


def test_exif_rotation_is_applied(grey):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode_image(encoded(Image.fromarray(grey), "TIFF", exif=exif))
    np.testing.assert_array_equal(turned, np.rot90(grey, k=-1))


def test_the_source_array_stays_as_it_was(grey):
    before = grey.copy()
    decode_image(grey)[:] = 0
    np.testing.assert_array_equal(grey, before)


def test_unreadable_sources_say_which_and_why(grey, tmp_path):
    whole = encoded(Image.fromarray(grey), "PNG")
    (tmp_path / "notes.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for source, said in (
        (tmp_path / "notes.png", "notes.png is not an image"),
        (tmp_path / "empty.png", "empty.png is empty"),
        (tmp_path / "cut.png", "cut.png is damaged"),
        (tmp_path / "absent.png", "absent.png does not exist"),
        (tmp_path, "is a folder"),
        (b"", "is empty"),
        (42, "is a int"),
        (grey[:8], "too small"),
        (np.zeros((40, 60, 7), np.uint8), r"shape \(40, 60, 7\)"),
        (np.full((40, 60), -1.0), "from -1"),
        (np.full((40, 60), np.nan), "nan"),
    ):
        with pytest.raises(UnreadableImageError, match=said) as caught:
            decode_image(source)
        assert caught.value.hint


def test_far_too_large_images_are_refused_before_they_are_decoded(monkeypatch):
    bomb = encoded(Image.new("1", (400, 300)), "PNG")
    monkeypatch.setattr(decode, "MAX_PIXELS", 100_000)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded before the size was checked"))
    with pytest.raises(UnreadableImageError, match=r"far too large \(400×300"):
        decode_image(bomb)


def test_an_image_beyond_pillows_own_limit_is_refused_too(monkeypatch):
    bomb = encoded(Image.new("1", (400, 300)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    with pytest.raises(UnreadableImageError, match="far too large"):
        decode_image(bomb)
