"""Opened again with highdicom, and checked by dciodvfy of dicom3tools where it is installed."""

import shutil
import subprocess
from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from fakes.dicom_files import PATIENT, dicom
from imaging.test_formats import LESIONS, SHAPE, result
from pydicom.uid import UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from busi_unet.errors import UsageError
from busi_unet.imaging.formats import Result, files_of
from busi_unet.io.decode import read_image

ELEMENTS = {
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.4",
    "SOPInstanceUID": "1.2.3.4.5",
    "StudyDate": "20250102",
    "AccessionNumber": "A1",
}


@pytest.fixture
def source(tmp_path):
    """Write a DICOM image or clip and return its result with these lesions."""

    def make(*boxes, frames=1, index=0, spacing_mm=None, **elements) -> Result:
        pixels = np.random.default_rng(0).integers(0, 255, (frames, *SHAPE), dtype=np.uint8)
        kind = UltrasoundMultiFrameImageStorage if frames > 1 else UltrasoundImageStorage
        path = tmp_path / "a.dcm"
        content = dicom(
            pixels if frames > 1 else pixels[0],
            frames=frames,
            **{**ELEMENTS, "SOPClassUID": kind, **elements},
        )
        path.write_bytes(content)
        return result(*boxes, image=read_image(path, index=index), source=path, spacing_mm=spacing_mm)

    return make


def opened(each: Result, tmp_path) -> tuple[hd.seg.Segmentation, hd.sr.ComprehensiveSR]:
    files = files_of(each, "dicom")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert list(files) == ["case12_seg.dcm", "case12_sr.dcm"]
    return hd.seg.segread(tmp_path / "case12_seg.dcm"), hd.sr.srread(tmp_path / "case12_sr.dcm")


def test_a_segment_per_lesion_over_the_source(source, tmp_path):
    each = source(*LESIONS)
    segmentation, _ = opened(each, tmp_path)
    pixels = segmentation.get_pixels_by_source_instance(["1.2.3.4.5"])
    for number, (left, top, right, bottom) in enumerate(LESIONS):
        expected = np.zeros(SHAPE, bool)
        expected[top:bottom, left:right] = True
        np.testing.assert_array_equal(pixels[0, :, :, number], expected)
    assert (segmentation.StudyInstanceUID, segmentation.PatientName) == ("1.2.3", PATIENT)
    assert segmentation.ContentQualification == "RESEARCH"


def test_the_report_has_the_class_in_codes_and_a_group_per_lesion(source, tmp_path):
    segmentation, report = opened(source(*LESIONS, spacing_mm=(0.1, 0.1)), tmp_path)
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    (image,) = report.content.get_image_measurement_groups()
    (evaluation,) = image.get_qualitative_evaluations()
    assert (evaluation.value.value, evaluation.value.scheme_designator) == ("30807003", "SCT")
    assert [each.value for each in image.get_measurements()] == [80.0, 10.0]
    groups = report.content.get_planar_roi_measurement_groups()
    for number, group in enumerate(groups, start=1):
        reference = group.referenced_segmentation_frame
        assert reference.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert reference.referenced_frame_numbers == [number]
        area, *lengths = group.get_measurements()
        assert (area.value, area.unit.value) == (3.2, "mm2")
        assert {each.unit.value for each in lengths} == {"mm"}
    assert len(groups) == 2


def test_without_a_lesion_there_is_a_report_only(source):
    assert list(files_of(source(), "dicom")) == ["case12_sr.dcm"]


def test_of_a_clip_the_frame_is_named(source, tmp_path):
    segmentation, report = opened(source(LESIONS[0], frames=3, index=1), tmp_path)
    assert segmentation.ContentDescription == "Lesions of frame 2 of 3"
    derivation = segmentation.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
    (item,) = derivation.SourceImageSequence
    assert item.ReferencedSOPClassUID == UltrasoundMultiFrameImageStorage
    assert (item.ReferencedSOPInstanceUID, item.ReferencedFrameNumber) == ("1.2.3.4.5", 2)
    (image,) = report.content.get_image_measurement_groups()
    assert [each.referenced_frame_numbers for each in image.source_images] == [[2]]


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_missing_uid_is_refused_with_its_tag(source, keyword):
    each = source(LESIONS[0])
    header = pydicom.dcmread(each.source)
    delattr(header, keyword)
    header.save_as(each.source)
    with pytest.raises(UsageError, match=rf"{keyword} \(\w{{4}},\w{{4}}\)"):
        files_of(each, "dicom")


def test_a_refused_image_gives_nothing_although_it_was_analysed(source):
    each = source(LESIONS[0])
    refused = replace(each, prediction=replace(each.prediction, refused=True))
    with pytest.raises(UsageError, match="Choose PNG or COCO"):
        files_of(refused, "dicom")


def test_an_error_never_quotes_the_header(source):
    with pytest.raises(UsageError, match="cannot be copied") as caught:
        files_of(source(LESIONS[0], PatientSex="Jane Doe's"), "dicom")
    assert "Jane" not in str(caught.value) and caught.value.__cause__ is None


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (Debian's dicom3tools) is not installed")
@pytest.mark.parametrize(("boxes", "frames"), [((), 1), (LESIONS, 3)])
def test_dciodvfy_reports_no_error(source, tmp_path, boxes, frames):
    each = source(*boxes, frames=frames, index=frames - 1, spacing_mm=(0.1, 0.1), PatientSex="F")
    for name, content in files_of(replace(each, corrected=True), "dicom").items():
        (tmp_path / name).write_bytes(content)
        said = subprocess.run(["dciodvfy", tmp_path / name], capture_output=True, text=True).stderr
        assert "Error" not in said, said
