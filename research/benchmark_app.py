"""Measure how fast the app answers, beside a Gradio app that only echoes the image.

Both are started one after the other, each in a process of its own on a free port of this machine. Prints a
table, or with --json one object.

Exit codes: 0 measured, 1 an app did not start or answer, 2 wrong usage.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image

from busi_unet.cli.common import command
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import BusiUNetError, first_line

ROOT = Path(__file__).resolve().parent.parent
ECHO = """
import gradio as gr
with gr.Blocks(analytics_enabled=False) as demo:
    image, echo, call = gr.File(type="binary"), gr.Image(format="png"), gr.Button()
    def predict(content):
        import io
        from PIL import Image
        return Image.open(io.BytesIO(content))
    call.click(predict, image, echo, api_name="predict", queue=False)
demo.launch()
"""
# Moves the threshold slider and waits for the overlay to be drawn.
REDRAW = """async (value) => {
    const image = () => document.querySelector("#overlay img");
    const slider = document.querySelector("#threshold input[type=range]");
    const before = image().src;
    const start = performance.now();
    slider.value = value;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    while (image().src === before) await new Promise(requestAnimationFrame);
    await image().decode();
    return performance.now() - start;
}"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START_LIMIT = 120
ROWS = (
    ("echo_ms", "echo, round trip, median", "ms"),
    ("predict_ms", "prediction, round trip, median", "ms"),
    ("predict_over_echo", "prediction over echo", ""),
    ("page_seconds", "`python app.py` to a page that answers", "s"),
    ("first_prediction_seconds", "`python app.py` to the first prediction", "s"),
    ("redraw_ms", "slider moved to image redrawn in Chromium, median", "ms"),
    ("memory_mb", "resident memory at the end", "MB"),
    ("memory_growth_mb", "of it grown since the first tenth", "MB"),
)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmark_app.py", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--rounds", type=int, default=30, help="round trips whose median is taken (%(default)s)"
    )
    parser.add_argument(
        "--predictions", type=int, default=200, help="predictions before memory is read (%(default)s)"
    )
    parser.add_argument("--model", help="model folder or Hub id (default: the embedded weights)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.rounds < 1 or args.predictions < args.rounds:
        parser.error("--rounds must be at least 1, and --predictions at least as many")
    with tempfile.TemporaryDirectory(prefix="busi-unet-", ignore_cleanup_errors=True) as scratch:
        result = measure(Path(scratch), args.rounds, args.predictions, args.model)
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['cores']} cores, median of {args.rounds}, {result['predictions']} predictions\n")
    print("| measure | value |\n|---|---|")
    for key, label, unit in ROWS:
        value = result[key]
        print(f"| {label} | {'not known' if value is None else f'{value:,.2f} {unit}'.rstrip()} |")


def measure(scratch: Path, rounds: int, predictions: int, model: str | None) -> dict[str, float | None]:
    """Run both; see `ROWS` for the keys of the result.

    Args:
        scratch: an existing folder for images, logs and what the apps keep.
        rounds: round trips whose median is taken, after three to warm up.
        predictions: how many the app has answered when its memory is read.
        model: for the app, as `BUSI_UNET_MODEL`.

    Raises:
        BusiUNetError: an app did not start or answer.
    """
    image = scratch / "image.png"
    Image.fromarray(make_phantom("malignant", seed=0, size=(480, 640)).image).save(image)
    environment = {**os.environ, "BUSI_UNET_MODEL": model or "embedded"}
    echo, app = scratch / "echo.py", ROOT / "app.py"
    echo.write_text(ECHO, encoding="utf-8")

    with serving(echo, scratch, environment) as (url, _, _):
        echo_ms = round_trips(url, image, scratch, rounds)
    with serving(app, scratch, environment) as (url, started, process):
        page_seconds = time.monotonic() - started
        ask(url, image, scratch)(1)
        first_seconds = time.monotonic() - started
        predict_ms = round_trips(url, image, scratch, rounds)
        redraw_ms = redraws(url, image, rounds)
        asked, early = ask(url, image, scratch), max(1, predictions // 10 - rounds)
        asked(early)
        first_memory = resident_mb(process.pid)
        asked(max(0, predictions - rounds - early))
        memory = resident_mb(process.pid)
    return {
        "cores": os.cpu_count(),
        "predictions": predictions,
        "echo_ms": echo_ms,
        "predict_ms": predict_ms,
        "predict_over_echo": predict_ms / echo_ms,
        "page_seconds": page_seconds,
        "first_prediction_seconds": first_seconds,
        "redraw_ms": redraw_ms,
        "memory_mb": memory,
        "memory_growth_mb": None if memory is None else memory - first_memory,
    }


@contextlib.contextmanager
def serving(
    program: Path, scratch: Path, environment: dict[str, str]
) -> Iterator[tuple[str, float, subprocess.Popen]]:
    """Run a Gradio program in a process of its own; yield address, start time and process once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {
        **environment,
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(scratch / f"cache-{port}"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    log = scratch / f"log-{port}.txt"
    with log.open("w", encoding="utf-8") as stream:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, str(program)], cwd=ROOT, env=environment, stdout=stream, stderr=stream
        )
        try:
            while not answers(url):
                if process.poll() is not None or time.monotonic() - started > START_LIMIT:
                    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                    raise BusiUNetError(
                        f"{program.name} did not start ({said[-1] if said else 'it said nothing'}).",
                        f"Run: python {program.name}",
                    )
                time.sleep(0.05)
            yield url, started, process
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def round_trips(url: str, image: Path, scratch: Path, rounds: int) -> float:
    """Return median milliseconds of an answer, upload and download of the images included."""
    asked = ask(url, image, scratch)
    asked(3)
    return 1000 * statistics.median(asked(rounds))


def redraws(url: str, image: Path, rounds: int) -> float | None:
    """Return median milliseconds of a redraw; None where Playwright or Chromium is not installed."""
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None or importlib.util.find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url)
        page.set_input_files("#image input[type=file]", image)
        page.wait_for_selector("#overlay img")
        page.wait_for_timeout(3000)  # what follows an upload
        # Another value each time, so that each draws another image.
        values = [0.1 + 0.8 * number / (rounds + 3) for number in range(rounds + 3)]
        seconds = [page.evaluate(REDRAW, f"{value:.2f}") for value in values]
        browser.close()
    return statistics.median(seconds[3:])


def ask(url: str, image: Path, scratch: Path) -> Callable[[int], list[float]]:
    """Return a function that asks for so many predictions one by one, and returns the seconds of each."""
    from gradio_client import Client, handle_file

    client = Client(url, verbose=False, download_files=scratch / "answers")

    def asked(count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            start = time.perf_counter()
            try:
                client.predict(handle_file(image), api_name="/predict")
            except Exception as error:
                raise BusiUNetError(f"{url} did not answer ({first_line(error)}).") from error
            seconds.append(time.perf_counter() - start)
        return seconds

    return asked


def resident_mb(process_id: int) -> float | None:
    """Return resident memory in MB, where the system tells it under /proc."""
    try:
        status = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(kilobytes) / 1024


if __name__ == "__main__":
    sys.exit(main())
