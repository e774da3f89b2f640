"""BUSI, or data laid out like it, from a folder, a zip, Kaggle or the Hub to one `datasets.DatasetDict`.

The public layout is a folder per class; beside each picture `benign (1).png` lie its masks
`benign (1)_mask.png`, `benign (1)_mask_1.png`, …, one per lesion. Every problem of a source is found
before anything is reported, and the prepared data set appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import io
import json
import lzma
import os
import re
import shutil
import stat
import sys
import tempfile
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import N_FOLDS, build_folds, pixel_hash, random_split_leak, read_busi_folds
from busi_unet.errors import (
    BusiUNetError,
    DataLayoutError,
    HubAccessError,
    MissingDependencyError,
    UnreadableImageError,
    UsageError,
)
from busi_unet.imaging.decode import EXTENSIONS, decode_image, decode_mask
from busi_unet.version import __version__

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

KAGGLE_HANDLE = "aryashah2k/breast-ultrasound-images-dataset"
SPLITS = ("train", "validation", "test")
COLUMNS = ("image", "mask", "label", "image_id", "group", "fold")
RECORD_NAME = "preparation.json"

MAX_UNPACKED_BYTES = 8 * 1024**3
MAX_UNPACKED_FILES = 200_000

_MASK_STEM = re.compile(r"(?P<image>.+)_mask(?:_\d+)?", re.IGNORECASE)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SEARCH_DEPTH = 4
_LAYOUT_HINT = (
    "BUSI has one folder per class, normal, benign and malignant, and beside each picture its masks: "
    "'benign (1).png', 'benign (1)_mask.png', 'benign (1)_mask_1.png'."
)
_TOO_FEW_HINT = f"Each class needs at least {N_FOLDS} pictures that are not copies of each other."
_FIX_HINT = "Mend or move away the files named above, then run this again; nothing has been written."


@dataclass(frozen=True)
class Case:
    """A picture and its mask files.

    Attributes:
        image_id: file stem, "benign (1)"; "label/stem" where two classes use the same stem.
        label: one of `CLASS_NAMES`.
        image_path: the picture.
        mask_paths: one file per lesion; empty only for a normal picture.
    """

    image_id: str
    label: str
    image_path: Path
    mask_paths: tuple[Path, ...]


@dataclass(frozen=True)
class _Row:
    """A case read, checked and encoded.

    Files tell how many masks there are; a prepared source tells group and fold instead.
    """

    image_id: str
    label: str
    image_png: bytes
    mask_png: bytes
    pixel_sha256: str
    mask_files: int | None = None
    group: str | None = None
    fold: int | None = None


@dataclass
class _Findings:
    """What a source holds: one row or case per usable picture, every problem, every oddity let pass."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    rows: list[_Row] = field(default_factory=list)


