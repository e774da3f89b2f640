"""Print how fast and light busi_unet is, beside peers in the same run, as a Markdown table.

Needs the extras [app] and [train] and ten minutes of an idle machine. Times are the best of several rounds,
in which all that is compared takes turns.

Exit codes: 0 done, 1 the app or a command failed, 2 wrong usage.
"""

import argparse
import asyncio
import importlib.metadata
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx
import numpy as np
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from tqdm import tqdm

from busi_unet.app.image_handlers import ImageHandlers
from busi_unet.app.model import LazyModel
from busi_unet.cli import command
from busi_unet.config import CLASS_NAMES, ONNX_NAME, Architecture
from busi_unet.data.phantom import make_phantom, write_phantom_dataset
from busi_unet.data.prepare import prepare
from busi_unet.data.prepared import load_prepared
from busi_unet.data.torch_dataset import Batch
from busi_unet.errors import BusiUNetError
from busi_unet.inference.predictor import EMBEDDED, Predictor
from busi_unet.inference.preprocess import Preprocessor
from busi_unet.models.folder import load_model
from busi_unet.models.unet import UNet, UNetOutput
from busi_unet.training import loop, setup
from busi_unet.training.losses import combined_loss
from busi_unet.training.options import TrainOptions
from busi_unet.version import commit
from research import load
from research.peers import ResNetUNet, inferring, int8, serve_echo, session

SIZE = (500, 600)
ROUNDS, IMAGES = 20, 30
PACKAGES = ("gradio", "numpy", "onnxruntime", "pillow", "torch")
Row = tuple[str, str, float, str, float]
"""Figure, unit, value, peer, its value."""


