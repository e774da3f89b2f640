"""A result as DICOM that references its image: Segmentation (SEG) and structured report (SR, TID 1500)."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import highdicom as hd
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.tag import Tag
from pydicom.uid import UID, UltrasoundImageStorage

from busi_unet.errors import UsageError
from busi_unet.imaging.regions import label_regions
from busi_unet.io.dicom import read_header
from busi_unet.version import __version__

if TYPE_CHECKING:
    from busi_unet.imaging.formats import Result
    from busi_unet.imaging.measure import Lesion

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
# May be empty in any object, but not missing.
_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
# What an image of one frame without a place in space does not have.
_SPATIAL = (
    *("NumberOfFrames", "FrameOfReferenceUID", "PositionReferenceIndicator", "PixelSpacing"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
_NAME = "busi_unet"
_CLASSIFICATION = Code("278201002", "SCT", "Classification")
_CLASSES = {"normal": codes.SCT.Normal, "benign": codes.SCT.Benign, "malignant": codes.SCT.Malignant}
_PIXELS = Code("{pixels}", "UCUM", "pixels")
_LENGTHS = {"longest_diameter": codes.SCT.LongAxis, "perpendicular": codes.SCT.ShortAxis}
_INSTEAD = "Choose PNG or COCO."


def dicom_results(result: Result) -> dict[str, bytes]:
    """Return a SEG, a segment per lesion, and an SR, by "seg.dcm" and "sr.dcm"; without a lesion the SR only.

    Both belong to the patient and study of the source, whose header they copy, and reference its frame.

    Raises:
        UsageError: the result is not of a DICOM file, or of an image that was refused; or the file lacks a
            UID, or has a header that cannot be copied.
    """
    if result.prediction.refused:
        raise UsageError(f"No DICOM of {result.shown}: it is out of distribution or blank.", _INSTEAD)
    source = result.source
    if isinstance(source, Path) and not source.is_file():
        raise UsageError(f"No DICOM of {result.shown}: the file is not kept any more.", "Choose it again.")
    header = read_header(source) if source else None
    if header is None:
        raise UsageError(f"No DICOM of {result.shown}: the image is not a DICOM file.", _INSTEAD)
    for keyword in _UIDS:
        if not UID(str(header.get(keyword) or "")).is_valid:
            tag = Tag(keyword)
            raise UsageError(f"No DICOM of {result.shown}: it has no {keyword} {tag}.", _INSTEAD)
    for keyword in _EMPTY:
        if keyword not in header:
            setattr(header, keyword, None)
    made = {}
    try:
        segmentation = _segmentation(result, header) if result.prediction.measurements else None
        if segmentation is not None:
            made["seg.dcm"] = _encoded(segmentation)
        made["sr.dcm"] = _encoded(_report(result, header, segmentation))
    except Exception:
        # Not chained: the text of these errors can quote the header.
        raise UsageError(f"No DICOM of {result.shown}: its header cannot be copied.", _INSTEAD) from None
    return made


def _segmentation(result: Result, header: Dataset) -> hd.seg.Segmentation:
    """Return the SEG of one frame, without a place in space: pixel for pixel as the source."""
    source = copy.deepcopy(header)
    for keyword in _SPATIAL:
        source.pop(keyword, None)
    # highdicom takes a frame of a clip only where the clip has a frame of reference; none of ultrasound has.
    source.SOPClassUID = UltrasoundImageStorage
    lesions = result.prediction.measurements
    regions, _ = label_regions(result.prediction.mask)
    numbered = np.zeros(regions.shape, np.uint8)
    for number, lesion in enumerate(lesions, start=1):
        x, y = map(int, lesion.deepest)
        numbered[regions == regions[y, x]] = number
    segmentation = hd.seg.Segmentation(
        source_images=[source],
        pixel_array=numbered,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(result, number) for number in range(1, len(lesions) + 1)],
        series_number=901,
        content_label="LESIONS",
        content_description=f"Lesions of {_frame_name(result)}",
        **_common(),
    )
    # Not known, and has to be said.
    segmentation.PatientOrientation = None
    _point_to_frame(segmentation, header, result)
    return segmentation


def _segment(result: Result, number: int) -> hd.seg.SegmentDescription:
    kind = hd.seg.SegmentAlgorithmTypeValues
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=f"Lesion {number}",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=kind.SEMIAUTOMATIC if result.corrected else kind.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            _NAME, codes.DCM.ArtificialIntelligence, __version__, parameters={"weights": _weights(result)}
        ),
        tracking_id=f"Lesion {number}",
        tracking_uid=hd.UID(),
        anatomic_regions=[codes.SCT.Breast],
    )


def _point_to_frame(segmentation: Dataset, header: Dataset, result: Result) -> None:
    """Let all references of a SEG name the source's own class and, of a clip, the frame."""

    def visit(_: Dataset, element: Any) -> None:
        if element.keyword not in ("SourceImageSequence", "ReferencedInstanceSequence"):
            return
        for item in element.value:
            item.ReferencedSOPClassUID = header.SOPClassUID
            if result.image.frames > 1 and element.keyword == "SourceImageSequence":
                item.ReferencedFrameNumber = result.image.index + 1

    segmentation.walk(visit)


