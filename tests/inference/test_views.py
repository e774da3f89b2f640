import numpy as np
import pytest
from fakes.dicom_files import dicom

from busi_unet.errors import UsageError
from busi_unet.imaging.measure import measure_lesions
from busi_unet.inference.views import (
    check_one_patient,
    describe_views,
    group_by_dicom,
    group_by_folder,
    group_by_table,
    summarise_views,
)

PIXELS = np.full((20, 24), 90, dtype=np.uint8)


def view(label="benign", malignant=0.1, *, size=10, spacing=None, flagged=False, frames=1) -> dict:
    mask = np.zeros((64, 64), dtype=bool)
    mask[5 : 5 + size, 5 : 5 + size] = True
    lesions = [lesion.to_dict() for lesion in measure_lesions(mask, spacing_mm=spacing)]
    shares = {"normal": 0.1, "benign": 0.9 - malignant, "malignant": malignant}
    told = {"label": label, "probabilities": shares, "flagged": flagged, "measurements": lesions}
    return {**told, "frame": 1, "frames": frames, "error": None}


REFUSED = {**view(), "label": None, "probabilities": None, "flagged": None, "measurements": None}
MM = (0.1, 0.1)


@pytest.fixture
def write(tmp_path):
    def write(name, **tags):
        path = tmp_path / name
        path.write_bytes(dicom(PIXELS, **tags))
        return path

    return write


def test_the_highest_probability_and_the_largest_sizes_come_with_their_images():
    views = {
        "a": view(size=20, spacing=MM),
        "b": view("malignant", 0.7, size=12, spacing=MM, flagged=True),
        "c": REFUSED,
    }
    told = summarise_views(views, name="left")
    assert (told["p_malignant"], told["p_malignant_image"], told["flagged"]) == (0.7, "b", True)
    assert (told["area"], told["area_image"], told["unit"]) == (4.0, "a", "mm")
    assert (told["longest_diameter"], told["longest_diameter_image"]) == (pytest.approx(2.83), "a")
    assert (told["labels"], told["agree"]) == ({"a": "benign", "b": "malignant"}, False)
    assert told["not_analysed"] == ["c"]
    line = " ".join(describe_views(told))
    assert "70\u00a0% (b), flagged" in line and "The images disagree: 1 benign, 1 malignant" in line


def test_sizes_without_millimetres_are_never_compared_with_those_that_have_them():
    told = summarise_views({"a": view(size=40), "b": view(size=10, spacing=MM)})
    assert (told["area_image"], told["unit"]) == ("b", "mm")
    assert any(remark.endswith(": a.") for remark in told["remarks"])
    assert any("pixels" in remark for remark in summarise_views({"a": view(), "b": view()})["remarks"])


def test_nothing_analysed_gives_no_values():
    told = summarise_views({"a": REFUSED, "b": {"error": "b is empty.", "label": None}})
    for name in ("p_malignant", "flagged", "agree", "area", "unit"):
        assert told[name] is None, name
    assert describe_views(told)[-1] == "Not analysed: a, b."
    with pytest.raises(UsageError):
        summarise_views({})


@pytest.mark.parametrize(
    "other",
    [{"PatientID": "4712"}, {"PatientName": "Roe^Ann"}, {"PatientBirthDate": "19700101"}],
    ids=lambda tags: next(iter(tags)),
)
def test_images_of_different_patients_are_refused_by_their_files_names(write, other):
    born = {"PatientBirthDate": "19600101"}
    files = {"a": write("a.dcm", **born), "b": write("b.dcm", **{**born, **other})}
    with pytest.raises(UsageError, match="a; b") as raised:
        summarise_views({"a": view(), "b": view()}, files=files)
    assert "Doe" not in str(raised.value) and "4711" not in str(raised.value)


def test_what_the_files_leave_open_is_remarked_on(write, tmp_path):
    (tmp_path / "c.png").write_bytes(b"")
    one = {"a": write("a.dcm", StudyInstanceUID="1.2"), "b": write("b.dcm", PatientName="doe^JANE^^^")}
    assert check_one_patient(one) == [], "b tells no examination, which may be that of a"
    two = {**one, "c": write("c.dcm", StudyInstanceUID="1.3")}
    assert check_one_patient(two) == ["The images are of more than one examination."]
    (remark,) = check_one_patient({"a": one["a"], "c": tmp_path / "c.png"})
    assert "not checked" in remark


def test_dicom_files_are_grouped_by_patient_and_examination_and_no_others(write, tmp_path):
    (tmp_path / "x_1.png").write_bytes(b"")
    files = {
        "a": write("a", StudyInstanceUID="1.2"),
        "b": write("b", StudyInstanceUID="1.3"),
        "c": write("c", StudyInstanceUID="1.2"),
        "d": write("d", StudyInstanceUID="1.2", PatientID="9"),
        "e": write("e", StudyInstanceUID="1.2", PatientID=""),
        "x_1.png": tmp_path / "x_1.png",
    }
    groups = group_by_dicom(files)
    assert list(groups.values()) == [["a", "c"], ["b"], ["d"]]


def test_folders_and_tables_group_too(tmp_path):
    files = dict.fromkeys(("in/1/a.png", "in/1/b.png", "in/2/a.png"), tmp_path)
    assert group_by_folder(files) == {"in/1": ["in/1/a.png", "in/1/b.png"], "in/2": ["in/2/a.png"]}
    table = tmp_path / "t.csv"
    table.write_text("\ufeffimage,lesion\nb.png,L1\nin/2/a.png,L1\nin/1/a.png,\nz.png,L2\n", encoding="utf-8")
    assert group_by_table(files, table, "lesion") == {"L1": ["in/1/b.png", "in/2/a.png"]}
    with pytest.raises(UsageError, match="no column side"):
        group_by_table(files, table, "side")
    with pytest.raises(UsageError, match="groups none"):
        group_by_table({"q.png": tmp_path}, table, "lesion")
    table.write_text("image,lesion\na.png,L1\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"in/1/a\.png, in/2/a\.png"):
        group_by_table(files, table, "lesion")