def prepare(
    source: str | os.PathLike,
    output: str | os.PathLike,
    *,
    seed: int = 0,
    test_fold: int = 0,
    overwrite: bool = False,
    progress: bool = True,
) -> DatasetDict:
    """Reads a source, splits it into group-disjoint folds and saves the result.

    Groups are sets of pictures that show the same view or lesion. Pictures that are all part of BUSI,
    recognised by their pixels, get the published groups and folds; a data set that `prepare` wrote and
    someone pushed to the Hub keeps its own; for anything else both are found from the pixels.

    Args:
        source: a folder or a zip in the layout of BUSI, "kaggle", or a Hub data set id "USER/NAME".
            Folder, zip and Hub data set may also hold a prepared data set.
        output: folder to write; `load_prepared` reads it.
        seed: of the fold assignment, where folds are not published.
        test_fold: the fold K to test on; fold K + 1 (modulo the number of folds) validates, the rest trains.
        overwrite: replace a data set that an earlier run wrote to `output`.
        progress: show progress on stderr.

    Returns:
        Splits train, validation and test with the columns image (PNG, mode L), mask (PNG, mode L, 0 or
        255, union of the mask files, size of its image), label (ClassLabel over `CLASS_NAMES`), image_id,
        group and fold.

    Raises:
        UsageError: no such source, an output that must not be written, no such fold.
        DataLayoutError: a source that cannot be used; lists every problem by file.
        HubAccessError: Kaggle or the Hub cannot be reached or has no such data set.
        MissingDependencyError: an optional package is not installed.
    """
    split_of_fold = _split_of_fold(test_fold)
    output = Path(output).expanduser().resolve()
    _check_output(output, source, overwrite)
    import_datasets()
    with tempfile.TemporaryDirectory(prefix="busi-unet-", ignore_cleanup_errors=True) as scratch:
        folder, kind = _fetch(str(source), Path(scratch))
        findings = _read_folder(folder, Path(scratch), progress)
    if not findings.rows and not findings.problems:
        findings.problems.append(f"{source}: holds no picture")
    if findings.problems:
        raise DataLayoutError(f"{source} cannot be used:", findings.problems, _FIX_HINT)

    groups, folds, origin = _group_and_fold(findings.rows, seed, progress)
    dataset = _to_dataset(findings.rows, groups, folds, split_of_fold)
    record = {
        "busi_unet_version": __version__,
        "source": str(source),
        "source_kind": kind,
        "folds_from": origin,
        "seed": seed if origin == "computed" else None,
        "n_folds": N_FOLDS,
        "test_fold": test_fold,
        "mask_files": _count_mask_files(findings.rows),
        "warnings": findings.warnings,
    }
    with _whole_or_nothing(output) as partial:
        dataset.save_to_disk(partial)
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        (partial / RECORD_NAME).write_text(text, encoding="utf-8")
    return load_prepared(output)


def load_prepared(path: str | os.PathLike) -> DatasetDict:
    """Loads what `prepare` wrote and checks that it is fit for use.

    Raises:
        DataLayoutError: not such a folder, columns or classes that differ, or a group in two splits.
        MissingDependencyError: `datasets` is not installed.
    """
    datasets = import_datasets()
    hint = f"Write it with: python scripts/prepare_data.py SOURCE --output {path}"
    if not (Path(path) / "dataset_dict.json").is_file():
        raise DataLayoutError(f"{path} is not a prepared data set.", hint=hint)
    try:
        dataset = datasets.load_from_disk(str(path))
    except Exception as error:
        raise DataLayoutError(f"{path} is damaged: {_first_line(error)}.", hint=hint) from error
    problems = [f"{split}: missing" for split in SPLITS if split not in dataset]
    problems += _feature_problems(dataset)
    if not problems:
        seen: dict[str, str] = {}
        for split in SPLITS:
            for group in sorted(set(dataset[split]["group"])):
                if seen.setdefault(group, split) != split:
                    problems.append(
                        f"{split}: group {group} is also in {seen[group]}, so their figures would leak"
                    )
    if problems:
        raise DataLayoutError(f"{path} cannot be used:", problems, hint)
    return dataset


