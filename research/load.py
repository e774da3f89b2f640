"""Ask the app for predictions from many clients at once, and check that each gets its own image's answer.

Starts the app on a free port of this machine, or uses the one at --url. First each image is sent alone; its
answer (report, words, bytes of the overlay) is what every later one must equal. Then the clients send usual
images, images of 37 megapixels and files that must be refused, and some hang up. Prints a Markdown table.

Exit codes: 0 every request was answered with its own image's answer, 1 not so or no app, 2 wrong usage.
"""

import argparse
import asyncio
import contextlib
import hashlib
import io
import json
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx
import numpy as np
from PIL import Image

from busi_unet.cli import command
from busi_unet.config import CLASS_NAMES
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import BusiUNetError
from busi_unet.version import commit

ROOT = Path(__file__).resolve().parent.parent
SHARES = {"usual": 0.75, "large": 0.03, "refused": 0.12, "hang up": 0.10}
LARGE_SIZE = (7040, 5280)
ANSWER_LIMIT = 3600
BUSY_WAIT = 1.0
FILE = {"_type": "gradio.FileData"}


@dataclass(frozen=True)
class Upload:
    """A file to send: a name, its bytes, and which row of the table it counts in."""

    kind: str
    name: str
    data: bytes = field(repr=False)


@dataclass
class Log:
    """What the clients saw: seconds by kind of file, how often what happened, wrong answers."""

    alone: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    # Usual images while one large image was analysed.
    beside: list[float] = field(default_factory=list)
    total: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    # Of the app, MB, every second.
    memory: list[float] = field(default_factory=list)


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="load.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=64, help="clients at the same time (%(default)s)")
    parser.add_argument("--requests", type=int, default=20, help="requests of each (%(default)s)")
    parser.add_argument("--images", type=int, default=12, help="different usual images (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the images and their order (%(default)s)")
    parser.add_argument("--url", help="address of an app that runs already (memory is not measured)")
    args = parser.parse_args(argv)
    uploads = make_uploads(args.images, args.seed)
    with contextlib.ExitStack() as stack:
        url, process = args.url, None
        if url is None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="busi-unet-load-"))
            url, process = stack.enter_context(serving(Path(scratch)))
        log = asyncio.run(measure(url.rstrip("/"), process, uploads, args))
    print_tables(log, args)
    if log.wrong:
        raise BusiUNetError(f"{len(log.wrong)} answers were wrong or missing, such as: {log.wrong[0]}")


