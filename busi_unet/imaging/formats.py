"""The formats that the result for an image can be written in: a new one is an entry of `FORMATS`."""

from __future__ import annotations

import gzip
import importlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import MissingDependencyError, UsageError
from busi_unet.imaging.regions import fill_holes, label_regions, mask_image, trace_contours
from busi_unet.io.decode import DecodedImage
from busi_unet.io.files import image_bytes
from busi_unet.io.tables import table_lines

_LESION_COLUMNS = (
    *("image", "frame", "lesion", "area_px", "area_mm2", "longest_diameter_px", "longest_diameter_mm"),
    *("perpendicular_px", "perpendicular_mm", "width_px", "height_px", "width_mm", "height_mm"),
    *("depth_to_width", "taller_than_wide", "skin_distance_px", "skin_distance_mm"),
    *("left", "top", "right", "bottom"),
)


@dataclass(frozen=True)
class Result:
    """A prediction and what its files have to say of its image.

    Attributes:
        name: of the files, without ending.
        shown: how the files name the image.
        prediction: a `Prediction` with a class: a refused image is not written.
        image: as it was read.
        source: the file it was read from, or its content, where it is still there.
        model: the weights, for people to read.
        corrected: the mask was corrected by hand.
    """

    name: str
    shown: str
    prediction: Any
    image: DecodedImage
    source: Path | bytes | None = None
    model: str = ""
    corrected: bool = False


@dataclass(frozen=True)
class Format:
    """How results are written.

    Attributes:
        title: on the page.
        endings: of the files of an image, after its name; where there is `join`, of the one file.
        write: returns contents by ending; some may be left out. Where there is `join`, what it needs, which
            JSON can hold.
        join: yields the parts of one file for all images, from what may be looped over more than once.
        needs: a module that has to be installed, and the extra it is in.
    """

    title: str
    endings: tuple[str, ...]
    write: Callable[[Result], Any]
    join: Callable[[Iterable[Any]], Iterator[bytes]] | None = None
    needs: tuple[str, str] | None = None

    @property
    def joined_name(self) -> str:
        """Name of the one file for all images."""
        return self.endings[0].lstrip("_")


def _png(result: Result) -> dict[str, bytes]:
    return {"_mask.png": image_bytes(mask_image(result.prediction.mask), "PNG")}


def _coco(result: Result) -> dict[str, Any]:
    """Return an image and its annotations, without their numbers."""
    prediction = result.prediction
    height, width = prediction.mask.shape
    image = {"file_name": result.shown, "width": width, "height": height, "label": prediction.label}
    if result.image.frames > 1:
        image["frame"] = result.image.index + 1
    annotations, lesion_class = [], _lesion_class(prediction)
    regions, _ = label_regions(prediction.mask)
    for number, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
        region = regions[rows, columns] == number
        if (fill_holes(region) != region).any():
            # Polygons cannot have holes.
            segmentation = _runs(regions == number)
        else:
            (corners,) = trace_contours(region, tolerance=0)
            segmentation = [np.add(corners, (columns.start, rows.start)).ravel().tolist()]
        annotations.append(
            {
                "category_id": CLASS_NAMES.index(lesion_class) + 1,
                "segmentation": segmentation,
                "area": int(region.sum()),
                "bbox": [columns.start, rows.start, *region.shape[::-1]],
                "iscrowd": 0,
                "score": round(float(prediction.probabilities[lesion_class]), 4),
            }
        )
    return {"image": image, "annotations": annotations}


def _join_coco(entries: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    images = ({"id": number, **entry["image"]} for number, entry in enumerate(entries, start=1))
    annotations = (
        {"image_id": number, **annotation}
        for number, entry in enumerate(entries, start=1)
        for annotation in entry["annotations"]
    )
    numbered = ({"id": number, **each} for number, each in enumerate(annotations, start=1))
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASS_NAMES, start=1)]
    for before, values in (('{"images": [', images), ('], "annotations": [', numbered)):
        yield before.encode()
        for number, value in enumerate(values):
            yield b", " * bool(number) + json.dumps(value, ensure_ascii=False).encode()
    yield f'], "categories": {json.dumps(categories)}}}\n'.encode()


