import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import FoldRow, pixel_hash, read_published_folds
from busi_unet.data.prepare import prepare
from busi_unet.data.prepared import load_prepared, read_record, resplit, split_hash, summarise
from busi_unet.errors import DataLayoutError, UsageError
from busi_unet.io.decode import decode_image

datasets = pytest.importorskip("datasets")


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L"))


@pytest.fixture(scope="module")
def source(phantom_root, tmp_path_factory) -> Path:
    """Phantoms as BUSI comes: below another folder, with a second mask file, RGB images and two copies."""
    base = tmp_path_factory.mktemp("source") / "archive" / "Dataset_BUSI_with_GT"
    shutil.copytree(phantom_root, base)
    second = np.zeros((128, 160), np.uint8)
    second[100:110, 5:25] = 255
    Image.fromarray(second).save(base / "benign" / "benign (1)_mask_1.png")
    image = Image.open(base / "benign" / "benign (2).png")
    image.convert("RGB").save(base / "benign" / "benign (2).png")
    for name in ("benign (9)", "benign (10)"):
        Image.fromarray(pixels(base / "benign" / "benign (3).png")).save(base / "benign" / f"{name}.png")
        shutil.copy(base / "benign" / "benign (3)_mask.png", base / "benign" / f"{name}_mask.png")
    return base.parents[1]


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("prepared") / "deep" / "busi"
    prepare(source, output)
    return output


def problems_of(source: Path, tmp_path: Path) -> list[str]:
    """What `prepare` finds wrong, after checking that it wrote nothing at all."""
    folder = tmp_path / "out"
    with pytest.raises(DataLayoutError) as caught:
        prepare(source, folder / "busi")
    assert not folder.exists() or list(folder.iterdir()) == []
    assert caught.value.hint
    return list(caught.value.problems)


# --- What is written ---


def test_columns_types_and_pixels(source, prepared):
    dataset = load_prepared(prepared)
    assert list(dataset) == ["train", "validation", "test"]
    for part in dataset.values():
        assert list(part.features) == ["image", "mask", "label", "image_id", "source", "group", "fold"]
        assert set(part["source"]) == {"Dataset_BUSI_with_GT"}
        assert part.features["label"].names == list(CLASS_NAMES)
        assert part.features["fold"].dtype == "int8"
    base = source / "archive" / "Dataset_BUSI_with_GT"
    rows = {row["image_id"]: row for part in dataset.values() for row in part}
    assert len(rows) == 26
    for image_id, row in rows.items():
        assert (row["image"].format, row["image"].mode, row["mask"].mode) == ("PNG", "L", "L")
        folder = base / CLASS_NAMES[row["label"]]
        assert np.array_equal(np.asarray(row["image"]), pixels(folder / f"{image_id}.png"))
        # The first benign image has two.
        masks = [pixels(path) for path in folder.glob(f"{image_id}_mask*.png")]
        assert np.array_equal(np.asarray(row["mask"]), np.maximum.reduce(masks))


def test_folds_make_the_splits_and_copies_stay_together(prepared):
    dataset = load_prepared(prepared)
    assert [set(dataset[split]["fold"]) for split in dataset] == [{2, 3, 4}, {1}, {0}]
    place = {
        image_id: (split, group)
        for split, part in dataset.items()
        for image_id, group in zip(part["image_id"], part["group"], strict=True)
    }
    assert place["benign (3)"] == place["benign (9)"] == place["benign (10)"]
    assert place["benign (3)"][1] == "benign (3)"
    summary = summarise(dataset)
    assert summary["classes"] == {"normal": 8, "benign": 10, "malignant": 8}
    assert sum(part["images"] for part in summary["splits"].values()) == summary["images"] == 26
    assert 0 < summary["random_split_leak"] < 1


def test_ignoring_copies_deals_image_by_image(source, prepared, tmp_path):
    leaky = prepare(source, tmp_path / "leaky", ignore_copies=True)
    rows = [row for part in leaky.values() for row in part]
    assert len(rows) == 26
    assert all(row["group"] == row["image_id"] for row in rows)
    fold_of = {row["image_id"]: row["fold"] for row in rows}
    # Three copies: together among the folds that mind them, apart here.
    assert len({fold_of[image_id] for image_id in ("benign (3)", "benign (9)", "benign (10)")}) > 1
    assert read_record(tmp_path / "leaky")["folds_from"] == "image by image"
    again = prepare(prepared, tmp_path / "again", ignore_copies=True)
    assert {row["image_id"]: row["fold"] for part in again.values() for row in part} == fold_of
    with pytest.raises(DataLayoutError, match="leaky was split image by image"):
        prepare(tmp_path / "leaky", tmp_path / "washed")


