import pytest
from huggingface_hub import DatasetCard

from busi_unet.data.prepare import prepare
from busi_unet.data.prepared import COLUMNS, load_prepared, split_hash
from busi_unet.data.readers import citation_of
from busi_unet.errors import UsageError
from busi_unet.publish.dataset import build_dataset_folder, push_dataset

datasets = pytest.importorskip("datasets")

COMMAND = ["prepare", "SOURCE"]
FILES = {"README.md"} | {f"data/{split}-00000-of-00001.parquet" for split in ("train", "validation", "test")}


def as_rows(data):
    return {
        (split, *(row[name] for name in ("image_id", "label", "source", "group", "fold"))): (
            row["image"].tobytes(),
            row["mask"].tobytes(),
        )
        for split in data
        for row in data[split]
    }


def test_load_dataset_reads_it_back(prepared, tmp_path):
    folder = build_dataset_folder(prepared, tmp_path / "out", repo_id="me/data")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == FILES
    read = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    ours = load_prepared(prepared)
    assert read["train"].features == ours["train"].features
    assert as_rows(read) == as_rows(ours)


def test_several_sources_are_published_private_and_pulled_as_they_are(hub, prepared, tmp_path):
    ours = load_prepared(prepared)
    for split in ours:
        names = ["busbra" if n % 2 else "breast" for n in range(len(ours[split]))]
        ours[split] = ours[split].remove_columns("source").add_column("source", names)
        ours[split] = ours[split].select_columns(list(COLUMNS))
    ours.save_to_disk(tmp_path / "several")

    push_dataset(tmp_path / "several", "me/data", command=COMMAND)
    assert hub.repo("me/data", repo_type="dataset").private
    card = DatasetCard(hub.files("me/data", repo_type="dataset")["README.md"].decode())
    assert card.data.license == "cc-by-4.0"
    for source in ("busbra", "breast"):
        assert citation_of(source).citation in card.text
    back = prepare("me/data", tmp_path / "back")
    assert split_hash(back) == split_hash(ours)
    assert as_rows(back) == as_rows(ours)


def test_public_where_told(hub, prepared):
    push_dataset(prepared, "me/data", command=COMMAND, public=True)
    assert not hub.repo("me/data", repo_type="dataset").private
    with pytest.raises(UsageError, match="is public, not private") as refused:
        push_dataset(prepared, "me/data", command=COMMAND)
    assert "resume" not in str(refused.value), "it would be refused again"
