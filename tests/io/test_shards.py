import io
import tarfile

import pytest

from busi_unet.errors import UnreadableImageError
from busi_unet.io import shards
from busi_unet.io.find_images import ImageFile, find_images

CONTENT = b"a picture" * 200


def tar(path, *names: str, **kinds: bytes) -> None:
    with tarfile.open(path, "w") as file:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(CONTENT)
            file.addfile(entry, io.BytesIO(CONTENT))
        for name, kind in kinds.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            file.addfile(entry)


def found(path, **limits) -> list[ImageFile]:
    return find_images([path], path.parent, shards=True, show=lambda given: given.name, **limits)


def test_images_of_a_tar_are_read_where_they_lie(tmp_path):
    names = ("0001.png", "0001.json", "./a/0002.JPG", "a/._0002.jpg", "0001_mask.png", "/etc/0003.png")
    tar(tmp_path / "s-0.tar", *names, link=tarfile.SYMTYPE, device=tarfile.BLKTYPE)
    files = found(tmp_path)
    shown = [file.shown.partition("/")[2] for file in files]
    assert shown == ["s-0.tar/0001.png", "s-0.tar/./a/0002.JPG", "s-0.tar//etc/0003.png"]
    assert [file.name for file in files] == ["s-0__0001", "s-0__a__0002", "s-0_____etc__0003"]
    assert {file.content() for file in files} == {CONTENT}
    assert [path.name for path in tmp_path.iterdir()] == ["s-0.tar"]


def test_what_is_wrong_with_a_tar_is_a_row_beside_its_images(tmp_path, monkeypatch):
    path = tmp_path / "s.tar"
    tar(path, "1.png", "2.png", "3.png")
    whole = path.read_bytes()
    first, *_, last = found(path)
    assert "more than 2 files" in found(path, max_files=2)[-1].problem
    path.write_bytes(whole[: last.place[0] + 5])
    assert [bool(file.problem) for file in found(path)] == [False, False, True, True]
    with pytest.raises(UnreadableImageError, match=r"s\.tar/3\.png"):
        last.content()
    damaged = bytearray(whole)
    damaged[first.place[0] + 2048 : first.place[0] + 2100] = b"x" * 52
    path.write_bytes(damaged)
    assert [bool(file.problem) for file in found(path)] == [False, True]
    path.write_bytes(b"\x1f\x8b compressed")
    assert [bool(file.problem) for file in found(path)] == [True]
    path.write_bytes(whole)
    monkeypatch.setattr(shards, "MAX_BYTES", 100)
    assert all("larger" in file.problem for file in found(path))


def test_images_of_parquet_files(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    image = [{"bytes": CONTENT, "path": None}, {"bytes": None, "path": "b.png"}]
    table = pyarrow.table({"image": image, "image_id": ["benign (1)", "b"]})
    parquet.write_table(table, tmp_path / "train.parquet", row_group_size=1)
    good, lacking = found(tmp_path)
    assert (good.name, good.content()) == ("train__benign (1)", CONTENT)
    with pytest.raises(UnreadableImageError, match=r"train\.parquet/b"):
        lacking.content()
    parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "train.parquet")
    (other,) = found(tmp_path)
    assert "no column image" in other.problem