def read_record(path: str | os.PathLike) -> dict[str, Any]:
    """Where a prepared data set came from, as `prepare` noted it; empty where there is no such note."""
    file = Path(path) / RECORD_NAME
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def summarise(dataset: Mapping[str, Dataset]) -> dict[str, Any]:
    """Counts of a prepared data set, JSON-ready.

    Returns:
        images; classes (images per class); splits (images, groups and images per class of each);
        folds (images per class of each); groups; groups_with_copies; images_in_copy_groups;
        largest_group; random_split_leak (expected share of test images with a copy among the other
        images, had the images been split at random); cross_class_groups (group, images by class).
    """

    def per_class(labels: Iterable[str]) -> dict[str, int]:
        counts = Counter(labels)
        return {name: counts[name] for name in CLASS_NAMES}

    table = [
        (split, CLASS_NAMES[label], image_id, group, fold)
        for split, part in dataset.items()
        for label, image_id, group, fold in zip(
            *(part[column] for column in ("label", "image_id", "group", "fold")), strict=True
        )
    ]
    members: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for _, label, image_id, group, _ in table:
        members[group].append((label, image_id))
    sizes = [len(images) for images in members.values()]
    crossing = {group: images for group, images in members.items() if len({label for label, _ in images}) > 1}
    return {
        "images": len(table),
        "classes": per_class(label for _, label, *_ in table),
        "splits": {
            split: {
                "images": sum(row[0] == split for row in table),
                "groups": len({row[3] for row in table if row[0] == split}),
                **per_class(row[1] for row in table if row[0] == split),
            }
            for split in dataset
        },
        "folds": {
            str(fold): per_class(row[1] for row in table if row[4] == fold)
            for fold in sorted({row[4] for row in table})
        },
        "groups": len(members),
        "groups_with_copies": sum(size > 1 for size in sizes),
        "images_in_copy_groups": sum(size for size in sizes if size > 1),
        "largest_group": max(sizes, default=0),
        "random_split_leak": random_split_leak([row[3] for row in table]),
        "cross_class_groups": [
            {
                "group": group,
                "images": {
                    name: sorted((i for label, i in images if label == name), key=natural_order)
                    for name in CLASS_NAMES
                    if any(label == name for label, _ in images)
                },
            }
            for group, images in sorted(crossing.items(), key=lambda item: natural_order(item[0]))
        ],
    }


def scan_folder(root: str | os.PathLike) -> list[Case]:
    """Lists the pictures and masks of a folder in the layout of BUSI, without opening them.

    Args:
        root: the folder that holds normal, benign and malignant, or one above it.

    Raises:
        DataLayoutError: no such folder; missing, empty or unknown class folders; masks without a picture
            and lesions without a mask. Lists every problem.
    """
    root = Path(root)
    base = _find_base(root) if root.is_dir() else None
    if base is None:
        raise DataLayoutError(
            f"No folder called normal, benign or malignant at or below {root}.", hint=_LAYOUT_HINT
        )
    findings = _scan(base)
    if findings.problems:
        raise DataLayoutError(f"{base} cannot be used:", findings.problems, _FIX_HINT)
    return findings.cases


def natural_order(text: str) -> list[Any]:
    """Sort key that puts "benign (2)" before "benign (10)"."""
    # Digits and other text alternate, so that numbers only ever meet numbers.
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", text))]


def import_datasets() -> Any:
    """The `datasets` package.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(
            "Preparing and loading data needs the package datasets.", "Run: pip install -e '.[train]'"
        ) from error
    return datasets


# --- Where the data comes from -------------------------------------------------------------------


def _fetch(source: str, scratch: Path) -> tuple[Path, str]:
    """The folder that holds the source's files, and what kind of source it is."""
    path = Path(source).expanduser()
    if source == "kaggle":
        return _from_kaggle(), "kaggle"
    if path.is_dir():
        return path, "folder"
    if path.is_file():
        return _unpack(path, scratch), "zip"
    if _HUB_ID.fullmatch(source):
        return _from_hub(source), "hub"
    raise UsageError(
        f"There is no folder or zip called {source}.",
        "Name a folder, a zip, 'kaggle' or a Hub data set (USER/NAME).",
    )


def _from_kaggle() -> Path:
    try:
        import kagglehub
    except ImportError as error:
        raise MissingDependencyError(
            "Downloading from Kaggle needs the package kagglehub.", "Run: pip install -e '.[train]'"
        ) from error
    try:
        # kagglehub prints to stdout, which belongs to the result.
        with contextlib.redirect_stdout(sys.stderr):
            return Path(kagglehub.dataset_download(KAGGLE_HANDLE))
    except Exception as error:
        raise HubAccessError(
            f"Kaggle's data set {KAGGLE_HANDLE} could not be downloaded ({_first_line(error)}).",
            f"Download the zip by hand from https://www.kaggle.com/datasets/{KAGGLE_HANDLE} "
            "and name the file instead of 'kaggle'.",
        ) from error


