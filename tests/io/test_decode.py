import io
import re
import struct
import zlib

import numpy as np
import pytest
from fakes.dicom_files import dicom
from fakes.image_files import encoded
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from busi_unet.errors import UnreadableImageError, UsageError
from busi_unet.io import decode
from busi_unet.io.decode import decode_image, read_image
from busi_unet.io.masks import decode_mask


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
    for source in (twelve, encoded(Image.fromarray(4095 - twelve), "TIFF", tiffinfo={262: 0})):
        found = read_image(source)
        np.testing.assert_array_equal(found.pixels, grey)
        assert "12 bits" in found.remarks[0]


def test_palette_alpha_and_floats(grey):
    palette = Image.fromarray(grey).convert("RGB").quantize(256)
    assert np.abs(decode_image(palette).astype(int) - grey).max() <= 1
    alpha = np.zeros((40, 60), np.uint8)
    alpha[:, :30] = 255
    rgba = np.dstack([grey, grey, grey, alpha])
    found = read_image(encoded(Image.fromarray(rgba), "PNG"))
    np.testing.assert_array_equal(found.pixels[:, :30], grey[:, :30])
    assert not found.pixels[:, 30:].any() and "transparent" in found.remarks[0].lower()
    np.testing.assert_array_equal(decode_image(grey / 255.0), grey)


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_exif_rotation_is_applied(grey, kind, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned"
    path.write_bytes(encoded(Image.fromarray(grey), kind, exif=exif))
    # Pillow reads a file by its name in a way of its own.
    for source in (path, path.read_bytes()):
        np.testing.assert_array_equal(decode_image(source), np.rot90(grey, k=-1))


def test_colours_that_are_not_converted_are_refused(grey):
    lab = Image.merge("LAB", [Image.fromarray(grey)] * 3)
    with pytest.raises(UnreadableImageError, match="as LAB"):
        read_image(encoded(lab, "TIFF"))


def test_a_tiff_that_lacks_rows_or_does_not_say_which_end_is_black(grey):
    whole = encoded(Image.fromarray(grey), "TIFF")
    at = whole.index(struct.pack("<H", 278))
    with pytest.raises(UnreadableImageError, match="cut short"):
        read_image(whole[: at + 8] + struct.pack("<I", 16) + whole[at + 12 :])
    at = whole.index(struct.pack("<H", 262))
    found = read_image(whole[:at] + struct.pack("<H", 263) + whole[at + 2 :])
    assert "black or white" in found.remarks[0]


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


@pytest.mark.parametrize("limit", ["busi_unet.io.loaded.MAX_PIXELS", "PIL.Image.MAX_IMAGE_PIXELS"])
def test_far_too_large_images_are_refused_before_they_are_decoded(limit, monkeypatch):
    bomb = encoded(Image.new("1", (400, 300)), "PNG")
    monkeypatch.setattr(limit, 50_000)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded before the size was checked"))
    with pytest.raises(UnreadableImageError, match="far too large"):
        decode_image(bomb)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def png16(samples: np.ndarray, colour_type: int) -> bytes:
    """A PNG of 16 bits with (H, W, channels), which Pillow does not write."""
    height, width, _ = samples.shape
    rows = np.ascontiguousarray(samples, ">u2").view(np.uint8).reshape(height, -1)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, colour_type, 0, 0, 0])
    lines = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    chunks = ((b"IHDR", header), (b"IDAT", lines), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(("channels", "colour_type"), [(2, 4), (3, 2), (4, 6)], ids=["LA", "RGB", "RGBA"])
def test_png_colours_of_16_bits_that_hold_fewer(grey, bits, channels, colour_type):
    grey[0, 0] = 255
    wide = np.round(grey / 255.0 * (2**bits - 1)).astype(np.uint16)
    samples = np.repeat(wide[..., None], channels, axis=2)
    if channels % 2 == 0:
        samples[..., -1] = 65535
    np.testing.assert_allclose(decode_image(png16(samples, colour_type)).astype(int), grey, atol=1)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("read", [decode_image, decode_mask], ids=["image", "mask"])
def test_white_is_zero_in_tiff_of_any_depth(grey, dtype, read):
    if read is decode_mask:
        grey = np.zeros((40, 60), np.uint8)
        grey[10:20, 10:20] = 255
    stored = 1 - grey / 255.0 if dtype == "float32" else (255 - grey.astype(np.uint16)) * 257
    content = encoded(Image.fromarray(stored.astype(dtype)), "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(read(content), grey if read is decode_image else grey > 0)


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG"])
def test_frames_are_counted_and_chosen(kind):
    pages = [Image.fromarray(np.full((20, 30), level, np.uint8)) for level in (0, 128, 255)]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(pages[0], kind, save_all=True, append_images=pages[1:], **options)
    for index, level in enumerate((0, 128, 255)):
        found = read_image(content, index=index)
        assert (found.frames, found.index, found.remarks) == (3, index, (f"This is frame {index + 1} of 3.",))
        assert (found.pixels == level).all()
    with pytest.raises(UsageError, match="no frame"):
        read_image(content, index=3)


def test_a_frame_that_is_far_too_large_is_not_made_on_the_way_to_the_next(grey):
    pages = [Image.fromarray(np.roll(grey, shift)) for shift in range(3)]
    content = bytearray(encoded(pages[0], "GIF", save_all=True, append_images=pages[1:], duration=40))
    *_, second, _ = re.finditer(rb"\x21\xf9\x04.{4}\0,", content, re.DOTALL)
    content[second.end() : second.end() + 8] = b"\xff" * 8
    first, *others = decode.read_frames(bytes(content))
    np.testing.assert_array_equal(first.pixels, grey)
    assert [type(each) for each in others] == [UnreadableImageError] * 2
    assert "far too large (131070×131070 pixels)" in str(others[1])


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"FrameTime": "33.3", "CineRate": "10"}, 33),
        ({"FrameTime": "0", "CineRate": "20"}, 50),
        ({"RecommendedDisplayFrameRate": "25"}, 40),
        ({"FrameTime": "90000"}, None),
        ({"FrameTime": ["33", "34"]}, None),
        ({}, None),
    ],
)
def test_how_fast_frames_follow_is_read_from_dicom(grey, told, expected):
    content = dicom(np.stack([grey, grey]), frames=2, **told)
    assert decode.milliseconds_per_frame(content) == expected


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize(("told", "expected"), [([500, 40, 40], 40), (0, None)])
def test_how_fast_frames_follow_is_read_from_animations(grey, kind, told, expected):
    more = [Image.fromarray(np.roll(grey, shift)) for shift in (3, 6)]
    content = encoded(Image.fromarray(grey), kind, save_all=True, append_images=more, duration=told)
    assert decode.milliseconds_per_frame(content) == expected
    assert decode.milliseconds_per_frame(encoded(more[0], kind)) is None


