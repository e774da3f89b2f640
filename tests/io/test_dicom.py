import numpy as np
import pydicom
import pytest
from fakes import image_files
from fakes.dicom_files import GREY, LUMA, PATIENT, RGB, dataset, dicom, encoded, region
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from busi_unet.errors import UnreadableImageError, UsageError
from busi_unet.io.decode import decode_image, read_image


class TestPixels:
    def test_monochrome1_is_turned_round(self):
        np.testing.assert_array_equal(decode_image(dicom(GREY, "MONOCHROME1")), 255 - GREY)

    def test_colour_becomes_luma(self):
        np.testing.assert_array_equal(decode_image(dicom(RGB, "RGB")), LUMA)
        ybr = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
        np.testing.assert_allclose(decode_image(dicom(ybr, "YBR_FULL")).astype(int), LUMA, atol=3)

    def test_twelve_of_sixteen_bits(self):
        deep = GREY.astype(np.uint16) * 4
        made = dataset(deep, BitsStored=12, HighBit=11)
        np.testing.assert_allclose(decode_image(encoded(made)), deep / 4095 * 255, atol=0.51)

    @pytest.mark.parametrize(("centre", "width"), [("100", "51"), (["100", "9"], ["51", "9"])])
    def test_the_first_window_of_the_file_is_used(self, centre, width):
        shown = decode_image(dicom(GREY, WindowCenter=centre, WindowWidth=width))
        assert (shown[GREY < 74] == 0).all() and (shown[GREY > 126] == 255).all()
        assert shown[GREY == 100][0] == 130  # (100 − 99.5) / 50 + ½ of 255, as PS3.3 C.11.2.1.2.1 has it

    def test_signed_values(self):
        signed = (GREY.astype(np.int16) - 128).astype(np.int16)
        made = dataset(signed, WindowCenter="0", WindowWidth="256")
        np.testing.assert_allclose(decode_image(encoded(made)).astype(int), GREY, atol=1)


class TestCompression:
    @pytest.mark.parametrize("syntax", [JPEGLosslessSV1, MPEG4HP41])
    def test_what_cannot_be_decoded_is_named(self, syntax):
        made = dataset(GREY)
        made.file_meta.TransferSyntaxUID = syntax
        made.PixelData = encapsulate([b"\xff\xd8 nothing"])
        with pytest.raises(UnreadableImageError, match="compression that cannot be read") as caught:
            decode_image(encoded(made), name="scan.dcm")
        assert "Export" in caught.value.hint

    def test_a_deflated_file_is_refused_before_it_is_inflated(self):
        made = dataset(np.zeros((2000, 2000), np.uint8))
        made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        with pytest.raises(UnreadableImageError, match="Deflated"):
            decode_image(encoded(made))


class TestClips:
    clip = np.stack([np.full((20, 30), level, np.uint8) for level in (10, 20, 30)])

    @pytest.mark.parametrize("index", [0, 1, 2])
    @pytest.mark.parametrize("compressed", [False, True])
    def test_any_frame(self, index, compressed):
        made = dataset(self.clip, frames=3)
        if compressed:
            made.compress(RLELossless)
        frame = read_image(encoded(made), index=index)
        assert (frame.frames, frame.index) == (3, index)
        assert (frame.pixels == (index + 1) * 10).all()

    @pytest.mark.parametrize("index", [-1, 3])
    def test_no_such_frame(self, index):
        with pytest.raises(UsageError, match="Choose one of 1 to 3"):
            read_image(dicom(self.clip, frames=3), index=index)