def _from_hub(repo_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    wanted = [f"*{suffix}" for suffix in sorted(EXTENSIONS | {".zip", ".parquet", ".arrow", ".json", ".md"})]
    nearby = f"There is no folder or zip called {repo_id} here either."
    try:
        return Path(snapshot_download(repo_id, repo_type="dataset", allow_patterns=wanted))
    except (GatedRepoError, RepositoryNotFoundError, HFValidationError) as error:
        raise HubAccessError(
            f"The Hub has no data set {repo_id} that you may read. {nearby}",
            "Check the name; for a private or gated data set run: hf auth login",
        ) from error
    except Exception as error:
        raise HubAccessError(
            f"The Hub data set {repo_id} could not be downloaded ({_first_line(error)}). {nearby}",
            "Check the connection, or download the data set by hand and name its folder or zip.",
        ) from error


def _unpack(archive: Path, scratch: Path) -> Path:
    """Unpacks a zip from anyone: entries that would leave the folder or fill the disk are refused."""
    target = scratch / "unpacked"
    hint = "Download the archive again, or unpack it by hand and name the folder."
    try:
        with zipfile.ZipFile(archive) as bundle:
            entries = [entry for entry in bundle.infolist() if not entry.is_dir()]
            total = sum(entry.file_size for entry in entries)
            if total > MAX_UNPACKED_BYTES or len(entries) > MAX_UNPACKED_FILES:
                raise DataLayoutError(
                    f"{archive} would unpack to {total / 1024**3:.1f} GiB in {len(entries)} files; "
                    f"the limits are {MAX_UNPACKED_BYTES / 1024**3:.0f} GiB and {MAX_UNPACKED_FILES} files.",
                    hint="If you trust it, unpack it by hand and name the folder.",
                )
            problems = [f"{entry.filename}: {reason}" for entry in entries if (reason := _unsafe(entry))]
            if problems:
                raise DataLayoutError(f"{archive} is not safe to unpack:", problems, hint)
            for entry in entries:
                try:
                    bundle.extract(entry, target)
                except (
                    zipfile.BadZipFile,
                    zlib.error,
                    lzma.LZMAError,
                    EOFError,
                    NotImplementedError,
                ) as error:
                    problems.append(f"{entry.filename}: damaged in the archive ({_first_line(error)})")
            if problems:
                raise DataLayoutError(f"{archive} is damaged:", problems, hint)
    except zipfile.BadZipFile as error:
        raise DataLayoutError(f"{archive} is not a zip, or is cut short.", hint=hint) from error
    except OSError as error:
        raise BusiUNetError(
            f"{archive} could not be unpacked ({_first_line(error)}).",
            "Unpack it by hand and name the folder.",
        ) from error
    target.mkdir(exist_ok=True)
    return target


def _unsafe(entry: zipfile.ZipInfo) -> str | None:
    posix, windows = PurePosixPath(entry.filename), PureWindowsPath(entry.filename)
    if posix.is_absolute() or windows.drive or windows.root or ".." in (*posix.parts, *windows.parts):
        return "its path leads out of the archive's folder"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a symbolic link"
    if entry.flag_bits & 1:
        return "is encrypted"
    return None


# --- What a folder holds -------------------------------------------------------------------------


def _read_folder(folder: Path, scratch: Path, progress: bool) -> _Findings:
    """Reads whichever form the data has: saved by `prepare`, class folders, pushed to the Hub, zipped."""
    datasets = import_datasets()
    folders = list(_folders(folder))
    for inner in folders:
        if (inner / "dataset_dict.json").is_file():
            return _read_prepared(load_prepared(inner), progress)
    if base := _find_base(folder):
        findings = _scan(base)
        _read_cases(findings, base, progress)
        return findings
    if any(path.suffix == ".parquet" for inner in folders for path in inner.iterdir()):
        try:
            pushed = datasets.load_dataset(str(folder), cache_dir=str(scratch / "parquet"))
        except Exception as error:
            raise DataLayoutError(
                f"The Parquet files of {folder} cannot be read: {_first_line(error)}.", hint=_LAYOUT_HINT
            ) from error
        return _read_prepared(pushed, progress)
    archives = [path for inner in folders for path in inner.iterdir() if path.suffix.lower() == ".zip"]
    # Only one level of zips: what has just been unpacked is not searched for more.
    if len(archives) == 1 and scratch not in folder.parents:
        return _read_folder(_unpack(archives[0], scratch), scratch, progress)
    problems = [f"{path.name}: one of several zips; name the one to read" for path in archives]
    where = "the archive" if scratch in folder.parents else str(folder)
    raise DataLayoutError(f"No folder called normal, benign or malignant in {where}.", problems, _LAYOUT_HINT)


def _folders(root: Path, depth: int = _SEARCH_DEPTH) -> Iterator[Path]:
    """The folder and those below it, nearest first, without hidden ones and macOS archive leftovers."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [child for folder in level for child in _children(folder) if child.is_dir()]


def _children(folder: Path) -> list[Path]:
    hidden = (".", "__MACOSX", "Thumbs.db", "desktop.ini")
    try:
        found = [child for child in folder.iterdir() if not child.name.startswith(hidden)]
    except PermissionError:
        return []
    return sorted(found, key=lambda child: natural_order(child.name))


def _class_folders(folder: Path) -> dict[str, Path]:
    return {
        child.name.casefold(): child
        for child in _children(folder)
        if child.is_dir() and child.name.casefold() in CLASS_NAMES
    }


def _find_base(root: Path) -> Path | None:
    """The folder with the most class folders, the nearest of several."""
    found = [(len(_class_folders(folder)), folder) for folder in _folders(root)]
    best = max((count for count, _ in found), default=0)
    candidates = [folder for count, folder in found if count == best]
    if best == len(CLASS_NAMES) and len(candidates) > 1:
        raise DataLayoutError(
            f"{root} holds several data sets:",
            [
                f"{folder.relative_to(root).as_posix()}: has normal, benign and malignant"
                for folder in candidates
            ],
            "Name one of these folders.",
        )
    return candidates[0] if best else None


def _scan(base: Path) -> _Findings:
    findings = _Findings()
    class_folders = _class_folders(base)
    for child in _children(base):
        if child in class_folders.values():
            continue
        pictures = _count_pictures(child) if child.is_dir() else 0
        if pictures:
            findings.problems.append(
                f"{child.name}/: unknown folder with {pictures} pictures; "
                f"rename it to one of {', '.join(CLASS_NAMES)}, or move it away"
            )
        else:
            findings.warnings.append(f"{child.name}: not part of the layout, left out")
    for label in CLASS_NAMES:
        if label in class_folders:
            _scan_class(class_folders[label], label, findings)
        else:
            findings.problems.append(f"{label}/: this class folder is missing")
    used = Counter(case.image_id for case in findings.cases)
    findings.cases = [
        case if used[case.image_id] == 1 else Case(f"{case.label}/{case.image_id}", *_but_id(case))
        for case in findings.cases
    ]
    return findings


def _but_id(case: Case) -> tuple[str, Path, tuple[Path, ...]]:
    return case.label, case.image_path, case.mask_paths


def _count_pictures(folder: Path) -> int:
    return sum(path.suffix.lower() in EXTENSIONS for inner in _folders(folder) for path in _children(inner))


def _scan_class(folder: Path, label: str, findings: _Findings) -> None:
    images: dict[str, Path] = {}
    masks: dict[str, list[Path]] = defaultdict(list)
    for path in _children(folder):
        name = f"{folder.name}/{path.name}"
        if path.is_dir() or path.suffix.lower() not in EXTENSIONS:
            inside = f" with its {_count_pictures(path)} pictures" if path.is_dir() else ""
            findings.warnings.append(f"{name}: not a picture, left out{inside}")
        elif match := _MASK_STEM.fullmatch(path.stem):
            masks[match["image"]].append(path)
        elif path.stem in images:
            findings.problems.append(f"{name}: same name as {images[path.stem].name}; keep one of the two")
        else:
            images[path.stem] = path
    for stem, path in images.items():
        if not masks[stem] and label != "normal":
            findings.problems.append(
                f"{folder.name}/{path.name}: has no mask; add '{stem}_mask.png', or move the picture away"
            )
        findings.cases.append(Case(stem, label, path, tuple(masks[stem])))
    for stem, paths in masks.items():
        if stem not in images:
            findings.problems += [
                f"{folder.name}/{path.name}: is a mask without a picture; add '{stem}.png', or move it away"
                for path in paths
            ]
    if not images:
        findings.problems.append(f"{folder.name}/: holds no picture; each class needs some")
    bare = [stem for stem in images if not masks[stem]]
    if bare and label == "normal":
        findings.warnings.append(
            f"{folder.name}/: {len(bare)} pictures have no mask file, taken as empty masks ({bare[0]}, …)"
        )


# --- Reading the pixels --------------------------------------------------------------------------


def _read_cases(findings: _Findings, base: Path, progress: bool) -> None:
    # Decoding and encoding release Python's global lock, so threads do share this work.
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda case: _read_case(case, base), findings.cases)
        for row, problems in _progress(results, len(findings.cases), "reading pictures", progress):
            findings.problems += problems
            if row is not None:
                findings.rows.append(row)


def _read_case(case: Case, base: Path) -> tuple[_Row | None, list[str]]:
    problems: list[str] = []

    def name(path: Path) -> str:
        return path.relative_to(base).as_posix()

    image = None
    try:
        image = decode_image(case.image_path, name=name(case.image_path))
    except UnreadableImageError as error:
        problems.append(str(error))
    masks = []
    for path in case.mask_paths:
        try:
            mask = decode_mask(path, name=name(path))
        except UnreadableImageError as error:
            problems.append(str(error))
            continue
        if image is not None and mask.shape != image.shape:
            problems.append(f"{name(path)}: {_size_mismatch(mask, image)}")
        masks.append(mask)
    if image is None or problems:
        return None, problems

    mask = np.logical_or.reduce(masks) if masks else np.zeros(image.shape, bool)
    if problem := _lesion_problem(case.label, mask, bool(masks)):
        return None, [f"{name(case.mask_paths[0])}: {problem}"]
    return _row(case.image_id, case.label, image, mask, mask_files=len(masks)), []


def _size_mismatch(mask: np.ndarray, image: np.ndarray) -> str:
    (mask_h, mask_w), (image_h, image_w) = mask.shape, image.shape
    return f"the mask is {mask_w}×{mask_h} pixels, its picture {image_w}×{image_h}; export both at one size"


def _lesion_problem(label: str, mask: np.ndarray, has_file: bool) -> str | None:
    if label == "normal" and mask.any():
        return "marks a lesion in a normal picture; empty the mask, or move the picture to its class"
    if label != "normal" and has_file and not mask.any():
        return f"the mask of a {label} picture is empty; outline the lesion, or move the picture to normal"
    return None


def _row(image_id: str, label: str, image: np.ndarray, mask: np.ndarray, **known: Any) -> _Row:
    return _Row(
        image_id=image_id,
        label=label,
        image_png=_to_png(image),
        mask_png=_to_png(mask.astype(np.uint8) * 255),
        pixel_sha256=pixel_hash(image),
        **known,
    )


def _to_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    # On speckle, run-length coding takes a seventh of the default's time and gives smaller files.
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def _read_prepared(dataset: Mapping[str, Dataset], progress: bool) -> _Findings:
    """Reads what `prepare` wrote, wherever it has been since, with the same checks as the files."""
    datasets = import_datasets()
    findings = _Findings(problems=_feature_problems(dataset))
    if findings.problems:
        return findings
    raw = datasets.Image(decode=False)
    parts = [part.cast_column("image", raw).cast_column("mask", raw) for part in dataset.values()]
    items = (item for part in parts for item in part)
    for item in _progress(items, sum(len(part) for part in parts), "reading pictures", progress):
        image_id, label = item["image_id"], CLASS_NAMES[item["label"]]
        try:
            image = decode_image(item["image"]["bytes"], name=image_id)
            mask = decode_mask(item["mask"]["bytes"], name=f"{image_id} (mask)")
        except UnreadableImageError as error:
            findings.problems.append(str(error))
            continue
        problem = (
            _size_mismatch(mask, image) if mask.shape != image.shape else _lesion_problem(label, mask, True)
        )
        if problem:
            findings.problems.append(f"{image_id}: {problem}")
        else:
            findings.rows.append(_row(image_id, label, image, mask, group=item["group"], fold=item["fold"]))
    findings.problems += _fold_problems(findings.rows)
    return findings


def _fold_problems(rows: Sequence[_Row]) -> list[str]:
    problems = [
        f"{row.image_id}: fold {row.fold} is not one of 0 to {N_FOLDS - 1}"
        for row in rows
        if row.fold not in range(N_FOLDS)
    ]
    fold_of_group: dict[str, int] = {}
    for row in rows:
        if fold_of_group.setdefault(row.group, row.fold) != row.fold:
            problems.append(
                f"{row.image_id}: in fold {row.fold}, but group {row.group} is in {fold_of_group[row.group]}"
            )
    return problems


def _count_mask_files(rows: Sequence[_Row]) -> dict[str, int]:
    """Number of pictures by their number of mask files; empty where that is unknown."""
    counts = Counter(row.mask_files for row in rows if row.mask_files is not None)
    return {str(files): count for files, count in sorted(counts.items())}


def _feature_problems(dataset: Mapping[str, Dataset]) -> list[str]:
    problems = []
    for split, part in dataset.items():
        missing = [name for name in COLUMNS if name not in part.features]
        problems += [f"{split}: the column {name} is missing" for name in missing]
        wanted = _features()
        problems += [
            f"{split}: the column {name} is {part.features[name]}, not {wanted[name]}"
            for name in COLUMNS
            if name not in missing and part.features[name] != wanted[name]
        ]
    return problems


# --- Groups, folds and splits --------------------------------------------------------------------


def _group_and_fold(rows: Sequence[_Row], seed: int, progress: bool) -> tuple[list[str], list[int], str]:
    """Group and fold of every row, and where they come from."""
    if all(row.group is not None for row in rows):
        return [row.group for row in rows], [row.fold for row in rows], "source"
    published = {entry.pixel_sha256: entry for entry in read_busi_folds()}
    if all(row.pixel_sha256 in published for row in rows):
        entries = [published[row.pixel_sha256] for row in rows]
        present = {(row.label, entry.fold) for row, entry in zip(rows, entries, strict=True)}
        # A small part of BUSI may leave a published fold without a class; it then gets folds of its own.
        if len(present) == len(CLASS_NAMES) * N_FOLDS:
            return [entry.group for entry in entries], [entry.fold for entry in entries], "published"
    ids, labels = [row.image_id for row in rows], [row.label for row in rows]
    frames = [decode_image(row.image_png) for row in rows]
    try:
        built = build_folds(ids, labels, frames, seed=seed, progress=progress)
    except ValueError as error:
        raise DataLayoutError(f"The data are too few: {error}", hint=_TOO_FEW_HINT) from error
    entry_of = {entry.image_id: entry for entry in built}
    return [entry_of[i].group for i in ids], [entry_of[i].fold for i in ids], "computed"


def _split_of_fold(test_fold: int) -> list[str]:
    """The split that each fold belongs to."""
    if not 0 <= test_fold < N_FOLDS:
        raise UsageError(f"There is no fold {test_fold}.", f"Use one of 0 to {N_FOLDS - 1}.")
    splits = ["train"] * N_FOLDS
    splits[(test_fold + 1) % N_FOLDS] = "validation"
    splits[test_fold] = "test"
    return splits


def _features() -> Features:
    datasets = import_datasets()
    return datasets.Features(
        image=datasets.Image(),
        mask=datasets.Image(),
        label=datasets.ClassLabel(names=list(CLASS_NAMES)),
        image_id=datasets.Value("string"),
        group=datasets.Value("string"),
        fold=datasets.Value("int8"),
    )


def _to_dataset(
    rows: Sequence[_Row], groups: Sequence[str], folds: Sequence[int], split_of_fold: Sequence[str]
) -> DatasetDict:
    datasets = import_datasets()
    parts = {}
    for split in SPLITS:
        chosen = [index for index, fold in enumerate(folds) if split_of_fold[fold] == split]
        missing = [name for name in CLASS_NAMES if all(rows[index].label != name for index in chosen)]
        if missing:
            raise DataLayoutError(
                f"The data are too few: the {split} split would have no {' and no '.join(missing)} picture.",
                hint=_TOO_FEW_HINT,
            )
        columns = {
            "image": [{"bytes": rows[index].image_png, "path": None} for index in chosen],
            "mask": [{"bytes": rows[index].mask_png, "path": None} for index in chosen],
            "label": [CLASS_NAMES.index(rows[index].label) for index in chosen],
            "image_id": [rows[index].image_id for index in chosen],
            "group": [groups[index] for index in chosen],
            "fold": [folds[index] for index in chosen],
        }
        parts[split] = datasets.Dataset.from_dict(columns, features=_features())
    return datasets.DatasetDict(parts)


# --- Writing -------------------------------------------------------------------------------------


def _check_output(output: Path, source: str | os.PathLike, overwrite: bool) -> None:
    """Refuses, before any work is done, to write where something else would be lost or mixed up."""
    origin = Path(source).expanduser().resolve()
    if origin.exists() and (output.is_relative_to(origin) or origin.is_relative_to(output)):
        raise UsageError(
            f"The output {output} and the source {origin} lie inside each other.", "Choose another --output."
        )
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / "dataset_dict.json").is_file():
        raise UsageError(
            f"The output {output} exists and is not a prepared data set, so it is never replaced.",
            "Choose another --output.",
        )
    if not overwrite:
        raise UsageError(
            f"The output {output} exists.", "Add --overwrite to replace it, or choose another --output."
        )


@contextlib.contextmanager
def _whole_or_nothing(output: Path) -> Iterator[Path]:
    """A folder beside the output to write to; it takes the output's place once everything is in it."""
    partial, previous = (
        output.with_name(f".{output.name}.{os.getpid()}.{suffix}") for suffix in ("new", "old")
    )
    try:
        partial.mkdir(parents=True)
        yield partial
        if output.exists():
            output.rename(previous)
        try:
            partial.rename(output)
        except BaseException:
            if previous.exists():
                previous.rename(output)
            raise
    except OSError as error:
        raise BusiUNetError(
            f"The output {output} could not be written ({_first_line(error)}).",
            "Check the folder's permissions and the space on the disk.",
        ) from error
    finally:
        for leftover in (partial, previous):
            shutil.rmtree(leftover, ignore_errors=True)


def _progress(items: Iterable[Any], total: int, description: str, shown: bool) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(items, total=total, desc=description, unit="picture", disable=not shown)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300].rstrip(".")