def test_splitting_again(prepared):
    dataset = load_prepared(prepared)
    rotated = resplit(dataset, 3)
    assert [set(rotated[split]["fold"]) for split in rotated] == [{0, 1, 2}, {4}, {3}]
    assert split_hash(rotated) != split_hash(dataset) == split_hash(resplit(rotated, 0))
    for split in dataset:
        assert resplit(rotated, 0)[split]["image_id"] == dataset[split]["image_id"]
    with pytest.raises(UsageError, match="no fold 5"):
        resplit(dataset, 5)


def test_images_with_published_folds_get_those(phantom_root, tmp_path, monkeypatch, scan):
    cases = scan(phantom_root).cases
    rows = [
        FoldRow(f"{n}", "", f"group {n}", n % 5, pixel_hash(decode_image(case.image)))
        for n, case in enumerate(cases)
    ]
    monkeypatch.setattr("busi_unet.data.prepare.read_published_folds", lambda name: rows)
    dataset = prepare(phantom_root, tmp_path / "out")
    assert read_record(tmp_path / "out")["folds_from"] == "published"
    fold_of = {i: f for part in dataset.values() for i, f in zip(part["image_id"], part["fold"], strict=True)}
    assert fold_of == {case.image_id: n % 5 for n, case in enumerate(cases)}
    assert set(dataset["test"]["source"]) == {"busi"}
    # One that is not listed: all folds are computed, which is told.
    rows[0] = rows[0]._replace(pixel_sha256="")
    prepare(phantom_root, tmp_path / "other")
    assert read_record(tmp_path / "other")["folds_from"] == "computed"
    assert any("published folds" in warning for warning in read_record(tmp_path / "other")["warnings"])


def test_summary_names_groups_that_cross_classes(prepared):
    dataset = load_prepared(prepared)
    relabelled = datasets.DatasetDict(
        {
            split: part.map(lambda row: {"label": 2 if row["image_id"] == "benign (10)" else row["label"]})
            for split, part in dataset.items()
        }
    )
    conflicts = summarise(relabelled)["cross_class_groups"]
    crossing = next(conflict for conflict in conflicts if conflict["group"] == "benign (3)")
    assert crossing["images"]["malignant"] == ["benign (10)"]
    assert {"benign (3)", "benign (9)"} <= set(crossing["images"]["benign"])


# --- Bad input ---


def test_every_problem_is_listed_at_once_by_file(broken, tmp_path):
    benign, malignant, normal = (broken / label for label in ("benign", "malignant", "normal"))
    (benign / "benign (1)_mask.png").unlink()
    lesion = Image.new("L", (4, 4), 255)
    small, marked = Image.new("L", (20, 30)), Image.new("L", (160, 128))
    small.paste(lesion, (5, 5))
    small.save(benign / "benign (2)_mask.png")
    (benign / "benign (3).png").write_bytes((benign / "benign (3).png").read_bytes()[:500])
    (malignant / "malignant (1).png").write_bytes(b"")
    (malignant / "malignant (2)_mask.png").write_text("no image")
    Image.new("L", (160, 128), 0).save(malignant / "malignant (3)_mask.png")
    (malignant / "malignant (4).png").unlink()
    marked.paste(lesion, (5, 5))
    marked.save(normal / "normal (1)_mask.png")
    shutil.copy(normal / "normal (2).png", normal / "normal (2).bmp")
    shutil.copytree(normal, broken / "cystic")
    found = problems_of(broken, tmp_path)
    expected = {
        "benign/benign (1).png": "has no mask",
        "benign/benign (2)_mask.png": "20×30",
        "benign/benign (3).png": "damaged or cut short",
        "malignant/malignant (1).png": "is empty",
        "malignant/malignant (2)_mask.png": "not an image",
        "malignant/malignant (3)_mask.png": "is empty",
        "malignant/malignant (4)_mask.png": "without an image",
        "normal/normal (1)_mask.png": "marks a lesion in a normal image",
        "normal/normal (2).png": "same name",
        "cystic/": "unknown folder with",
    }
    for name, text in expected.items():
        assert [line for line in found if line.startswith(name) and text in line], (name, found)
    assert len(found) == len(expected)


def test_oddities_are_let_pass_with_a_warning(broken, tmp_path):
    (broken / "README.txt").write_text("about")
    (broken / "benign" / "notes.csv").write_text("1,2")
    (broken / "benign" / ".DS_Store").write_text("")
    (broken / "normal" / "normal (1)_mask.png").unlink()
    for number in (1, 2):
        path = broken / "benign" / f"benign ({number}).png"
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 16).save(path)
    dataset = prepare(broken, tmp_path / "out")
    assert sum(len(part) for part in dataset.values()) == 24
    *warnings, remark = read_record(tmp_path / "out")["warnings"]
    assert remark.startswith("2 images: All values fit into 12 bits") and "(benign/benign (1).png" in remark
    assert [warning.split(":")[0] for warning in warnings] == ["README.txt", "normal/", "benign/notes.csv"]
    empty = [row for part in dataset.values() for row in part if row["image_id"] == "normal (1)"]
    assert not np.asarray(empty[0]["mask"]).any()


