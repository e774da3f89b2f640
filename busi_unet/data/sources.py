"""Where data comes from: a folder, a zip, Kaggle or the Hub, each made a folder on this machine."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

from busi_unet import archives
from busi_unet.errors import (
    DataLayoutError,
    HubAccessError,
    MissingDependencyError,
    UsageError,
    first_line,
)
from busi_unet.imaging.decode import EXTENSIONS

KAGGLE_HANDLE = "aryashah2k/breast-ultrasound-images-dataset"
MAX_UNPACKED_BYTES = 8 * 1024**3
MAX_UNPACKED_FILES = 200_000

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


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
    if _HUB_ID.fullmatch(source):
        return _from_hub(source), "hub"
    raise UsageError(
        f"There is no folder or zip called {source}.",
        "Name a folder, a zip, 'kaggle' or a Hub data set (USER/NAME).",
    )


def unpack(archive: Path, scratch: Path) -> Path:
    """Unpacks a zip from anyone into a folder below `scratch`, which is returned.

    Raises:
        DataLayoutError: not a zip, or damaged; entries that would leave the folder or fill the disk.
        BusiUNetError: the disk refuses.
    """
    target = scratch / "unpacked"
    hint = "Download the archive again, or unpack it by hand and name the folder."
    problems = archives.unpack(
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
            "Downloading from Kaggle needs the package kagglehub.", "Run: pip install -e '.[train]'"
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
            f"The Hub data set {repo_id} could not be downloaded ({first_line(error)}). {nearby}",
            "Check the connection, or download the data set by hand and name its folder or zip.",
        ) from error
