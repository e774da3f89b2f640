from __future__ import annotations

import asyncio
import base64
import io
import json
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
    overlay, probabilities, report, findings = answer

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
    ]
    assert call["parameters"][0]["example_input"]["path"] == "image.png"


def test_the_api_takes_what_the_page_offers(client: Client, tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.dcm"
    clip = np.stack([make_phantom("benign", seed=seed, size=(70, 90)).image for seed in (1, 2)])
    path.write_bytes(dicom(clip, frames=2))

    overlay, _, report, _ = client.predict(
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
    with pytest.raises(AppError, match="no frame number 3"):
        client.predict(handle_file(path), clip_frame=3, api_name="/predict")
    with pytest.raises(AppError, match="The opacity is 7"):
        client.predict(handle_file(path), opacity=7, api_name="/predict")


def test_an_assistant_calls_it_as_a_tool(client: Client, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    Image.fromarray(make_phantom("benign", seed=1, size=(70, 90)).image).save(image)
    encoded = base64.b64encode(image.read_bytes()).decode()

    async def talk() -> tuple[list[Tool], CallToolResult]:
        async with (
            streamable_http_client(f"{client.src}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            return tools, await session.call_tool(
                tools[0].name, {"image": f"data:image/png;base64,{encoded}"}
            )

    tools, result = asyncio.run(talk())
    assert [tool.name for tool in tools] == ["predict", "predict_many"]
    described = tools[0].inputSchema["properties"]
    assert "not a medical device" in tools[0].description
    assert "in millimetres" in described["pixel_size_mm"]["description"]
    assert all(field.get("description") for field in described.values())
    assert not result.isError
    images = [part for part in result.content if part.type == "image"]
    sizes = [Image.open(io.BytesIO(base64.b64decode(part.data))).size for part in images]
    assert sizes == [(90, 70)]
    assert any("'lesion_area_px'" in part.text for part in result.content if part.type == "text")


def test_curl_needs_the_image_alone_and_leaves_nothing(demo: Page, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    Image.fromarray(make_phantom("benign", seed=1, size=(70, 90)).image).save(image)
    api = f"{demo.local_url}gradio_api"

    (path,) = httpx2.post(f"{api}/upload", files={"files": image.read_bytes()}).json()
    payload = {"image": {"path": path, "meta": {"_type": "gradio.FileData"}}}
    event = httpx2.post(f"{api}/call/v2/predict", json=payload).json()["event_id"]
    lines = httpx2.get(f"{api}/call/predict/{event}", timeout=60).text.splitlines()

    assert lines[0] == "event: complete"
    assert json.loads(lines[1].removeprefix("data: "))[2]["width"] == 90
    assert not demo.state_holder.session_data


def test_building_the_page_starts_nothing() -> None:
    threads = set(threading.enumerate())
    demo = build_page("someone/never-asked-for")

    assert demo.analytics_enabled is False
    assert set(threading.enumerate()) <= threads
    assert "not a medical device" in str(demo.config)