def _report(result: Result, header: Dataset, segmentation: Dataset | None) -> hd.sr.ComprehensiveSR:
    groups = [_image_group(result, header)]
    # Without a segmentation there are none.
    for number, lesion in enumerate(result.prediction.measurements, start=1):
        groups.append(_lesion_group(result, header, segmentation, number, lesion))
    observer = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=hd.UID(), name=_NAME, manufacturer_name=_NAME, model_name=_NAME, serial_number=__version__
    )
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(
            observer_device_context=hd.sr.ObserverContext(codes.DCM.Device, observer)
        ),
        procedure_reported=codes.SCT.UltrasonographyOfBreast,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    return hd.sr.ComprehensiveSR(
        evidence=[header] if segmentation is None else [header, segmentation],
        content=report,
        series_number=902,
        is_complete=True,
        **_common(),
    )


def _image_group(result: Result, header: Dataset) -> Any:
    """Return the measurement group of the whole image: its class, as named codes, and two probabilities."""
    shares = result.prediction.probabilities
    label = result.prediction.label
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), f"Class of {_frame_name(result)}"),
        source_images=[hd.sr.SourceImageForMeasurementGroup(*_source(result, header))],
        finding_sites=[hd.sr.FindingSite(codes.SCT.Breast)],
        algorithm_id=_algorithm(result),
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(_CLASSIFICATION, _CLASSES[label])],
        measurements=[
            hd.sr.Measurement(name, round(100 * share, 2), codes.UCUM.Percent)
            for name, share in (
                (codes.DCM.CertaintyOfFinding, shares[label]),
                (codes.DCM.ProbabilityOfCancer, shares["malignant"]),
            )
        ],
    )


def _lesion_group(
    result: Result, header: Dataset, segmentation: Dataset, number: int, lesion: Lesion
) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return the measurement group of a lesion, which is a segment of the SEG."""
    in_mm = lesion.unit == "mm"
    length, area = (codes.UCUM.Millimeter, codes.UCUM.SquareMillimeter) if in_mm else (_PIXELS, _PIXELS)
    sizes = [(codes.SCT.Area, getattr(lesion, f"area_{lesion.unit}{'2' if in_mm else ''}"), area)]
    sizes += [(code, getattr(lesion, f"{name}_{lesion.unit}"), length) for name, code in _LENGTHS.items()]
    segment = segmentation.SegmentSequence[number - 1]
    reference = hd.sr.ReferencedSegmentationFrame(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        frame_number=number,
        segment_number=number,
        source_image=hd.sr.SourceImageForSegmentation(*_source(result, header)),
    )
    # The standard wants one of frame and segment; each segment has one frame.
    del reference[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(segment.TrackingUID, segment.TrackingID),
        referenced_segment=reference,
        finding_type=codes.SCT.Lesion,
        finding_sites=[hd.sr.FindingSite(codes.SCT.Breast)],
        algorithm_id=_algorithm(result),
        measurements=[hd.sr.Measurement(name, float(value), unit) for name, value, unit in sizes],
    )


def _algorithm(result: Result) -> hd.sr.AlgorithmIdentification:
    return hd.sr.AlgorithmIdentification(_NAME, __version__, parameters=[f"weights: {_weights(result)}"])


def _weights(result: Result) -> str:
    # A path may have letters that the header's character set lacks.
    return result.model.encode("ascii", "replace").decode()


def _source(result: Result, header: Dataset) -> tuple[str, str, list[int] | None]:
    frames = [result.image.index + 1] if result.image.frames > 1 else None
    return header.SOPClassUID, header.SOPInstanceUID, frames


def _frame_name(result: Result) -> str:
    image = result.image
    return f"frame {image.index + 1} of {image.frames}" if image.frames > 1 else "the image"


def _common() -> dict[str, Any]:
    return {
        "series_instance_uid": hd.UID(),
        "sop_instance_uid": hd.UID(),
        "instance_number": 1,
        "content_qualification": hd.ContentQualificationValues.RESEARCH,
        "manufacturer": _NAME,
        "manufacturer_model_name": _NAME,
        "software_versions": __version__,
        "device_serial_number": "1",
        "series_description": "busi_unet, research use only",
    }


def _encoded(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
