import pytest
from huggingface_hub import DatasetCard

from busi_unet.config import CLASS_NAMES
from busi_unet.data.busi import load_prepared, prepare, split_hash
from busi_unet.errors import DataLayoutError, HubAccessError, UsageError
from busi_unet.publish.dataset import build_dataset_folder, push_dataset
from busi_unet.publish.folder import list_files

datasets = pytest.importorskip("datasets")

COMMAND = ["busi-unet", "prepare", "SOURCE"]
FILES = {"README.md"} | {f"data/{split}-00000-of-00001.parquet" for split in ("train", "validation", "test")}


def as_rows(data):
    return {
        (split, row["image_id"], row["label"], row["group"], row["fold"]): (
            row["image"].tobytes(),
            row["mask"].tobytes(),
        )
        for split in data
        for row in data[split]
    }


def test_load_dataset_reads_it_back(prepared, tmp_path):
    folder = build_dataset_folder(prepared, tmp_path / "out", repo_id="me/data")
    assert {file["path"] for file in list_files(folder)} == FILES
    read = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    ours = load_prepared(prepared)
    assert read["train"].features == ours["train"].features
    assert as_rows(read) == as_rows(ours)


def test_the_card_counts_and_warns(prepared, tmp_path):
    folder = build_dataset_folder(prepared, tmp_path / "out", repo_id="me/data")
    card = DatasetCard.load(folder / "README.md")
    ours = load_prepared(prepared)
    assert card.data.license == "unknown"
    assert card.data.size_categories == "n<1K"
    assert [entry["split"] for entry in card.data.configs[0]["data_files"]] == ["train", "validation", "test"]
    assert "**The licence is not clear.**" in card.text
    assert "Al-Dhabyani" in card.text
    assert split_hash(ours) in card.text
    counts = [sum(label == index for label in ours["test"]["label"]) for index in range(len(CLASS_NAMES))]
    groups = len(set(ours["test"]["group"]))
    row = " | ".join(map(str, (len(ours["test"]), groups, *counts)))
    assert f"| test | {row} |" in card.text


def test_it_comes_back_from_the_hub_as_it_was(hub, prepared, tmp_path):
    push_dataset(prepared, "me/data", command=COMMAND)
    assert hub.repo("me/data", repo_type="dataset").private
    assert hub.files("me/data", repo_type="dataset").keys() >= FILES
    back = prepare("me/data", tmp_path / "back", progress=False)
    assert split_hash(back) == split_hash(load_prepared(prepared))
    assert as_rows(back) == as_rows(load_prepared(prepared))


def test_public_only_when_told(hub, prepared):
    push_dataset(prepared, "me/data", command=COMMAND, public=True)
    assert not hub.repo("me/data", repo_type="dataset").private


def test_private_data_never_go_to_a_public_repository(hub, prepared):
    hub.put("me/data", {"README.md": b"public"}, repo_type="dataset")
    with pytest.raises(UsageError, match="exists and is public, not private; nothing was sent"):
        push_dataset(prepared, "me/data", command=COMMAND)
    assert set(hub.files("me/data", repo_type="dataset")) <= {"README.md", ".gitattributes"}


def test_a_failed_push_says_where_the_data_are_and_how_to_resume(hub, prepared):
    hub.login(None)
    with pytest.raises(HubAccessError) as caught:
        push_dataset(prepared, "me/data", command=COMMAND)
    assert f"The data set is intact in {prepared}." in str(caught.value)
    assert str(caught.value).endswith("Then resume with: busi-unet prepare SOURCE")


def test_not_a_prepared_data_set(tmp_path):
    with pytest.raises(DataLayoutError, match="is not a prepared data set"):
        build_dataset_folder(tmp_path, tmp_path / "out", repo_id="me/data")
