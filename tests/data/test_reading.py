import shutil
import sys
import types
import zipfile
from pathlib import Path

import pytest

from busi_unet.data import reading
from busi_unet.data.reading import fetch
from busi_unet.errors import DataLayoutError, HubAccessError, UsageError


@pytest.fixture
def scratch(tmp_path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def refusal_of(archive: Path, scratch: Path) -> DataLayoutError:
    with pytest.raises(DataLayoutError) as caught:
        fetch(str(archive), scratch)
    assert caught.value.hint
    return caught.value


def test_a_folder_is_used_where_it_lies(phantom_root, scratch):
    assert fetch(str(phantom_root), scratch) == (phantom_root, "folder")
    assert list(scratch.iterdir()) == []


# --- Zip ---


def test_zip_with_a_symbolic_link_is_refused(scratch, tmp_path):
    link = zipfile.ZipInfo("benign/benign (1).png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as zip_file:
        zip_file.writestr(link, "/etc/hostname")
    problems = refusal_of(tmp_path / "link.zip", scratch).problems
    assert problems == ("benign/benign (1).png: is a symbolic link",)


@pytest.mark.parametrize(("limit", "value"), [("MAX_UNPACKED_BYTES", 10_000), ("MAX_UNPACKED_FILES", 0)])
def test_zip_that_would_fill_the_disk_is_refused_before_unpacking(
    limit, value, scratch, tmp_path, monkeypatch
):
    monkeypatch.setattr(reading, limit, value)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as zip_file:
        zip_file.writestr("benign/benign (1).png", bytes(20_000))
    assert "would unpack to" in refusal_of(tmp_path / "bomb.zip", scratch).message
    assert list(scratch.iterdir()) == []


def test_a_zip_with_a_damaged_entry_is_refused(phantom_root, scratch, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", phantom_root))
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as zip_file:
        entry = zip_file.getinfo("benign/benign (2).png")
    data[entry.header_offset + 200] ^= 0xFF
    archive.write_bytes(data)
    assert refusal_of(archive, scratch).problems[0].startswith("benign/benign (2).png: damaged")


# --- Kaggle and the Hub ---


def test_kaggle(phantom_root, scratch, monkeypatch, capsys):
    def download(handle):
        print("Downloading")
        assert handle == "aryashah2k/breast-ultrasound-images-dataset"
        return str(phantom_root)

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=download))
    assert fetch("kaggle", scratch) == (phantom_root, "kaggle")
    assert capsys.readouterr().out == "", "stdout belongs to the result"


def test_kaggle_out_of_reach_says_how_to_go_on(scratch, monkeypatch):
    def download(handle):
        raise ConnectionError("Max retries exceeded\nwith url")

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=download))
    with pytest.raises(HubAccessError, match="Max retries exceeded") as caught:
        fetch("kaggle", scratch)
    assert "by hand" in caught.value.hint


def test_only_what_a_data_set_consists_of_is_fetched_from_the_hub(hub, scratch):
    files = {"benign/benign (1).png": b"x", "README.md": b"y", "model.pkl": b"z"}
    hub.put("me/busi", files, repo_type="dataset")
    folder, kind = fetch("me/busi", scratch)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert (found, kind) == (files.keys() - {"model.pkl"}, "hub")


def test_a_mistyped_path_that_looks_like_a_hub_id(hub, scratch):
    with pytest.raises(HubAccessError) as caught:
        fetch("data/bsui", scratch)
    assert "There is no folder or zip called data/bsui either" in str(caught.value)


@pytest.mark.parametrize("source", ["nowhere", "./nowhere", "../nowhere/busi", "a/b/c"])
def test_what_is_no_hub_id_is_no_source(hub, scratch, source):
    with pytest.raises(UsageError, match="no folder or zip called"):
        fetch(source, scratch)
    assert hub.requests == []