class TestSpacing:
    def test_from_the_largest_ultrasound_region(self):
        regions = [region((0, 0, 9, 3), (0.5, 0.5)), region((0, 4, 39, 23), (0.02, -0.01))]
        image = read_image(dicom(GREY, SequenceOfUltrasoundRegions=regions, PixelSpacing=[9, 9]))
        assert image.spacing_mm == pytest.approx((0.1, 0.2))

    @pytest.mark.parametrize(
        "regions",
        [
            [region((0, 0, 39, 23), units=(4, 3))],
            [region((0, 0, 39, 23), delta=(0.0, 0.01))],
            [region((0, 0, 19, 23)), region((20, 0, 39, 23), (0.02, 0.02))],
            [region((0, 0, 39, 12)), region((0, 13, 39, 23), units=(4, 7))],
        ],
        ids=["seconds", "zero", "split screen", "spectrum below"],
    )
    def test_ambiguous_or_not_a_length(self, regions):
        image = read_image(dicom(GREY, SequenceOfUltrasoundRegions=regions, PixelSpacing=[1, 1]))
        assert image.spacing_mm is None

    def test_split_screen_of_one_scale(self):
        regions = [region((0, 0, 19, 23)), region((20, 0, 39, 23))]
        image = read_image(dicom(GREY, SequenceOfUltrasoundRegions=regions))
        assert image.spacing_mm == pytest.approx((0.1, 0.1))

    @pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagerPixelSpacing"])
    def test_without_regions(self, keyword):
        assert read_image(dicom(GREY, **{keyword: [0.2, 0.3]})).spacing_mm == (0.2, 0.3)

    @pytest.mark.parametrize(
        ("regions", "spacing"),
        [
            ([region((0, 0, 25, 23), (0.02, 0.02)), region((26, 0, 39, 23), (0.005, 0.005))], (0.05, 0.05)),
            ([region((0, 0, 19, 23), (0.02, 0.02)), region((20, 0, 39, 23), (0.005, 0.005))], (0.05, 0.05)),
            ([region((0, 0, 39, 23), (0.02, 0.02)), region((24, 0, 39, 9), (0.005, 0.005))], (0.05, 0.05)),
            ([region((0, 0, 31, 23)), region((32, 0, 39, 23))], (0.1, 0.1)),
            ([region((0, 0, 31, 23)), region((32, 0, 39, 23), (0.02, 0.02))], None),
            ([region((0, 0, 25, 23)), region((26, 0, 39, 23), units=(4, 7))], None),
            ([region((0, 0, 25, 23))], None),
        ],
        ids=["beside", "split", "inset", "one scale", "across scales", "no length", "outside"],
    )
    def test_of_the_region_that_holds_the_mask(self, regions, spacing):
        mask = np.zeros(GREY.shape, dtype=bool)
        mask[2:8, 28:36] = True
        image = read_image(dicom(GREY, SequenceOfUltrasoundRegions=regions))
        found, remarks = image.spacing_of(mask)
        assert found == (None if spacing is None else pytest.approx(spacing))
        assert bool(remarks) == (spacing is None)
        assert image.spacing_of(np.zeros_like(mask)) == (image.spacing_mm, ())

    @pytest.mark.parametrize(
        "elements",
        [
            {"SequenceOfUltrasoundRegions": [region((0, 0, 39, 23), (5, 5))]},
            {"SequenceOfUltrasoundRegions": [region((0, 0, 39, 23), (1e-6, 1e-6))]},
            {"PixelSpacing": [50, 50]},
        ],
    )
    def test_a_size_that_no_scanner_has_is_not_used(self, elements):
        image = read_image(dicom(GREY, **elements))
        assert image.spacing_mm is None and not image.regions
        assert len(image.remarks) == 1 and "plausible" in image.remarks[0]

    def test_the_aspect_alone(self):
        image = read_image(dicom(GREY, PixelAspectRatio=[1, 2]))
        assert (image.spacing_mm, image.aspect, len(image.remarks)) == (None, 0.5, 1)
        assert read_image(dicom(GREY, PixelAspectRatio=[1, 2], PixelSpacing=[0.2, 0.3])).aspect == 1
        assert read_image(dicom(GREY, PixelAspectRatio=[0, 2])).aspect == 1

    def test_malformed_or_unknown(self):
        half = region((0, 0, 39, 23))
        half.RegionLocationMaxX1 = None
        for elements in (
            {},
            {"SequenceOfUltrasoundRegions": [half]},
            {"PixelSpacing": 0.2},
            {"PixelSpacing": [0.0, 0.2]},
            {"PixelSpacing": None},
        ):
            image = read_image(dicom(GREY, **elements))
            np.testing.assert_array_equal(image.pixels, GREY)
            assert image.spacing_mm is None


class TestBroken:
    def test_cut_short_anywhere_and_never_naming_the_patient(self, capfd):
        data = dicom(GREY)
        for length in (*range(132, len(data) - GREY.size, 150), len(data) - 10):
            with pytest.raises(UnreadableImageError, match=r"^scan\.dcm") as caught:
                decode_image(data[:length], name="scan.dcm")
            assert caught.value.hint
            assert PATIENT not in str(caught.value)
            assert caught.value.__context__ is None or caught.value.__suppress_context__
        assert PATIENT not in "".join(capfd.readouterr())

    def test_without_an_image_without_its_pixels_and_huge_by_its_own_account(self):
        headless = dataset(GREY)
        del headless.PixelData
        for content, said in (
            (dicom(None), "without an image"),
            (encoded(headless), "damaged"),
            (dicom(GREY, Rows=60000, Columns=60000), "far too large"),
        ):
            with pytest.raises(UnreadableImageError, match=said):
                decode_image(content)

    def test_huge_inside_its_jpeg(self):
        # A JPEG header that claims 60000 × 60000 pixels, in a file that claims 24 × 40.
        lying = bytearray(image_files.encoded(Image.fromarray(GREY), "JPEG"))
        start = lying.index(b"\xff\xc0") + 5
        lying[start : start + 4] = (60000).to_bytes(2, "big") * 2
        made = dataset(GREY)
        made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        made.PixelData = encapsulate([bytes(lying)])
        with pytest.raises(UnreadableImageError):
            decode_image(encoded(made))


def test_patient_elements_are_not_parsed(monkeypatch):
    headers = []
    read = pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda *a, **k: headers.append(read(*a, **k)) or headers[-1])
    decode_image(dicom(GREY))
    (header,) = headers
    assert "Rows" in header
    assert "PatientName" not in header and "PatientID" not in header
