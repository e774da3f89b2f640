import sys
import types
import zipfile
from pathlib import Path

import pytest

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


# --- Zip ---


def test_zip_with_a_symbolic_link_is_refused(scratch, tmp_path):
    link = zipfile.ZipInfo("benign/benign (1).png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as zip_file:
        zip_file.writestr(link, "/etc/hostname")
    problems = refusal_of(tmp_path / "link.zip", scratch).problems
    assert problems == ("benign/benign (1).png: is a symbolic link",)


# --- Kaggle and the Hub ---


def test_kaggle(phantom_root, scratch, monkeypatch, capsys):
    def download(handle):
        print("Downloading")
        assert handle == "aryashah2k/breast-ultrasound-images-dataset"
        return str(phantom_root)

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=download))
    assert fetch("kaggle", scratch) == phantom_root
    assert capsys.readouterr().out == "", "stdout belongs to the result"


def test_only_what_a_data_set_consists_of_is_fetched_from_the_hub(hub, scratch):
    files = {"benign/benign (1).png": b"x", "README.md": b"y", "model.pkl": b"z"}
    hub.put("me/busi", files, repo_type="dataset")
    folder = fetch("me/busi", scratch)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == files.keys() - {"model.pkl"}


def test_a_mistyped_path_that_looks_like_a_hub_id(hub, scratch):
    with pytest.raises(HubAccessError) as caught:
        fetch("data/bsui", scratch)
    assert "There is no folder or zip called data/bsui either" in str(caught.value)


@pytest.mark.parametrize("source", ["nowhere", "./nowhere", "../nowhere/busi", "a/b/c"])
def test_what_is_no_hub_id_is_no_source(hub, scratch, source):
    with pytest.raises(UsageError, match="no folder or zip called"):
        fetch(source, scratch)
    assert hub.requests == []
