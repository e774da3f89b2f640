"""DICOM files made for tests."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage, generate_uid

PATIENT = "Doe^Jane"
GREY = np.linspace(0, 255, 24 * 40).astype(np.uint8).reshape(24, 40)
RGB = np.zeros((24, 40, 3), dtype=np.uint8)
RGB[:, :20], RGB[:, 20:] = (200, 60, 20), (20, 80, 240)
LUMA = np.asarray(Image.fromarray(RGB).convert("L"))


def region(box, delta=(0.01, 0.01), units=(3, 3)) -> Dataset:
    """An ultrasound region of (left, top, right, bottom), `delta` and `units` along (x, y)."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = box[:2]
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box[2:]
    item.PhysicalUnitsXDirection, item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = map(float, delta)
    return item


def dataset(pixels: np.ndarray | None, photometric: str = "MONOCHROME2", *, frames: int = 1, **elements):
    """A data set of an ultrasound image: (H, W), (F, H, W), (H, W, 3) or (F, H, W, 3)."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = UltrasoundImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SOPClassUID, made.SOPInstanceUID = UltrasoundImageStorage, generate_uid()
    made.PatientName, made.PatientID, made.Modality = PATIENT, "4711", "US"
    if pixels is not None:
        colour = pixels.shape[-1] == 3
        made.Rows, made.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
        made.SamplesPerPixel = 3 if colour else 1
        if colour:
            made.PlanarConfiguration = 0
        made.PhotometricInterpretation = photometric
        made.BitsAllocated = made.BitsStored = pixels.dtype.itemsize * 8
        made.HighBit = made.BitsStored - 1
        made.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
        if frames > 1:
            made.NumberOfFrames = frames
        made.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(made, name, Sequence(value) if name == "SequenceOfUltrasoundRegions" else value)
    return made


def encoded(made: Dataset) -> bytes:
    """The bytes of its file."""
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def dicom(*args, **kwargs) -> bytes:
    """The bytes of a file of `dataset`."""
    return encoded(dataset(*args, **kwargs))
