"""Several sources make one data set."""

import shutil

import pytest

from busi_unet.data.prepare import prepare
from busi_unet.data.prepared import leave_out, read_record, resplit, sources_of
from busi_unet.errors import UsageError
from busi_unet.publish.dataset import push_dataset


@pytest.fixture
def clinics(tmp_path, write_image, write_mask):
    """Two folders with equal file names, patients and folder names, and other images."""
    folders = []
    for place in ("north", "south"):
        folder = tmp_path / place / "clinic"
        for number in range(10):
            write_image(folder / "images" / f"{number}.png")
            write_mask(folder / "masks" / f"{number}.png")
        lines = [f"{number},benign,p{number // 2}" for number in range(10)]
        (folder / "labels.csv").write_text("\n".join(["image,label,patient", *lines]))
        folders.append(folder)
    return folders


@pytest.fixture
def both(clinics, tmp_path):
    return prepare(clinics, tmp_path / "both")


def table(data, *columns):
    return {
        tuple(values) for part in data.values() for values in zip(*(part[c] for c in columns), strict=True)
    }


def test_names_that_meet_are_told_apart(both):
    assert sources_of(both) == ["clinic", "clinic-2"]
    assert len({image_id for (image_id,) in table(both, "image_id")}) == 20
    assert ("clinic-2/3", "clinic-2", "clinic-2/p1") in table(both, "image_id", "source", "group")


def test_no_patient_is_in_two_splits_in_any_way_of_splitting(both):
    for data in (both, resplit(both, 3), leave_out(both, "clinic"), leave_out(both, "clinic-2")):
        split_of = {}
        for split, part in data.items():
            assert all(split_of.setdefault(group, split) == split for group in part["group"])
        assert sum(len(part) for part in data.values()) == 20


def test_leaving_one_source_out(both):
    data = leave_out(both, "clinic-2")
    assert set(data["test"]["source"]) == {"clinic-2"} and len(data["test"]) == 10
    assert set(data["train"]["source"]) == set(data["validation"]["source"]) == {"clinic"}
    assert set(data["validation"]["fold"]) == {1}
    with pytest.raises(UsageError, match="no source nowhere"):
        leave_out(both, "nowhere")
    with pytest.raises(UsageError, match="only source"):
        leave_out(both.filter(lambda row: row["source"] == "clinic"), "clinic")


def test_a_prepared_data_set_of_several_sources_is_a_source_itself(both, tmp_path):
    again = prepare(tmp_path / "both", tmp_path / "again")
    columns = ("image_id", "source", "group", "fold")
    assert table(again, *columns) == table(both, *columns)


def test_an_image_that_an_earlier_source_has_is_left_out(clinics, tmp_path):
    shutil.copy(clinics[0] / "images" / "0.png", clinics[1] / "images" / "0.png")
    data = prepare(clinics, tmp_path / "out")
    assert sum(len(part) for part in data.values()) == 19
    warnings = read_record(tmp_path / "out")["warnings"]
    assert any(text.startswith("clinic-2: left out") and "1 of the images" in text for text in warnings)


def test_several_sources_without_some_masks_and_classes_come_back_from_the_hub(hub, clinics, tmp_path):
    for name in ("0.png", "1.png"):
        (clinics[0] / "masks" / name).unlink()
    (clinics[1] / "labels.csv").unlink()
    sent = prepare(clinics, tmp_path / "sent")
    push_dataset(tmp_path / "sent", "me/data", command=["busi-unet", "prepare", "SOURCE"])
    back = prepare("me/data", tmp_path / "back")
    columns = ("image_id", "source", "group", "fold", "label")
    assert table(back, *columns) == table(sent, *columns)
    assert {label for (label,) in table(back, "label")} == {-1, 1}
    assert [row["image_id"] for part in back.values() for row in part if row["mask"] is None] == [
        row["image_id"] for part in sent.values() for row in part if row["mask"] is None
    ]
    assert sum(row["mask"] is None for part in back.values() for row in part) == 2