def make_uploads(count: int, of_seed: int) -> list[Upload]:
    """Return files of every kind but one; no two images have the same size, so none is like another."""
    uploads = []
    for number in range(count):
        label = CLASS_NAMES[number % len(CLASS_NAMES)]
        size = (440 + 8 * number, 600 + 6 * number)
        image = Image.fromarray(make_phantom(label, seed=of_seed + number, size=size).image)
        ending = ("png", "jpg")[number % 2]
        uploads.append(Upload("usual", f"usual-{number}.{ending}", encoded(image, ending)))
    base = Image.fromarray(make_phantom("malignant", seed=of_seed, size=(528, 704)).image)
    for mode, ending in (("L", "jpg"), ("RGB", "jpg"), ("RGB", "png")):
        width, height = LARGE_SIZE[0] - len(uploads), LARGE_SIZE[1]
        large = base.resize((width, height), Image.Resampling.BICUBIC).convert(mode)
        uploads.append(Upload("large", f"large-{mode}.{ending}", encoded(large, ending)))
    usual = uploads[0].data
    for name, data in (
        ("words.png", b"This is not an image."),
        ("cut.png", usual[: len(usual) // 2]),
        ("small.png", encoded(base.resize((12, 9)), "png")),
    ):
        uploads.append(Upload("refused", name, data))
    return uploads


def encoded(image: Image.Image, ending: str) -> bytes:
    stream = io.BytesIO()
    options = {"compress_level": 1} if ending == "png" else {"quality": 92}
    image.save(stream, "PNG" if ending == "png" else "JPEG", **options)
    return stream.getvalue()


async def measure(
    url: str,
    process: subprocess.Popen | None,
    uploads: Sequence[Upload],
    args: argparse.Namespace,
) -> Log:
    """Send everything, and return what came of it."""
    log = Log()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=args.clients)
    async with httpx.AsyncClient(base_url=f"{url}/gradio_api", timeout=ANSWER_LIMIT, limits=limits) as http:
        expected = {upload.name: (await persist(http, upload, log))[0] for upload in uploads}
        for upload in uploads:
            if isinstance(expected[upload.name], list) == (upload.kind == "refused"):
                raise BusiUNetError(f"{upload.name} was answered: {str(expected[upload.name])[:300]}")
        for upload in [*uploads, *uploads]:
            log.alone[upload.kind].append((await persist(http, upload, log))[1])
        large = next(upload for upload in uploads if upload.kind == "large")
        while len(log.beside) < 5:
            answer = asyncio.create_task(persist(http, large, log))
            while not answer.done():
                log.beside.append((await persist(http, uploads[0], log))[1])
        watching = asyncio.create_task(watch(process, log))
        start = time.monotonic()
        await asyncio.gather(
            *(client(http, number, uploads, expected, args, log) for number in range(args.clients))
        )
        log.total = time.monotonic() - start
        await asyncio.sleep(5)
        watching.cancel()
    return log


async def client(
    http: httpx.AsyncClient,
    number: int,
    uploads: Sequence[Upload],
    expected: dict[str, Any],
    args: argparse.Namespace,
    log: Log,
) -> None:
    """Send one request after the other, each until it is taken on."""
    chance = random.Random(f"{args.seed} {number}")
    for _ in range(args.requests):
        kind = chance.choices(list(SHARES), list(SHARES.values()))[0]
        upload = chance.choice([each for each in uploads if each.kind == kind or kind == "hang up"])
        if kind == "hang up":
            await hang_up(http, upload, chance)
            log.counts[kind] += 1
            continue
        try:
            answer, seconds = await persist(http, upload, log)
        except (httpx.HTTPError, ValueError) as error:
            log.wrong.append(f"{upload.name}: {error!r}")
            continue
        log.seconds[kind].append(seconds)
        if answer != expected[upload.name]:
            log.wrong.append(f"{upload.name} was answered as another image: {str(answer)[:300]}")


async def persist(http: httpx.AsyncClient, upload: Upload, log: Log) -> tuple[Any, float]:
    """Ask until the app is not busy; return its answer and how many seconds that took."""
    while True:
        start = time.monotonic()
        answer = await ask(http, upload)
        if answer is not None:
            return answer, time.monotonic() - start
        log.counts["busy"] += 1
        await asyncio.sleep(BUSY_WAIT)


async def ask(http: httpx.AsyncClient, upload: Upload) -> Any:
    """Return the answer to a file, the files in it by their hash; None where the app is busy.

    Raises:
        httpx.HTTPError: the app does not answer as its documentation says.
        ValueError: the answer ends early.
    """
    event = await join(http, upload)
    if event is None:
        return None
    async with http.stream("GET", f"/call/v2/predict/{event}") as stream:
        kind, data = await last_event(stream.aiter_lines())
    if kind == "error":
        return data
    for place, part in enumerate(data):
        if isinstance(part, dict) and part.get("meta") == FILE:
            file = (await http.get(f"/file={part['path']}")).raise_for_status()
            data[place] = hashlib.sha256(file.content).hexdigest()
    return data


async def join(http: httpx.AsyncClient, upload: Upload) -> str | None:
    """Upload a file and ask for its prediction; return the event, or None where the app is busy."""
    sent = await http.post("/upload", files={"files": (upload.name, upload.data)})
    sent.raise_for_status()
    file = {"path": sent.json()[0], "meta": FILE}
    joined = await http.post("/call/v2/predict", json={"image": file})
    if joined.status_code == 503:
        return None
    return joined.raise_for_status().json()["event_id"]


async def last_event(lines: AsyncIterator[str]) -> tuple[str, Any]:
    """Return kind and data of the event that ends a stream."""
    kind = ""
    async for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data" and kind in ("complete", "error"):
            return kind, json.loads(value)
    raise ValueError("the answer ended early")


async def hang_up(http: httpx.AsyncClient, upload: Upload, chance: random.Random) -> None:
    """Break off: in the midst of an upload, or while the answer is waited for."""

    async def half() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="half.png"\r\n\r\n'
        yield upload.data[: len(upload.data) // 2]
        raise ConnectionAbortedError

    with contextlib.suppress(httpx.HTTPError, TimeoutError, ConnectionAbortedError):
        if chance.random() < 0.5:
            form = {"Content-Type": "multipart/form-data; boundary=x"}
            await http.post("/upload", content=half(), headers=form)
            return
        event = await join(http, upload)
        async with asyncio.timeout(0.3), http.stream("GET", f"/call/v2/predict/{event}") as stream:
            await last_event(stream.aiter_lines())


async def watch(process: subprocess.Popen | None, log: Log) -> None:
    while process and (resident := resident_mb(process.pid)):
        log.memory.append(resident)
        await asyncio.sleep(1)


def print_tables(log: Log, args: argparse.Namespace) -> None:
    print(
        f"{args.clients} clients × {args.requests} requests, seed {args.seed}; "
        f"commit {commit() or 'not known'}, {os.cpu_count()} cores, {platform.machine()}\n"
    )
    print("| file | answers | alone s | median s | p95 s | p95 / (clients × a usual one alone) |")
    print("|---|---|---|---|---|---|")
    one = statistics.median(log.alone["usual"])
    for kind, seconds in log.seconds.items():
        high = float(np.percentile(seconds, 95))
        times = (statistics.median(log.alone[kind]), statistics.median(seconds), high)
        shown = " | ".join(f"{value:.2f}" for value in (*times, high / (args.clients * one)))
        print(f"| {kind} | {len(seconds)} | {shown} |")
    answered, hung_up = sum(map(len, log.seconds.values())), log.counts["hang up"]
    print(
        f"\n{answered} of {args.clients * args.requests - hung_up} answered in {log.total:.0f} s, "
        f"{len(log.wrong)} wrong or missing, {hung_up} hung up; {log.counts['busy']} times the app was busy."
    )
    ratio = statistics.median(log.beside) / one
    print(f"Beside one large image, a usual one took {ratio:.1f} × its time alone.")
    if log.memory:
        places = np.linspace(0, len(log.memory) - 1, 9).round().astype(int)
        steps = ", ".join(f"{log.memory[place]:.0f}" for place in places)
        print(f"Resident memory in MB, in equal steps of time: {steps}; highest {max(log.memory):.0f}.")


@contextlib.contextmanager
def serving(scratch: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Run the app in a process of its own; yield its address and the process once it answers."""
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", scratch / "log.txt"
    environment = {
        **os.environ,
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(scratch / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    with log.open("w", encoding="utf-8") as stream:
        app = [sys.executable, str(ROOT / "app.py")]
        process = subprocess.Popen(app, env=environment, stdout=stream, stderr=stream)
        try:
            while not answers(url):
                if process.poll() is not None:
                    raise BusiUNetError(f"The app did not start: {log.read_text(encoding='utf-8')[-300:]}")
                time.sleep(0.05)
            yield url, process
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).status_code == 200
    except httpx.HTTPError:
        return False


def resident_mb(process_id: int) -> float | None:
    """Return resident memory in MB, where the system tells it under /proc."""
    try:
        status = Path(f"/proc/{process_id}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    # One that has ended holds none.
    sizes = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")]
    return sizes[0] / 1024 if sizes else None


if __name__ == "__main__":
    sys.exit(main())
