import gradio as gr
import pytest
from fakes.dicom_files import dicom

from busi_unet.app import text
from busi_unet.app.batch import BatchHandlers
from busi_unet.app.model import LazyModel
from busi_unet.app.views import summarise_rows
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import UsageError


@pytest.fixture
def paths(tmp_path, monkeypatch) -> list[str]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    written = []
    for number, patient in enumerate("112"):
        path = tmp_path / f"{number}" / "image.dcm"
        path.parent.mkdir()
        pixels = make_phantom("benign", seed=number, size=(64, 90)).image
        path.write_bytes(dicom(pixels, PatientID=patient, StudyInstanceUID=f"1.{patient}"))
        written.append(str(path))
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    return [*written, str(bad)]


@pytest.fixture
def archive(paths, tiny_model) -> str:
    handlers = BatchHandlers(LazyModel(str(tiny_model)))
    return [*handlers.predict_many(paths, gr.Request(session_hash="visitor"))][-1].archive


@pytest.mark.parametrize("chosen", [[], None])
def test_without_a_choice_each_examination_is_one(paths, archive, chosen):
    shown, _ = summarise_rows(chosen, paths, archive, {})
    assert shown.count("verdict-words") == 2 and "Examination 2" in shown


def test_mixed_patients_too_few_rows_and_other_files_are_refused(paths, archive):
    with pytest.raises(UsageError, match=r"different patients.*image\.dcm; image-3\.dcm"):
        summarise_rows([1, 3], paths, archive, {})
    with pytest.raises(UsageError, match="not two images"):
        summarise_rows([1], paths, archive, {})
    with pytest.raises(UsageError, match=text.BATCH_CHANGED[0]):
        summarise_rows([1, 2], paths[::-1], archive, {})
