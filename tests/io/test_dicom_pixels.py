"""Headers that contradict the pixels, and pixels that need more of the header than the usual."""

import numpy as np
import pytest
from fakes import image_files
from fakes.dicom_files import GREY, LUMA, RGB, dataset, dicom, encoded
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit

from busi_unet.io.decode import decode_image, read_image


def table(descriptor: list[int], entries: np.ndarray) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", "OW", entries.tobytes())
    return item


def jpeg(*, ids: bytes | None = None, markers: bool, **options: object) -> bytes:
    """An encoded JPEG of RGB, without its JFIF and Adobe markers or with other component ids."""
    data = image_files.encoded(Image.fromarray(RGB), "JPEG", quality=95, **options)
    if not markers:
        while data[2:4] in (b"\xff\xe0", b"\xff\xee"):
            data = data[:2] + data[4 + int.from_bytes(data[4:6], "big") :]
    if ids:
        data = bytearray(data)
        for marker, step, first in ((b"\xff\xc0", 3, 10), (b"\xff\xda", 2, 5)):
            for number, value in enumerate(ids):
                data[data.index(marker) + first + step * number] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("says", "options"),
    [
        ("RGB", {"subsampling": 1, "markers": False}),
        ("RGB", {"subsampling": 0, "markers": True}),
        ("RGB", {"keep_rgb": True, "markers": False}),
        ("RGB", {"keep_rgb": True, "markers": False, "ids": b"\1\2\3"}),
        ("YBR_FULL_422", {"keep_rgb": True, "markers": True}),
        ("YBR_FULL_422", {"subsampling": 1, "markers": True}),
    ],
    ids=["ycc, subsampled", "ycc, jfif", "rgb ids", "unmarked", "rgb, adobe", "as it says"],
)
def test_the_colours_of_a_jpeg_follow_its_components(says, options):
    made = dataset(RGB, says)
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    made.PixelData = encapsulate([jpeg(**options)])
    found = read_image(encoded(made))
    # Away from the edge between the colours.
    for part in (np.s_[:, :16], np.s_[:, -16:]):
        np.testing.assert_allclose(found.pixels[part].astype(int), LUMA[part], atol=6)
    assert bool(found.remarks) == ((says == "RGB") != ("keep_rgb" in options))


@pytest.mark.parametrize("kind", ["RGB", "YBR"])
def test_422_with_three_bytes_a_pixel_is_not_422(kind):
    shown = np.repeat(GREY[..., None], 3, axis=2)
    shown[:5, :5] = (200, 60, 20)
    stored = shown if kind == "RGB" else np.asarray(Image.fromarray(shown).convert("YCbCr"))
    found = read_image(dicom(stored, "YBR_FULL_422"))
    np.testing.assert_allclose(
        found.pixels.astype(int), np.asarray(Image.fromarray(shown).convert("L")), atol=3
    )
    assert len(found.remarks) == 1


def test_what_the_header_says_of_colours_is_not_used_where_it_cannot_be():
    found = read_image(dicom(RGB, "MONOCHROME2"))
    np.testing.assert_array_equal(found.pixels, LUMA)
    assert "does not fit its 3 samples" in found.remarks[0]
    for said, remark in (("BitsStored", "bit depth"), ("PixelRepresentation", "sign")):
        found = read_image(dicom(RGB, "RGB", **{said: 1}))
        np.testing.assert_array_equal(found.pixels, LUMA)
        assert remark in found.remarks[0]


