from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from busi_unet.data.phantom import make_phantom
from busi_unet.imaging.decode import decode_image
from busi_unet.interface.page import LAUNCH_OPTIONS, build_page

# Gradio's queue uses a pandas option that newer pandas calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio.queueing")


@pytest.fixture
def client(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    demo = build_page(str(tiny_bundle))
    _, url, _ = demo.launch(**LAUNCH_OPTIONS, prevent_thread_lock=True, quiet=True)
    try:
        yield Client(url, verbose=False, download_files=tmp_path / "answers")
    finally:
        demo.close()


def test_the_api_takes_a_picture_alone(client: Client, tmp_path: Path) -> None:
    # 16 bits that do not fill their range: whoever opens this before the decoder changes it.
    path = tmp_path / "picture.tiff"
    pixels = make_phantom("malignant", seed=2, size=(70, 130)).image
    Image.fromarray(pixels.astype(np.uint16) * 4).save(path)

    overlay, probabilities, report, findings, original = client.predict(
        handle_file(path), api_name="/predict"
    )

    with Image.open(original) as decoded, Image.open(overlay) as drawn:
        assert decoded.format == drawn.format == "PNG"
        np.testing.assert_array_equal(np.asarray(decoded), decode_image(path))
        assert drawn.size == decoded.size == (130, 70)
    assert {entry["label"] for entry in probabilities["confidences"]} == {"normal", "benign", "malignant"}
    assert probabilities["label"] == report["label"]
    assert report["probabilities"].keys() == {"normal", "benign", "malignant"}
    assert report["weights"]["kind"] == "folder"
    assert report["label"] in findings


def test_a_bad_file_is_one_sentence_and_the_app_goes_on(client: Client, tmp_path: Path) -> None:
    bad, good = tmp_path / "text.png", tmp_path / "good.png"
    bad.write_text("no picture", encoding="utf-8")
    Image.fromarray(make_phantom("normal", seed=0, size=(64, 64)).image).save(good)

    with pytest.raises(AppError, match=r"^The file is not a picture that can be read\. Use a PNG, JPEG"):
        client.predict(handle_file(bad), api_name="/predict")

    assert client.predict(handle_file(good), api_name="/predict")[2]["width"] == 64


def test_the_api_has_one_call_per_tab(client: Client) -> None:
    api = client.view_api(return_format="dict")

    assert list(api["named_endpoints"]) == ["/predict", "/predict_many"]
    assert api["unnamed_endpoints"] == {}
    call = api["named_endpoints"]["/predict"]
    assert [parameter["parameter_name"] for parameter in call["parameters"]] == ["picture"]
    assert [value["component"] for value in call["returns"]] == [
        "Image",
        "Label",
        "Json",
        "Markdown",
        "Image",
    ]
    assert call["parameters"][0]["example_input"]["path"] == "picture.png"


def test_building_the_page_starts_nothing() -> None:
    threads = set(threading.enumerate())
    demo = build_page("someone/never-asked-for")

    assert demo.analytics_enabled is False
    assert set(threading.enumerate()) <= threads
    assert "not a medical device" in json.dumps(demo.config)


def test_the_theme_asks_no_other_host_for_fonts() -> None:
    theme = LAUNCH_OPTIONS["theme"]

    assert theme._stylesheets == []
    assert theme._font_css == []
