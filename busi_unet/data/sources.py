"""Where data comes from: a folder, a zip, Kaggle or the Hub, each made a folder on this machine."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from busi_unet.errors import (
    DataLayoutError,
    HubAccessError,
    MissingDependencyError,
    UsageError,
    first_line,
)
from busi_unet.io import files
from busi_unet.io.decode import EXTENSIONS

KAGGLE_HANDLE = "aryashah2k/breast-ultrasound-images-dataset"
MAX_UNPACKED_BYTES = 8 * 1024**3
MAX_UNPACKED_FILES = 200_000
# What a data set on the Hub can consist of; nothing else of it is downloaded.
_ON_THE_HUB = [f"*{suffix}" for suffix in sorted(EXTENSIONS | {".zip", ".parquet", ".arrow", ".json", ".md"})]


def fetch(source: str, scratch: Path) -> tuple[Path, str]:
    """The folder that holds a source's files, downloaded or unpacked where they are not in one yet.

    Args:
        source: a folder, a zip, "kaggle" or a Hub data set id "USER/NAME".
        scratch: an existing folder to unpack to.

    Returns:
        The folder, and the kind of the source: "folder", "zip", "kaggle" or "hub".

    Raises:
        UsageError: no such source.
        DataLayoutError: a zip that is damaged or not safe to unpack.
        HubAccessError: Kaggle or the Hub cannot be reached or has no such data set.
        MissingDependencyError: kagglehub is not installed.
    """
    path = Path(source).expanduser()
    if source == "kaggle":
        return _from_kaggle(), "kaggle"
    if path.is_dir():
        return path, "folder"
    if path.is_file():
        return unpack(path, scratch), "zip"
    from busi_unet.hub import fetch_dataset, is_hub_id

    nothing_here = f"There is no folder or zip called {source}"
    if not is_hub_id(source):
        raise UsageError(f"{nothing_here}.", "Name a folder, a zip, 'kaggle' or a Hub data set (USER/NAME).")
    try:
        return fetch_dataset(source, patterns=_ON_THE_HUB), "hub"
    except HubAccessError as error:
        # A mistyped path looks like a Hub id.
        error.message += f" {nothing_here} either."
        raise


def unpack(archive: Path, scratch: Path) -> Path:
    """Unpacks a zip from anyone into a folder below `scratch`, which is returned.

    Raises:
        DataLayoutError: not a zip, or damaged; entries that would leave the folder or fill the disk.
        BusiUNetError: the disk refuses.
    """
    target = scratch / "unpacked"
    hint = "Download the archive again, or unpack it by hand and name the folder."
    problems = files.unpack(
        archive, target, max_bytes=MAX_UNPACKED_BYTES, max_files=MAX_UNPACKED_FILES, hint=hint
    )
    if problems:
        raise DataLayoutError(f"{archive} is damaged:", problems, hint)
    return target


def _from_kaggle() -> Path:
    try:
        import kagglehub
    except ImportError as error:
        raise MissingDependencyError(
            "Downloading from Kaggle needs the package kagglehub.", 'Run: pip install "busi-unet[train]"'
        ) from error
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
