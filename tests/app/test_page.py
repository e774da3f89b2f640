from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
import pytest
from fakes.dicom_files import dicom
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, Tool
from PIL import Image

from busi_unet.app.analysis import Look, draw
from busi_unet.app.page import LAUNCH_OPTIONS, Page, build_page
from busi_unet.data.phantom import make_phantom
from busi_unet.inference.predictor import Predictor


@pytest.fixture
def demo(tiny_model: Path) -> Iterator[Page]:
    demo = build_page(str(tiny_model))
    demo.launch(**LAUNCH_OPTIONS, prevent_thread_lock=True, quiet=True)
    yield demo
    demo.close()


@pytest.fixture
def client(demo: Page, tmp_path: Path) -> Client:
    return Client(demo.local_url, verbose=False, download_files=tmp_path / "answers")


def test_the_api_takes_an_image_alone(client: Client, tiny_model: Path, tmp_path: Path) -> None:
    # 16 bits that do not fill their range: whoever opens this before the decoder changes it.
    path = tmp_path / "image.tiff"
    pixels = make_phantom("malignant", seed=2, size=(70, 130)).image
    Image.fromarray(pixels.astype(np.uint16) * 4).save(path)

    answer = client.predict(handle_file(path), api_name="/predict")
    overlay, probabilities, report, findings, mask, contours = answer

    expected = draw(Predictor.from_pretrained(tiny_model).predict(path), Look())
    with Image.open(overlay) as drawn:
        assert drawn.format == "PNG"
        assert drawn.size == (130, 70)
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(expected))
    assert {entry["label"] for entry in probabilities["confidences"]} == {"normal", "benign", "malignant"}
    assert probabilities["label"] == report["label"]
    assert report["probabilities"].keys() == {"normal", "benign", "malignant"}
    assert report["weights"]["kind"] == "folder"
    assert report["label"] in findings.lower()
    with Image.open(mask) as written:
        assert written.size == (130, 70)
        assert np.count_nonzero(written) == report["lesion_area_px"]
    assert len(contours) == len(report["measurements"])


def test_a_refused_image_has_neither_mask_nor_contours(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "blank.png"
    Image.new("L", (90, 70), 60).save(path)

    _, _, report, _, mask, contours = client.predict(handle_file(path), api_name="/predict")

    assert report["refused"] and report["reasons"]
    assert mask is contours is report["label"] is None


def test_the_api_has_one_call_per_tab(client: Client) -> None:
    api = client.view_api(return_format="dict")

    assert list(api["named_endpoints"]) == ["/predict", "/predict_many"]
    assert api["unnamed_endpoints"] == {}
    call = api["named_endpoints"]["/predict"]
    names = [
        "image",
        "clip_frame",
        "pixel_size_mm",
        "analyse_anyway",
        "view",
        "color",
        "opacity",
        "diameters",
        "threshold",
    ]
    assert [parameter["parameter_name"] for parameter in call["parameters"]] == names
    assert [parameter["parameter_has_default"] for parameter in call["parameters"]] == [False] + [True] * 8
    assert [value["component"] for value in call["returns"]] == [
        "Image",
        "Label",
        "Json",
        "Markdown",
        "Image",
        "Json",
    ]
    assert call["parameters"][0]["example_input"]["path"] == "image.png"


def test_the_api_takes_what_the_page_offers(client: Client, tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.dcm"
    clip = np.stack([make_phantom("benign", seed=seed, size=(70, 90)).image for seed in (1, 2)])
    path.write_bytes(dicom(clip, frames=2))

    overlay, _, report, *_ = client.predict(
        handle_file(path),
        clip_frame=2,
        pixel_size_mm=0.1,
        view="Lesion probability",
        opacity=0.6,
        threshold=0.4,
        api_name="/predict",
    )

    predictor = Predictor.from_pretrained(tiny_model)
    predicted = predictor.interpret(
        clip[1],
        *predictor.run([clip[1]]),
        spacing_mm=(0.1, 0.1),
        thresholds=replace(predictor.config.thresholds, mask=0.4),
    )
    expected = draw(predicted, Look("Lesion probability", opacity=0.6))
    with Image.open(overlay) as drawn:
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(expected))
    assert all(lesion["area_mm2"] is not None for lesion in report["measurements"])
    with pytest.raises(AppError, match="no frame 3"):
        client.predict(handle_file(path), clip_frame=3, api_name="/predict")
    with pytest.raises(AppError, match="The opacity is 7"):
        client.predict(handle_file(path), opacity=7, api_name="/predict")


def test_an_assistant_that_knows_only_the_tools_gets_a_mask(client: Client, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    Image.fromarray(make_phantom("benign", seed=1, size=(70, 90)).image).save(image)
    encoded = base64.b64encode(image.read_bytes()).decode()

    async def talk() -> tuple[Tool, CallToolResult]:
        async with (
            streamable_http_client(f"{client.src}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            (tool,) = (await session.list_tools()).tools
            (needed,) = tool.inputSchema["required"]
            told = tool.inputSchema["properties"][needed]["description"]
            start = re.search(r"data:image/png;base64,", told)[0]
            return tool, await session.call_tool(tool.name, {needed: start + encoded})

    tool, result = asyncio.run(talk())
    assert "not a medical device" in tool.description and "refused" in tool.description
    assert all(field.get("description") for field in tool.inputSchema["properties"].values())
    # In the order in which the description names what comes back.
    named = re.findall(r"(overlay|mask): ", tool.description)
    images = [part for part in result.content if part.type == "image"]
    shown = dict(
        zip(named, (Image.open(io.BytesIO(base64.b64decode(part.data))) for part in images), strict=True)
    )
    lesion = np.count_nonzero(shown["mask"])
    assert not result.isError
    assert shown["overlay"].size == shown["mask"].size == (90, 70)
    assert set(np.unique(shown["mask"])) <= {0, 255}
    assert any(f"'lesion_area_px': {lesion}" in part.text for part in result.content if part.type == "text")


def test_plain_http_needs_the_image_alone_and_leaves_nothing(demo: Page, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    Image.fromarray(make_phantom("benign", seed=1, size=(70, 90)).image).save(image)
    api = f"{demo.local_url}gradio_api"

    (path,) = httpx2.post(f"{api}/upload", files={"files": image.read_bytes()}).json()
    payload = {"image": {"path": path, "meta": {"_type": "gradio.FileData"}}, "pixel_size_mm": 0.1}
    event = httpx2.post(f"{api}/call/v2/predict", json=payload).json()["event_id"]
    lines = httpx2.get(f"{api}/call/v2/predict/{event}", timeout=60).text.splitlines()

    report = json.loads(lines[1].removeprefix("data: "))[2]
    assert lines[0] == "event: complete"
    assert not demo.state_holder.session_data
    assert (report["width"], report["pixel_size_from"]) == (90, "typed")


def test_building_the_page_starts_nothing() -> None:
    threads = set(threading.enumerate())
    demo = build_page("someone/never-asked-for")

    assert demo.analytics_enabled is False
    assert set(threading.enumerate()) <= threads
    assert "not a medical device" in str(demo.config)