# --- The output ---


def test_an_existing_output_is_replaced_only_on_request(prepared, broken, tmp_path):
    output = shutil.copytree(prepared, tmp_path / "busi")
    with pytest.raises(UsageError, match="exists") as caught:
        prepare(broken, output)
    assert "--overwrite" in caught.value.hint
    (broken / "benign" / "benign (1)_mask.png").unlink()
    with pytest.raises(DataLayoutError):
        prepare(broken, output, overwrite=True)
    assert sum(len(part) for part in load_prepared(output).values()) == 26, (
        "a failed run must keep the old one"
    )
    prepare(prepared, output, overwrite=True)
    assert read_record(output)["folds_from"] == "prepared"
    assert {path.name for path in tmp_path.iterdir()} == {"busi", "broken"}


def test_a_folder_of_something_else_is_never_replaced(phantom_root, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not a prepared data set"):
        prepare(phantom_root, tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


@pytest.mark.parametrize("place", [".", "prepared", ".."])
def test_output_and_source_must_not_lie_inside_each_other(broken, place):
    with pytest.raises(UsageError, match="inside each other"):
        prepare(broken, broken / place, overwrite=True)


# --- Zip ---


def test_zip_gives_what_its_folder_gives(phantom_root, tmp_path):
    root, folder = phantom_root.parent, phantom_root.name
    archive = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", root, folder))
    with zipfile.ZipFile(archive, "a") as zip_file:
        zip_file.writestr("__MACOSX/benign/._benign (1).png", b"resource fork")
    zipped = prepare(archive, tmp_path / "zipped")
    # A folder that holds nothing but the zip, as a download often is.
    (tmp_path / "download").mkdir()
    archive.rename(tmp_path / "download" / "archive.zip")
    nested = prepare(tmp_path / "download", tmp_path / "nested")
    for split in zipped:
        assert zipped[split].to_dict() == nested[split].to_dict()
    assert sum(len(part) for part in zipped.values()) == 24


# --- Loading ---


@pytest.mark.parametrize("column", ["label", "image"])
def test_columns_with_gaps_are_named(prepared, tmp_path, column):
    dataset = load_prepared(prepared)
    part = dataset["validation"]
    gap = part[0]["image_id"]
    dataset["validation"] = part.map(
        lambda row: {column: None if row["image_id"] == gap else row[column]}, features=part.features
    )
    dataset.save_to_disk(tmp_path / "gap")
    with pytest.raises(DataLayoutError, match="cannot be used") as caught:
        load_prepared(tmp_path / "gap")
    assert caught.value.problems == (f"validation: the column {column} has empty cells",)
    dataset["validation"].to_parquet(tmp_path / "pushed" / "validation-00000-of-00001.parquet")
    assert problems_of(tmp_path / "pushed", tmp_path) == [f"validation: the column {column} has empty cells"]


def test_folds_that_divide_a_group_or_are_in_two_splits_are_refused(prepared, tmp_path):
    dataset = load_prepared(prepared)
    dataset["test"] = dataset["test"].map(
        lambda row: {"fold": 2 if row["image_id"] == "benign (9)" else row["fold"]},
        features=dataset["test"].features,
    )
    dataset.save_to_disk(tmp_path / "tampered")
    (tmp_path / "pushed").mkdir()
    for split, part in dataset.items():
        shifted = part.map(lambda row: {"fold": row["fold"] + 3}, features=part.features)
        shifted.to_parquet(tmp_path / "pushed" / f"{split}-00000-of-00001.parquet")
    pushed = problems_of(tmp_path / "pushed", tmp_path)
    assert any("fold 5 is not one of 0 to 4" in problem for problem in pushed)
    assert any(problem.startswith("group benign (3): in fold 3 and 5") for problem in pushed)
    with pytest.raises(DataLayoutError) as caught:
        load_prepared(tmp_path / "tampered")
    assert [problem.partition(",")[0] for problem in caught.value.problems] == [
        "test: fold 2 of Dataset_BUSI_with_GT is also in train",
        "group benign (3): in fold 0 and 2",
    ]


@pytest.mark.busi
def test_real_images_get_their_published_folds(busi_root, tmp_path):
    for name in CLASS_NAMES:
        (tmp_path / "sample" / name).mkdir(parents=True)
        for number in range(1, 13):
            for path in (busi_root / name).glob(f"{name} ({number})*.png"):
                shutil.copy(path, tmp_path / "sample" / name)
    dataset = prepare(tmp_path / "sample", tmp_path / "busi")
    assert read_record(tmp_path / "busi")["folds_from"] == "published"
    fold_of = {row.image_id: row.fold for row in read_published_folds("busi")}
    assert sum(map(len, dataset.values())) == 36
    assert all(row["fold"] == fold_of[row["image_id"]] for part in dataset.values() for row in part)
