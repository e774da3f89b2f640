"""A source, fetched and read: images and masks decoded, checked and encoded, every problem listed by file."""

from __future__ import annotations

import contextlib
import re
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import N_FOLDS, pixel_hash
from busi_unet.data.prepared import (
    COLUMNS,
    IMAGE_BY_IMAGE,
    UNKNOWN,
    column_problems,
    fold_problems,
    load_prepared,
    read_record,
)
from busi_unet.data.readers import Case, Scan, children, folders, layouts, named, recognise
from busi_unet.data.readers.own import OwnData, scan_own
from busi_unet.errors import (
    DataLayoutError,
    HubAccessError,
    UnreadableImageError,
    UsageError,
    first_line,
)
from busi_unet.imaging.regions import mask_image
from busi_unet.io import files
from busi_unet.io.decode import EXTENSIONS, read_image
from busi_unet.io.masks import MAX_VALUES, check_mask, read_mask

if TYPE_CHECKING:
    from datasets import Dataset

KAGGLE_HANDLE = "aryashah2k/breast-ultrasound-images-dataset"
MAX_UNPACKED_BYTES = 8 * 1024**3
MAX_UNPACKED_FILES = 200_000
FIX_HINT = "Fix or remove the files listed above and run again. Nothing was written."
# What a data set on the Hub can consist of; nothing else of it is downloaded.
_ON_THE_HUB = [f"*{suffix}" for suffix in sorted(EXTENSIONS | {".zip", ".parquet", ".arrow", ".json", ".md"})]
_COLUMNS_HINT = (
    f"A data set in columns needs {', '.join(COLUMNS)}, as busi-unet prepare writes them; "
    "otherwise name a folder of images and masks."
)
_OWN_HINT = (
    "For images in any other layout, use --images FOLDER with --masks FOLDER and --table FILE.csv "
    "(columns image, mask, label, patient; any but the first may be missing)."
)


@dataclass
class Row:
    """A case read, checked and encoded."""

    source: str | None  # None until it is known
    image_id: str
    label: str | None  # None where the class is not known
    image_png: bytes
    mask_png: bytes | None  # None where the lesions are not outlined
    pixel_sha256: str  # see `pixel_hash`
    group: str | None  # patient or set of copies; None until it is known
    fold: int | None  # None until it is known


@dataclass
class Source:
    """What a source holds; problems and warnings, one line each."""

    given: str  # how the user called it
    name: str  # what its rows say in the column `source`
    layout: str
    folds_from: str = ""  # where groups and folds come from; empty until they are known
    prepared: bool = False  # an earlier run wrote it, so that groups and folds are its own
    named_by_folder: bool = False  # another source may have the same name
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    hint: str = FIX_HINT  # what to do about the problems


def read_source(given: str | OwnData, scratch: Path) -> Source:
    """Read a folder, a zip, a data set of the Hub or of Kaggle, or images of one's own.

    `scratch` is an empty folder to unpack to.

    Raises:
        UsageError, HubAccessError: as for `fetch`.
        DataLayoutError: it is none of the layouts that are known.
    """
    if isinstance(given, OwnData):
        own = Source(str(given), given.name, "Images and masks", named_by_folder=True)
        return _read_scan(own, scan_own(given))
    return _read_folder(given, fetch(given, scratch), scratch)


def fetch(source: str, scratch: Path) -> Path:
    """Return the folder that holds a source's files, downloaded or unpacked to `scratch` where needed.

    Raises:
        UsageError: no such source.
        DataLayoutError: a zip of which not every entry can be unpacked.
        HubAccessError: Kaggle or the Hub cannot be reached or has no such data set.
    """
    path = Path(source).expanduser()
    if source == "kaggle":
        return _from_kaggle()
    if path.is_dir():
        return path
    if path.is_file():
        return _unpack(path, scratch)
    from busi_unet.hub import fetch_dataset, is_hub_id

    nothing_here = f"There is no folder or zip called {source}"
    if not is_hub_id(source):
        raise UsageError(f"{nothing_here}.", "Name a folder, a zip, 'kaggle' or a Hub data set (USER/NAME).")
    try:
        return fetch_dataset(source, patterns=_ON_THE_HUB)
    except HubAccessError as error:
        # A mistyped path looks like a Hub id.
        error.message += f" {nothing_here} either."
        raise


