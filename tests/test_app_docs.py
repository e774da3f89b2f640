"""The snippets of docs/app.md run as they stand, against an app that is running."""

import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from busi_unet.app.page import LAUNCH_OPTIONS, build_page
from busi_unet.data.phantom import make_phantom

# Gradio's queue uses a pandas option that newer pandas calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio.queueing")

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "docs" / "app.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:7860"


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the files that the snippets name."""
    folder = tmp_path_factory.mktemp("snippets")
    Image.fromarray(make_phantom("benign", seed=1, size=(72, 96)).image).save(folder / "image.png")
    with zipfile.ZipFile(folder / "study.zip", "w") as zip_file:
        zip_file.write(folder / "image.png", "a/one.png")
    return folder


@pytest.fixture(scope="module")
def address(one_tiny_model) -> Iterator[str]:
    demo = build_page(str(one_tiny_model))
    _, url, _ = demo.launch(**LAUNCH_OPTIONS, prevent_thread_lock=True, quiet=True)
    yield url.rstrip("/")
    demo.close()


@pytest.mark.parametrize(("name", "printed"), [("predict", r"\w+ \d+$"), ("predict_many", r".+\.zip 2$")])
def test_the_python_snippets_run(name, printed, address, folder, monkeypatch, capsys):
    (snippet,) = (snippet for snippet in snippets("python") if f'"/{name}"' in snippet)
    monkeypatch.chdir(folder)
    exec(compile(snippet.replace(ADDRESS, address), name, "exec"), {})
    assert re.match(printed, capsys.readouterr().out.splitlines()[-1])


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("sh"), reason="needs curl and sh")
def test_the_curl_snippet_runs(address, folder):
    (snippet,) = (snippet for snippet in snippets("sh") if "/call/v2/predict/" in snippet)
    result = subprocess.run(
        ["sh", "-c", snippet.replace(ADDRESS, address)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "event: complete" in result.stdout, result.stdout + result.stderr
    assert '"probabilities"' in result.stdout
