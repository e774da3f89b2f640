import sys
import types
import zipfile

import pytest

from busi_unet.data.reading import fetch
from busi_unet.errors import DataLayoutError, HubAccessError, UsageError

# --- Zip ---


def test_zip_with_a_symbolic_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("benign/benign (1).png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as zip_file:
        zip_file.writestr(link, "/etc/hostname")
    with pytest.raises(DataLayoutError) as caught:
        fetch(str(tmp_path / "link.zip"), tmp_path)
    assert caught.value.problems == ("benign/benign (1).png: is a symbolic link",)


# --- Kaggle and the Hub ---


def test_kaggle(phantom_root, tmp_path, monkeypatch, capsys):
    def download(handle):
        print("Downloading")
        assert handle == "aryashah2k/breast-ultrasound-images-dataset"
        return str(phantom_root)

    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(dataset_download=download))
    assert fetch("kaggle", tmp_path) == phantom_root
    assert capsys.readouterr().out == "", "stdout belongs to the result"


def test_only_what_a_data_set_consists_of_is_fetched_from_the_hub(hub, tmp_path):
    files = {"benign/benign (1).png": b"x", "README.md": b"y", "model.pkl": b"z"}
    hub.put("me/busi", files, repo_type="dataset")
    folder = fetch("me/busi", tmp_path)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == files.keys() - {"model.pkl"}


def test_a_mistyped_path_that_looks_like_a_hub_id(hub, tmp_path):
    with pytest.raises(HubAccessError) as caught:
        fetch("data/bsui", tmp_path)
    assert "There is no folder or zip called data/bsui either" in str(caught.value)


@pytest.mark.parametrize("source", ["nowhere", "./nowhere", "../nowhere/busi", "a/b/c"])
def test_what_is_no_hub_id_is_no_source(hub, tmp_path, source):
    with pytest.raises(UsageError, match="no folder or zip called"):
        fetch(source, tmp_path)
    assert hub.requests == []