def _yolo(result: Result) -> dict[str, bytes]:
    """Return a line per outer outline: the number of the class in `CLASS_NAMES`, and corners from 0 to 1."""
    prediction = result.prediction
    height, width = prediction.mask.shape
    number = CLASS_NAMES.index(_lesion_class(prediction))
    shares = (polygon / (width, height) for polygon in trace_contours(prediction.mask, tolerance=0))
    corners = (" ".join(f"{share:.6g}" for share in each.flat) for each in shares)
    return {".txt": "".join(f"{number} {each}\n" for each in corners).encode()}


def _nifti(result: Result) -> dict[str, bytes]:
    """Return the mask as uint8 (columns, rows, 1) from left to right, top to bottom, as ITK reads a PNG."""
    import nibabel

    lesions = result.prediction.measurements
    spacing_mm = lesions[0].spacing_mm if lesions else result.image.spacing_mm
    down, across = spacing_mm or (1.0, 1.0)
    values = result.prediction.mask.T[:, :, None].astype(np.uint8)
    image = nibabel.Nifti1Image(values, np.diag([-across, -down, 1.0, 1.0]))
    image.header.set_xyzt_units("mm" if spacing_mm else "unknown")
    return {"_mask.nii.gz": gzip.compress(image.to_bytes(), mtime=0)}


def _dicom(result: Result) -> dict[str, bytes]:
    from busi_unet.imaging.dicom_results import dicom_results

    return {f"_{name}": content for name, content in dicom_results(result).items()}


def _measurements(result: Result) -> list[dict[str, Any]]:
    """Return a row per lesion."""
    rows = []
    for number, lesion in enumerate(result.prediction.measurements, start=1):
        box = dict(zip(("left", "top", "right", "bottom"), lesion.box, strict=True))
        row = {**lesion.to_dict(), **box, "image": result.shown, "lesion": number}
        row["frame"] = result.image.index + 1 if result.image.frames > 1 else None
        rows.append(row)
    return rows


def _join_measurements(entries: Iterable[list[dict[str, Any]]]) -> Iterator[bytes]:
    return table_lines((row for rows in entries for row in rows), _LESION_COLUMNS)


FORMATS = {
    "png": Format("PNG mask", ("_mask.png",), _png),
    "csv": Format("CSV of measurements", ("_measurements.csv",), _measurements, _join_measurements),
    "coco": Format("COCO", ("_coco.json",), _coco, _join_coco),
    "yolo": Format("YOLO-seg", (".txt",), _yolo),
    "nifti": Format("NIfTI", ("_mask.nii.gz",), _nifti, needs=("nibabel", "nifti")),
    "dicom": Format("DICOM (SEG and SR)", ("_seg.dcm", "_sr.dcm"), _dicom, needs=("highdicom", "dicom")),
}


def check_formats(names: Iterable[str]) -> None:
    """Check that formats can be written before there is anything to write.

    Raises:
        UsageError: there is no such format.
        MissingDependencyError: it needs a package that is not installed.
    """
    for name in names:
        if name not in FORMATS:
            raise UsageError(f"There is no format {name!r}.", f"Choose from {', '.join(FORMATS)}.")
        module, extra = FORMATS[name].needs or (None, None)
        try:
            if module:
                importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"The format {name} needs {error.name}.", f'Run: pip install "busi-unet[{extra}]"'
            ) from error


def files_of(result: Result, name: str) -> dict[str, bytes]:
    """Return the contents of the files of one image in a format of `FORMATS`, by their names.

    Raises:
        UsageError: there is no such format, or the image cannot be written in it.
    """
    check_formats([name])
    each = FORMATS[name]
    written = each.write(result)
    made = {each.endings[0]: b"".join(each.join([written]))} if each.join else written
    return {f"{result.name}{ending}": content for ending, content in made.items()}


def _runs(mask: np.ndarray) -> dict[str, Any]:
    """Return COCO's uncompressed run lengths: of background, lesion, background, … down the columns."""
    values = np.concatenate([[False], mask.T.ravel()])
    ends = np.flatnonzero(np.diff(values)).tolist()
    return {"counts": np.diff([0, *ends, mask.size]).tolist(), "size": list(mask.shape)}


def _lesion_class(prediction: Any) -> str:
    """Return the class of what is outlined, which is benign or malignant in an image called normal, too."""
    return max(("benign", "malignant"), key=prediction.probabilities.__getitem__)