def _unpack(archive: Path, scratch: Path) -> Path:
    target = scratch / "unpacked"
    hint = "Download the archive again, or unpack it by hand and name the folder."
    problems = files.unpack(
        archive, target, max_bytes=MAX_UNPACKED_BYTES, max_files=MAX_UNPACKED_FILES, hint=hint
    )
    if problems:
        listed = [f"{entry}: {problem}" for entry, problem in problems.items()]
        raise DataLayoutError(f"{archive} cannot be unpacked whole:", listed, hint)
    return target


def _from_kaggle() -> Path:
    import kagglehub

    try:
        # kagglehub prints to stdout, which belongs to the result.
        with contextlib.redirect_stdout(sys.stderr):
            return Path(kagglehub.dataset_download(KAGGLE_HANDLE))
    except Exception as error:
        raise HubAccessError(
            f"Kaggle's data set {KAGGLE_HANDLE} could not be downloaded ({first_line(error)}).",
            f"Download the zip by hand from https://www.kaggle.com/datasets/{KAGGLE_HANDLE} "
            "and name the file instead of 'kaggle'.",
        ) from error


# --- Folders of images ---------------------------------------------------------------------------


def _read_folder(given: str, folder: Path, scratch: Path) -> Source:
    """Read whichever form the data has: saved by `prepare`, a known layout, pushed to the Hub, zipped."""
    import datasets

    inside = list(folders(folder))
    for inner in inside:
        if (inner / "dataset_dict.json").is_file():
            if read_record(inner).get("folds_from") == IMAGE_BY_IMAGE:
                # Its groups say that no image has a copy, and would be taken at their word from here on.
                raise DataLayoutError(
                    f"{inner} was split image by image to measure leakage: its groups cannot be used.",
                    hint="Prepare its images instead.",
                )
            return _read_prepared(given, load_prepared(inner))
    zips = [path for inner in inside for path in children(inner) if path.suffix.lower() == ".zip"]
    if recognised := recognise(folder):
        layout, base = recognised
        # A zip without a folder of its own is unpacked to one whose name says nothing.
        name = Path(given).stem if base.parent == scratch else base.resolve().name
        source = Source(given, layout.source or name, layout.name, named_by_folder=layout.source is None)
        scan = layout.scan(base)
        told = " ".join(scan.warnings)
        if unread := [path.name for path in zips if path.name not in told]:
            scan.warnings.append(f"not read: zips inside ({named(unread)})")
        return _read_scan(source, scan)
    if any(path.suffix == ".parquet" for inner in inside for path in inner.iterdir()):
        try:
            pushed = datasets.load_dataset(str(folder), cache_dir=str(scratch / "parquet"))
        except Exception as error:
            raise DataLayoutError(
                f"The Parquet files of {folder} cannot be read: {first_line(error)}.", hint=_COLUMNS_HINT
            ) from error
        return _read_prepared(given, pushed)
    if len(zips) == 1 and scratch not in folder.parents:
        return _read_folder(given, _unpack(zips[0], scratch), scratch)
    problems = [f"{path.name}: a zip; unpack it by hand, and name the folder" for path in zips]
    problems += [f"{layout.name}: {layout.wanted}" for layout in layouts()]
    raise DataLayoutError(f"{given} cannot be recognised. What was looked for in it:", problems, _OWN_HINT)


def _read_scan(source: Source, scan: Scan) -> Source:
    source.problems, source.warnings = list(scan.problems), list(scan.warnings)
    remarks: list[tuple[str, str]] = []
    # Decoding and encoding release Python's global lock, so threads do share this work.
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda case: _read_case(case, scan), scan.cases)
        for row, problems, remarked in tqdm(results, f"reading {source.name}", len(scan.cases), unit="image"):
            source.problems += problems
            remarks += remarked
            source.rows += [] if row is None else [row]
    source.warnings += _by_kind(remarks)
    return source