@command
def main(argv: Sequence[str] | None = None) -> None:
    parts = {"predict": predictions, "app": page, "archive": archive, "train": training}
    parser = argparse.ArgumentParser(prog="benchmark.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts), help="parts to run (all)")
    args = parser.parse_args(argv)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    capability = torch.backends.cpu.get_cpu_capability()
    print(
        f"Commit {commit() or 'not known'}; {os.cpu_count()} CPUs, {platform.machine()} {capability}; "
        f"{platform.system()}, Python {platform.python_version()}, {versions}\n"
    )
    print("| figure | measured | beside | ratio |\n|---|---|---|---|", flush=True)
    for name in args.only:
        with tempfile.TemporaryDirectory(prefix="busi-unet-benchmark-") as scratch:
            for figure, unit, value, peer, other in parts[name](Path(scratch)):
                print(
                    f"| {figure} | {value:.4g} {unit} | {peer}: {other:.4g} | {value / other:.2f} |",
                    flush=True,
                )


def best(rounds: int, calls: Mapping[str, Callable[[], Any]], in_a_row: int = 1) -> dict[str, float]:
    """Return the shortest time of each call in seconds; all take turns, after one that does not count."""
    seconds = dict.fromkeys(calls, float("inf"))
    for number in range(rounds + 1):
        for name, call in calls.items():
            for _ in range(in_a_row):
                start = time.perf_counter()
                call()
                if number:
                    seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def phantom(number: int) -> Image.Image:
    return Image.fromarray(make_phantom(CLASS_NAMES[number % 3], seed=number, size=SIZE).image)


# --- One image -----------------------------------------------------------------------------------


def predictions(scratch: Path) -> Iterator[Row]:
    """Compare `predict` with the network alone, as others run it, and with other networks."""
    predictor, image = Predictor.from_pretrained(), np.asarray(phantom(2))
    eager = load_model(EMBEDDED)[0].eval().to(memory_format=torch.channels_last)
    both, square = network_input(predictor, image), np.zeros((1, 1, 160, 160), np.float32)
    ours = "predict"
    seconds = best(
        ROUNDS,
        {
            ours: lambda: predictor.predict(image),
            "ONNX Runtime alone": session(EMBEDDED / ONNX_NAME, both),
            "PyTorch alone, eager": inferring(eager.explain, both),
            "U-Net of 2015, width 64, 256², one pass, PyTorch": inferring(
                UNet(Architecture("plain", 64)).eval(), np.zeros((1, 1, 256, 256), np.float32)
            ),
            "ResNet-18 U-Net, 160², one pass, INT8": session(int8(ResNetUNet(), square, scratch), square),
        },
        # For a while, threads of the one before keep a core busy, waiting for more to do.
        in_a_row=5,
    )
    for peer, other in seconds.items():
        if peer != ours:
            yield "`predict`, 600 × 500", "ms", 1000 * seconds[ours], peer, 1000 * other


def network_input(predictor: Predictor, image: np.ndarray) -> np.ndarray:
    """Return what `predict` shows the network: an image and its mirror image, float32 (2, 1, S, S)."""
    tensor = Preprocessor(predictor.config.preprocess)(image)
    return np.stack([tensor, tensor[..., ::-1]])


# --- App and command -----------------------------------------------------------------------------


def page(scratch: Path) -> Iterator[Row]:
    """Compare the app with one that answers at once with the same files, and starts with `import gradio`."""
    upload = load.Upload("usual", "image.png", load.encoded(phantom(2), "png"))
    file, port = scratch / upload.name, load.free_port()
    file.write_bytes(upload.data)
    one = ("-m", "busi_unet", "predict", file, "--output", scratch / "one")
    once = best(2, {"gradio": lambda: python("-c", "import gradio"), "predict": lambda: python(*one)})
    start = time.perf_counter()
    with load.serving(scratch) as (url, process):
        asyncio.run(ask(url, upload))
        started = time.perf_counter() - start
        yield "app, start to first answer", "s", started, "`import gradio`", once["gradio"]
        yield "`busi-unet predict`, start to end", "s", once["predict"], "`import gradio`", once["gradio"]
        answer = tuple(ImageHandlers(LazyModel()).predict(str(file)))
        echo = multiprocessing.get_context("spawn").Process(target=serve_echo, args=(answer, port))
        echo.start()
        while not load.answers(f"http://127.0.0.1:{port}"):
            time.sleep(0.1)
        predictor = Predictor.from_pretrained()
        calls = {
            "app": lambda: asyncio.run(ask(url, upload)),
            "echo": lambda: asyncio.run(ask(f"http://127.0.0.1:{port}", upload)),
            "predict": lambda: predictor.predict(upload.data),
        }
        took = {name: 1000 * each for name, each in best(ROUNDS, calls).items()}
        echo.kill()
        yield (
            "round trip over HTTP",
            "ms",
            took["app"],
            "echo app + `predict`",
            took["echo"] + took["predict"],
        )
        memory = []
        for _ in range(5):
            asyncio.run(ask(url, upload, 100))
            memory.append(load.resident_mb(process.pid) or float("nan"))
        yield "memory of the app after 500 predictions", "MB", memory[-1], "after 100", memory[0]


async def ask(url: str, upload: load.Upload, times: int = 1) -> None:
    """Send an image and fetch the answer with its files."""
    async with httpx.AsyncClient(base_url=f"{url}/gradio_api", timeout=600) as http:
        for _ in range(times):
            await load.ask(http, upload)


def python(*arguments: Any) -> float:
    """Run Python; return the most memory it took, MB."""
    environment = {**os.environ, "PYTHONPATH": str(load.ROOT)}
    told = [sys.executable, *map(str, arguments)]
    process = subprocess.Popen(told, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0.0
    # Not its resource usage, which begins with the memory of this process.
    while process.poll() is None:
        most = max(most, load.resident_mb(process.pid) or 0)
        time.sleep(0.02)
    if process.returncode:
        raise BusiUNetError(f"{' '.join(told)} failed.")
    return most


# --- Archives and training -----------------------------------------------------------------------


def archive(scratch: Path) -> Iterator[Row]:
    """Compare `predict FOLDER` with two sessions of one thread that are given tensors, and with itself."""
    _, few, many = counts = (IMAGES, 10 * IMAGES, 100 * IMAGES)
    images = [np.asarray(phantom(number)) for number in range(10)]
    seconds, memory = [], []
    for count in counts:
        (folder := scratch / str(count)).mkdir()
        for number in range(count):
            # No two alike.
            Image.fromarray(np.roll(images[number % 10], number, axis=1)).save(folder / f"{number}.png")
        start = time.perf_counter()
        memory.append(python("-m", "busi_unet", "predict", folder, "--output", scratch / f"{count}-out"))
        seconds.append(time.perf_counter() - start)
    both = network_input(Predictor.from_pretrained(), np.asarray(phantom(2)))
    calls = [session(EMBEDDED / ONNX_NAME, both, threads=1) for _ in range(2)]
    start = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda call: [call() for _ in range(many // 2)], calls))
    bare = many / (time.perf_counter() - start)
    # Without the start.
    each = np.diff(seconds) / np.diff(counts)
    figure = "`predict FOLDER`, reading and writing"
    yield figure, "images/s", 1 / each[1], "two one-thread sessions on tensors", bare
    peer = f"an image up to {few}"
    yield f"`predict FOLDER`, an image up to {many}", "ms", 1000 * each[1], peer, 1000 * each[0]
    yield f"memory for {many} images", "MB", memory[2], f"for {few}", memory[1]


def training(scratch: Path) -> Iterator[Row]:
    """Compare an epoch of a training with forward and backward passes of the same network alone."""
    write_phantom_dataset(scratch / "phantoms", per_class=20, seed=0, size=SIZE)
    prepare([scratch / "phantoms"], scratch / "prepared")
    for precision in ("fp32", "bf16"):
        options = TrainOptions(
            data=scratch / "prepared", output=scratch, init="random", precision=precision, no_validation=True
        )
        # accelerate knows one precision a process.
        AcceleratorState._reset_state(reset_partial_state=True)
        accelerator, data = setup.build_accelerator(options), load_prepared(options.data)
        run = setup.TrainingRun(options, accelerator, data)
        batch = Batch(*next(iter(run.train_loader)))

        def epoch(run: setup.TrainingRun = run) -> None:
            run.progress.step = 0
            with loop.StopSignals() as signals:
                loop.train_epoch(run, signals, tqdm(disable=True))

        def passes(run: setup.TrainingRun = run, batch: Batch = batch) -> None:
            for _ in range(run.steps_per_epoch):
                with run.accelerator.autocast():
                    output = UNetOutput(*run.model(batch.image))
                run.accelerator.backward(
                    combined_loss(output, batch, class_weight=0.5, label_smoothing=0.05).mean()
                )

        calls = {"epoch": epoch, "passes": passes, "loading": lambda run=run: list(run.train_loader)}
        images = run.steps_per_epoch * options.batch_size
        took = {name: 1000 * each / images for name, each in best(2, calls).items()}
        yield (
            f"training, {precision}, an image",
            "ms",
            took["epoch"],
            "forward and backward alone",
            took["passes"],
        )
        yield (
            f"loading and augmentation, {precision}, an image",
            "ms",
            took["loading"],
            "all of a step",
            took["epoch"],
        )


if __name__ == "__main__":
    sys.exit(main())
