"""Files inside shards, tar (as of `webdataset`) or Parquet, read where they lie: nothing is unpacked."""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from busi_unet.errors import (
    BusiUNetError,
    DataLayoutError,
    MissingDependencyError,
    UnreadableImageError,
    first_line,
)

SHARDS = frozenset({".tar", ".parquet"})
MAX_BYTES = 2**30
# Columns of `prepare` and of the Hub's image folders.
_IMAGE, _NAME = "image", "image_id"


class Member(NamedTuple):
    """A file in a shard: its name there, and where it lies: start and size in a tar, row group and row else.

    `problem` tells why it cannot be read.
    """

    name: str
    place: tuple[int, int]
    problem: str = ""


def list_shard(path: Path, name: str, *, max_files: int) -> Iterator[Member]:
    """List the files in a shard.

    Args:
        path: of the shard.
        name: how errors name it.
        max_files: more are refused.

    Raises:
        DataLayoutError: damaged, compressed, without a column of images, or too many files; what was listed
            before can be read.
        MissingDependencyError: Parquet needs a package that is not installed.
    """
    listed = _in_tar if path.suffix.lower() == ".tar" else _in_parquet
    try:
        for number, member in enumerate(listed(path, name)):
            if number == max_files:
                raise DataLayoutError(f"{name} holds more than {max_files:,} files.", hint="Divide it.")
            yield member
    except BusiUNetError:
        raise
    except Exception as error:
        raise DataLayoutError(
            f"{name} is no shard that can be read, or is cut short ({first_line(error)}).",
            hint="Copy it again.",
        ) from error


def read_member(path: Path, place: tuple[int, int], name: str) -> bytes:
    """Return the content of a file in a shard.

    Raises:
        UnreadableImageError: the shard was cut short since it was listed, or the row holds no file.
        OSError: the disk refuses.
    """
    if path.suffix.lower() == ".tar":
        start, size = place
        with path.open("rb") as shard:
            shard.seek(start)
            content = shard.read(size)
        if len(content) == size:
            return content
    else:
        group, row = place
        content = _row_group(path, group)[row].as_py()
        if content is not None:
            return content
    raise UnreadableImageError(f"{name} is not in its shard any more, or was never in it.")


def _in_tar(path: Path, name: str) -> Iterator[Member]:
    end = path.stat().st_size
    with tarfile.open(path, "r:") as tar:
        while member := tar.next():
            # It keeps a list of all.
            tar.members.clear()
            if not member.isreg():
                continue
            problem = ""
            if member.issparse():
                problem = "is stored with holes left out; write the shard anew"
            elif member.size > MAX_BYTES:
                problem = f"is larger than {MAX_BYTES // 2**20:,} MiB"
            elif member.offset_data + member.size > end:
                problem = "is cut short"
            yield Member(member.name, (member.offset_data, member.size), problem)
        # tarfile takes a damaged header for the end.
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"damaged at byte {tar.offset:,}")


def _in_parquet(path: Path, name: str) -> Iterator[Member]:
    with _parquet(path) as file:
        columns = file.schema_arrow.names
        if _IMAGE not in columns or f"{_IMAGE}.bytes" not in {each.path for each in file.schema}:
            raise DataLayoutError(f"{name} has no column {_IMAGE} with the content of image files.")
        named = _NAME if _NAME in columns else f"{_IMAGE}.path"
        total = 0
        for group in range(file.num_row_groups):
            column = file.read_row_group(group, columns=[named]).flatten().column(0)
            for row, told in enumerate(column.to_pylist()):
                yield Member(str(total + row) if told is None else str(told), (group, row))
            total += len(column)


@functools.lru_cache(maxsize=2)
def _row_group(path: Path, group: int) -> Any:
    """Return the images of a row group; those of a run are asked for in their order."""
    with _parquet(path) as file:
        return file.read_row_group(group, columns=[f"{_IMAGE}.bytes"]).flatten().column(0)


def _parquet(path: Path) -> Any:
    try:
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "Parquet files need the package pyarrow.", "Run: pip install pyarrow"
        ) from error
    return ParquetFile(path)