def _by_kind(remarks: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each kind of remark, whatever its numbers, with the first of them and names."""
    kinds: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for remark, name in remarks:
        kinds[re.sub(r"[0-9]+", "", remark)].append((remark, name))
    lines = [
        f"{len(found)} {found[0][0]} ({named([name for _, name in found])})"
        for _, found in sorted(kinds.items())
    ]
    return [re.sub("^1 (image|mask)s", r"1 \1", line) for line in lines]


def _read_case(case: Case, scan: Scan) -> tuple[Row | None, list[str], list[tuple[str, str]]]:
    """Return the row, or None with the problems; and remarks on its files, each with the file's name."""
    problems: list[str] = []
    remarks: list[tuple[str, str]] = []

    def called(file: Path | bytes) -> str:
        if isinstance(file, Path):
            return scan.name(file)
        return case.image_id if file is case.image else f"{case.image_id} (mask)"

    def attempt(read: Callable[..., Any], file: Path | bytes, **options: Any) -> Any:
        try:
            return read(file, name=called(file), **options)
        except UnreadableImageError as error:
            problems.append(str(error))

    image = None
    if decoded := attempt(read_image, case.image):
        image = decoded.pixels
        remarks += [(f"images: {remark.rstrip('.')}", called(case.image)) for remark in decoded.remarks]
        if (greys := len(np.unique(image))) <= MAX_VALUES:
            problems.append(f"{called(case.image)}: has {greys} grey values, as a mask has; move it away")
    masks = []
    for file in case.masks or ():
        read = attempt(read_mask, file, image=image)
        if read is None:
            continue
        if read.remark:
            remarks.append((f"masks with {read.remark}", called(file)))
        masks.append(read.pixels)
        if image is None or masks[-1].shape == image.shape:
            continue
        if case.scale_mask:
            remarks.append(("masks with another size than their image, scaled to it", called(file)))
            scaled = Image.fromarray(masks[-1]).resize(image.shape[::-1], Image.Resampling.NEAREST)
            masks[-1] = np.asarray(scaled)
        else:
            (mask_h, mask_w), (image_h, image_w) = masks[-1].shape, image.shape
            problems.append(
                f"{called(file)}: the mask is {mask_w}×{mask_h} pixels, its image {image_w}×{image_h}; "
                "export both at one size"
            )
    if problems:
        return None, problems, remarks

    mask = None
    try:
        if case.outline is not None:
            mask = case.outline(image.shape)
        elif case.masks is not None:
            mask = np.logical_or.reduce([np.zeros(image.shape, bool), *masks])
        if mask is not None:
            check_mask(mask, f"{called(case.image)}: its mask")
    except UnreadableImageError as error:
        return None, [str(error)], remarks
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        return None, [f"{called(case.image)}: its outline cannot be drawn ({first_line(error)})"], remarks
    if problem := _lesion_problem(case.label, mask):
        return None, [f"{called(case.masks[0] if case.masks else case.image)}: {problem}"], remarks
    row = Row(
        source=case.source,
        image_id=files.readable(case.image_id),
        label=case.label,
        image_png=_to_png(Image.fromarray(image)),
        mask_png=None if mask is None else _to_png(mask_image(mask)),
        pixel_sha256=pixel_hash(image),
        group=case.patient,
        fold=case.fold,
    )
    return row, [], remarks


def _lesion_problem(label: str | None, mask: np.ndarray | None) -> str | None:
    if label is None or mask is None or (label == "normal") != mask.any():
        return None
    if label == "normal":
        return "marks a lesion in a normal image; empty the mask, or move the image to its class"
    return f"the mask of a {label} image is empty; outline the lesion, or move the image to normal"


def _to_png(image: Image.Image) -> bytes:
    # On speckle, run-length coding takes a seventh of the default's time and gives smaller files.
    return files.image_bytes(image, "PNG", compress_level=1, compress_type=zlib.Z_RLE)


# --- Prepared data sets --------------------------------------------------------------------------


def _read_prepared(given: str, dataset: Mapping[str, Dataset]) -> Source:
    """Read what `prepare` wrote, wherever it has been since, with the same checks as the files."""
    import datasets

    source = Source(given, "", "prepared", prepared=True, hint=_COLUMNS_HINT)
    source.problems = column_problems(dataset)
    if source.problems:
        return source
    raw = datasets.Image(decode=False)
    scan = Scan(Path())
    for part in dataset.values():
        for item in part.cast_column("image", raw).cast_column("mask", raw):
            case = Case(
                item["image_id"],
                item["image"]["bytes"],
                label=None if item["label"] == UNKNOWN else CLASS_NAMES[item["label"]],
                masks=(item["mask"]["bytes"],) if item["mask"] else None,
                patient=item["group"],
                fold=item["fold"],
                source=item["source"],
            )
            scan.cases.append(case)
            if case.fold not in range(N_FOLDS):
                scan.problems.append(f"{case.image_id}: fold {case.fold} is not one of 0 to {N_FOLDS - 1}")
    scan.problems += fold_problems([case.patient for case in scan.cases], [case.fold for case in scan.cases])
    source.name = ", ".join(sorted({case.source for case in scan.cases}))
    return _read_scan(source, scan)