@pytest.mark.parametrize("white", [65535, 255])
def test_a_palette_is_resolved_though_its_entries_have_8_bits_in_16_bit_words(white):
    entries = np.linspace(white, 0, 256).astype(np.uint16)
    elements = {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour in ("Red", "Green", "Blue")
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", entries.tobytes()))
    }
    found = read_image(dicom(GREY, "PALETTE COLOR", **elements))
    np.testing.assert_array_equal(found.pixels, 255 - GREY)
    assert ["palette" in remark for remark in found.remarks] == [True] * (white == 255)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_values_of_fewer_bits_than_16_are_not_nearly_black(bits):
    deep = np.round(GREY / 255.0 * (2**bits - 1)).astype(np.uint16)
    found = read_image(dicom(deep))
    np.testing.assert_allclose(found.pixels.astype(int), GREY, atol=1)
    assert f"{bits} bits" in found.remarks[0]


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": "2048", "WindowWidth": "4096"},
        {"WindowCenter": "900", "WindowWidth": "100"},
        {"WindowCenter": "-600", "WindowWidth": "400"},
        {"WindowCenter": "128", "WindowWidth": "0"},
        {"WindowCenter": "nan", "WindowWidth": "256"},
        {"RescaleSlope": "nan", "RescaleIntercept": "0", "WindowCenter": "90", "WindowWidth": "99"},
        {"WindowCenter": "128", "WindowWidth": "256", "RescaleSlope": "1", "RescaleIntercept": "-1024"},
        {"RescaleIntercept": "-1024"},
        {"VOILUTSequence": [table([256, 5000, 8], np.arange(256, dtype=np.uint8))]},
        {"VOILUTSequence": [Dataset()]},
    ],
    ids=[
        "12 bits",
        "above",
        "below",
        "no width",
        "no number",
        "no number for a slope",
        "of other units",
        "no slope",
        "table of others",
        "no table",
    ],
)
def test_windows_and_tables_that_cannot_belong_to_the_pixels_are_not_used(elements):
    found = read_image(dicom(GREY, **elements))
    np.testing.assert_array_equal(found.pixels, GREY)
    assert len(found.remarks) == 1 and "ignored" in found.remarks[0]


def test_a_window_on_rescaled_values():
    rescaled = {"RescaleSlope": "2", "RescaleIntercept": "-100"}
    shown = decode_image(dicom(GREY, **rescaled, WindowCenter="100.5", WindowWidth="101"))
    assert (shown[GREY < 75] == 0).all() and (shown[GREY > 125] == 255).all()
    assert shown[GREY == 99][0] == 122  # (98 − 100) / 100 + ½ of 255
    assert not read_image(dicom(GREY, **rescaled)).remarks
    assert "without an intercept" in read_image(dicom(GREY, RescaleSlope="2")).remarks[0]


@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize(("bits", "white"), [(8, 255), (16, 255), (16, 4095), (12, 4095)])
def test_lookup_tables_are_applied(keyword, bits, white):
    inverting = np.round(np.linspace(white, 0, 256)).astype(np.uint16)
    found = read_image(dicom(GREY, **{keyword: [table([256, 0, bits], inverting)]}))
    np.testing.assert_array_equal(found.pixels, 255 - GREY)
    assert not found.remarks


@pytest.mark.parametrize("shift", [0, 4])
def test_bits_below_high_bit_are_read_unless_the_pixels_say_otherwise(shift):
    twelve = np.round(GREY / 255.0 * 4095).astype(np.uint16)
    found = read_image(encoded(dataset(twelve << shift, BitsStored=12, HighBit=15)))
    np.testing.assert_array_equal(found.pixels, GREY)
    assert len(found.remarks) == (shift == 0)


@pytest.mark.parametrize("bits", [{"BitsStored": 1, "HighBit": 11}, {"BitsStored": 17, "HighBit": 0}])
def test_bits_that_do_not_fit_the_pixels_are_told_and_not_used(bits):
    pixels = np.round(GREY / 255.0 * 4095).astype(np.uint16) if bits["HighBit"] else GREY
    found = read_image(encoded(dataset(pixels, **bits)))
    np.testing.assert_array_equal(found.pixels, GREY)
    assert len(found.remarks) == 1


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("start", ["data set", "meta information"])
def test_without_preamble_and_meta_information(implicit, start, tmp_path):
    made = dataset(GREY)
    if implicit:
        made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    whole = encoded(made)
    path = tmp_path / "scan"
    path.write_bytes(whole[132:] if start == "meta information" else whole[whole.index(b"\x08\0\x16\0") :])
    np.testing.assert_array_equal(decode_image(path), GREY)


def test_what_pydicom_warns_of_is_remarked_on_unless_it_is_harmless():
    explicit, made = encoded(dataset(GREY)), dataset(GREY)
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    implicit, start = encoded(made), b"\x08\0\x16\0"
    for meta, elements in ((explicit, implicit), (implicit, explicit)):
        found = read_image(meta[: meta.index(start)] + elements[elements.index(start) :])
        np.testing.assert_array_equal(found.pixels, GREY)
        assert "departs from the DICOM standard" in found.remarks[0]
    assert not read_image(dicom(GREY, PixelSpacing=["0.10000000000000000001"] * 2)).remarks
