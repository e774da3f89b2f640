"""The README and the pages of docs/: their links lead somewhere, and their commands and snippets work."""

import argparse
import re
import shlex
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

from busi_unet.app.page import LAUNCH_OPTIONS, build_page
from busi_unet.cli import COMMANDS, main
from busi_unet.data.phantom import make_phantom
from busi_unet.training.options import TrainOptions

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("research/*.md")])
# Scripts that have another name than their command.
SCRIPTS = {
    "cross_validate": "cross-validate",
    "deploy_space": "deploy",
    "prepare_data": "prepare",
    "push_to_hub": "push",
}
APP_PAGE = ROOT / "docs" / "app.md"
ADDRESS = "http://127.0.0.1:7860"
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Return the commands of `busi-unet` in the shell blocks, those called as a script too, as name and
    arguments.
    """
    text = re.sub(r"\$\([^()]*\)", "", "\n".join(blocks(page, "sh")).replace("\\\n", " "))
    found = re.findall(r"(?:busi-unet |scripts/(?=\w+\.py))([\w-]+)(?:\.py)?([^\n&|;']*)", text)
    return [(SCRIPTS.get(name, name), shlex.split(rest, comments=True)) for name, rest in found]


def parser_of(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"busi-unet {name}", exit_on_error=False)
    import_module(f"busi_unet.cli.{name.replace('-', '_')}").add_arguments(parser)
    return parser


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", text):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_commands_are_understood(page):
    for name, arguments in commands(page):
        assert name in COMMANDS
        parsed = parser_of(name).parse_args(arguments)
        if name == "train":
            TrainOptions.from_arguments(parsed)
    for file in re.findall(r"\b(?:scripts|research|configs)/[\w/]+\.\w+", "".join(blocks(page, "sh"))):
        assert (ROOT / file).is_file(), file


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_options_that_it_names_exist(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for name, rest in re.findall(r"`busi-unet ([a-z][a-z-]*)([^`]*)`", text):
        known = {"--help", *parser_of(name)._option_string_actions}
        assert set(re.findall(r"--[\w-]+", rest)) <= known, f"busi-unet {name}{rest}"


@pytest.mark.slow
def test_the_whole_way_on_synthetic_images_can_be_gone(tmp_path, monkeypatch):
    """As written, but with fewer images and a smaller network."""
    tiny = ["--encoder", "plain", "--width", "4", "--size", "32", "--epochs", "1", "--batch-size", "4"]
    less = {"demo-data": ["--per-class", "8"], "train": tiny}
    monkeypatch.chdir(tmp_path)
    (way,) = (text for text in blocks(ROOT / "docs" / "quickstart.md", "sh") if "demo-data" in text)
    names = [line.split()[1] for line in way.splitlines()]
    assert {"prepare", "train", "evaluate", "calibrate", "predict", "robustness"} < set(names)
    for name, line in zip(names, way.splitlines(), strict=True):
        if name != "app":
            assert main([*shlex.split(line)[1:], *less.get(name, [])]) == 0, line
    reports = {path.name for path in (tmp_path / "reports").iterdir()}
    assert reports == {
        "runs-demo-model-demo-prepared-test",
        "runs-demo-model-demo-prepared-robustness",
    }


@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md"])
def test_its_python_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("image.png", "a.png", "b.png"):
        Image.fromarray(make_phantom("benign", seed=1, size=(72, 96)).image).save(file)
    (snippet,) = blocks(ROOT / name, "python")
    exec(compile(snippet, name, "exec"), {})


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
    (snippet,) = (snippet for snippet in blocks(APP_PAGE, "python") if f'"/{name}"' in snippet)
    monkeypatch.chdir(folder)
    exec(compile(snippet.replace(ADDRESS, address), name, "exec"), {})
    assert re.match(printed, capsys.readouterr().out.splitlines()[-1])


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("sh"), reason="needs curl and sh")
def test_the_curl_snippet_runs(address, folder):
    (snippet,) = (snippet for snippet in blocks(APP_PAGE, "sh") if "/call/v2/predict/" in snippet)
    result = subprocess.run(
        ["sh", "-c", snippet.replace(ADDRESS, address)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "event: complete" in result.stdout, result.stdout + result.stderr
    assert '"probabilities"' in result.stdout