def test_of_tiff_pages_of_different_sizes_the_largest_is_taken(grey):
    thumbnail, label = Image.new("L", (16, 16)), Image.new("L", (60, 20))
    content = encoded(thumbnail, "TIFF", save_all=True, append_images=[Image.fromarray(grey), label])
    found = read_image(content)
    np.testing.assert_array_equal(found.pixels, grey)
    assert (found.frames, found.remarks) == (1, ("This is page 2 of 3, the largest.",))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La"])
def test_alpha_that_is_0_everywhere_is_not_used(grey, mode):
    if mode == "La":
        image = Image.merge("LA", [Image.fromarray(grey), Image.new("L", (60, 40), 255)]).convert("La")
        np.testing.assert_array_equal(decode_image(image), grey)
        return
    layers = [Image.fromarray(grey)] * (len(mode) - 1) + [Image.new("L", (60, 40))]
    found = read_image(encoded(Image.merge(mode, layers), "PNG"))
    np.testing.assert_array_equal(found.pixels, grey)
    assert len(found.remarks) == 1


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("damage", ["text of a wrong checksum", "text far too large", "exif"])
def test_good_pixels_with_damaged_metadata_are_read(grey, damage, place):
    whole = encoded(Image.fromarray(grey), "PNG")
    text = png_chunk(b"tEXt", b"Comment\0fine")
    chunk = {
        "text of a wrong checksum": text[:-1] + bytes([text[-1] ^ 1]),
        "text far too large": png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),
        "exif": png_chunk(b"eXIf", b"not exif at all"),
    }[damage]
    split = 33 if place == "before" else len(whole) - 12
    np.testing.assert_array_equal(decode_image(whole[:split] + chunk + whole[split:]), grey)


def test_damaged_pixels_are_refused_whatever_the_metadata(grey):
    info = PngInfo()
    info.add_text("Comment", "fine")
    whole = bytearray(encoded(Image.fromarray(grey), "PNG", pnginfo=info))
    whole[whole.index(b"IDAT") + 40] ^= 1
    with pytest.raises(UnreadableImageError):
        read_image(bytes(whole))


TINTS = {"grey": (1, 1, 1), "sepia": (1, 0.7, 0.35), "blue": (0.3, 0.6, 1)}


@pytest.mark.parametrize("tint", TINTS.values(), ids=TINTS)
@pytest.mark.parametrize("flow", [(220, 40, 20), (20, 60, 240)], ids=["towards", "away"])
def test_doppler_is_told_from_a_tint_and_from_marks(tint, flow):
    grey = np.random.default_rng(0).integers(0, 256, (80, 100, 1))
    image = (grey * tint).astype(np.uint8)
    assert not read_image(image).doppler
    image[10, 10:90] = image[40:60, 20] = flow
    image[70:76, 70:90] = (240, 230, 40)
    assert not read_image(image).doppler
    image[30:40, 50:60] = flow
    assert read_image(image).doppler
