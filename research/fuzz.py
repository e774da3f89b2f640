"""Feed damaged and odd files to every reader, and compare what is read with a second reader.

Each file is a sound one, made here, changed at random: bytes, lengths, fields of its format, values. Readers
run in processes of their own, with 10 s and 1.5 GiB, on Linux alone. Second readers: OpenCV and pandas; where
installed, DCMTK's dcmj2pnm for DICOM, and unzip. Prints Markdown tables.

Exit codes: 0 nothing found, 1 a crash, a hang, too much memory or a silent difference, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from busi_unet.errors import BusiUNetError
from busi_unet.evaluation.report import table
from research.fuzz_damage import damage
from research.fuzz_files import Seed, layouts, seeds
from research.fuzz_readers import JUSTIFIED, SECONDS, Found, agree, read, read_again

MAX_GIB = 1.5
COLUMNS = ("read", "refused", "crash", "hang", "memory", "compared", "agree", "remarked", "silent")


class Worker:
    """A process that reads files, and is replaced when it dies or hangs."""

    def __init__(self, reader: Callable[[str, Path], Any]) -> None:
        self.reader = reader
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.reader), daemon=True)
        self.process.start()
        theirs.close()

    def read(self, files: list[tuple[str, Path]]) -> Iterator[Found]:
        """Yield what is found in each file, in their order."""
        done = 0
        while done < len(files):
            # All at once: waiting for each other would take longer than reading.
            self.pipe.send(files[done:])
            try:
                while done < len(files):
                    # Its own limit is of time that it runs; this one ends what waits for ever.
                    found = self.pipe.recv() if self.pipe.poll(30 * SECONDS) else Found("hang")
                    done += 1
                    yield found
                    if found.what == "hang":
                        break
                else:
                    return
            except (EOFError, ConnectionError):
                self.process.join()
                done += 1
                yield Found("hang" if self.process.exitcode == -signal.SIGXCPU else "crash")
            self.close()
            self._start()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()


def _serve(pipe: Any, reader: Callable[[str, Path], Any]) -> None:
    # Decoders write to stderr what they think of a file.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    while True:
        for kind, path in pipe.recv():
            pipe.send(_read_measured(reader, kind, path))


def _read_measured(reader: Callable[[str, Path], Any], kind: str, path: Path) -> Found:
    start, peak = time.process_time(), _peak_gib()
    resource.setrlimit(resource.RLIMIT_CPU, (round(start + SECONDS) + 1, resource.RLIM_INFINITY))
    try:
        found = reader(kind, path)
        found = found if isinstance(found, Found) else Found("read", found)
    except BusiUNetError as error:
        found = Found("refused", text=str(error))
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {error}"
        found = Found("crash", text=text[:300])
    if peak < MAX_GIB < _peak_gib():
        found = Found("memory", text=f"{_peak_gib():.1f} GiB")
    return found._replace(seconds=time.process_time() - start)


def _peak_gib() -> float:
    """Return the most memory that this process has used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


class Campaign:
    """Counts by format, kinds of remarked differences, and findings."""

    def __init__(self, folder: Path, keep: Path | None = None) -> None:
        self.folder, self.keep = folder, keep
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.kinds: dict[tuple[str, str], int] = Counter()
        self.findings: list[str] = []
        self.slowest = 0.0
        self.layouts = layouts()
        self.ours, self.second = Worker(read), Worker(read_again)

    def try_files(self, files: list[tuple[int, str, str, bytes]]) -> None:
        """Read files, each with its number, format and name, with both readers, and count what happens."""
        paths = [(kind, self._write(number, kind, name, content)) for number, kind, name, content in files]
        compared = []
        for (kind, path), found in zip(paths, self.ours.read(paths), strict=True):
            self.slowest = max(self.slowest, found.seconds)
            self.counts[kind].update(("files", found.what))
            if found.what in ("crash", "hang", "memory"):
                self._note(kind, found.what, found.text, path)
            elif found.what == "read" and found.value is not None:
                compared.append((kind, path, found))
        again = self.second.read([(kind, path) for kind, path, _ in compared])
        for (kind, path, found), other in zip(compared, again, strict=True):
            if other.what == "read" and other.value is not None:
                self._compare(kind, path, found, other.value)
        for _, path in paths:
            shutil.rmtree(path.parent, ignore_errors=True)

    def _write(self, number: int, kind: str, name: str, content: bytes) -> Path:
        place = self.folder / str(number)
        beside = self.layouts[name] if kind in ("table", "COCO JSON") else {}
        for inside, other in {**beside, name: content}.items():
            (place / inside).parent.mkdir(parents=True, exist_ok=True)
            (place / inside).write_bytes(other)
        return place / name

    def _compare(self, kind: str, path: Path, found: Found, other: Any) -> None:
        self.counts[kind]["compared"] += 1
        if agree(kind, found.value, other):
            self.counts[kind]["agree"] += 1
        elif known := [each for each in found.remarks if any(part in each for part in JUSTIFIED)]:
            self.counts[kind]["remarked"] += 1
            for remark in set(known):
                self.kinds[kind, re.sub(r"[0-9]+", "N", remark)] += 1
        else:
            self._note(kind, "silent", _difference(found.value, other), path)
            self.counts[kind]["silent"] += 1

    def _note(self, kind: str, what: str, text: str, path: Path) -> None:
        name = f"{kind}-{what}-{path.parent.name}{path.suffix}".replace(", ", "-").replace(" ", "-")
        self.findings.append(f"{kind}: {what}: {text} ({name})")
        if self.keep:
            self.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, self.keep / name)


def _difference(ours: Any, other: Any) -> str:
    if not isinstance(ours, np.ndarray):
        return f"{ours!r:.200} against {other!r:.200}"
    if ours.shape != other.shape:
        return f"shape {ours.shape} against {other.shape}"
    gap = np.abs(ours.astype(int) - other.astype(int))
    return (
        f"mean gap {gap.mean():.1f}, largest {gap.max()}, mean {ours.mean():.0f} against {other.mean():.0f}"
    )


def run(
    per_kind: int, seed: int, folder: Path, *, seconds: float = float("inf"), keep: Path | None = None
) -> Campaign:
    campaign, end = Campaign(folder, keep), time.monotonic() + seconds
    files = ((number, *file) for number, file in enumerate(_files(seeds(), per_kind, seed)))
    try:
        while time.monotonic() < end and (some := list(itertools.islice(files, 60))):
            campaign.try_files(some)
    finally:
        campaign.ours.close()
        campaign.second.close()
    return campaign


def _files(made: dict[str, list[Seed]], per_kind: int, seed: int) -> Iterator[tuple[str, str, bytes]]:
    dice = {kind: random.Random(f"{seed} {kind}") for kind in made}
    for number in range(per_kind):
        for kind, found in made.items():
            if number < len(found):
                yield kind, *found[number]
            else:
                name, content = dice[kind].choice(found)
                yield kind, name, damage(kind, content, [each for _, each in found], dice[kind])


def report(campaign: Campaign) -> str:
    rows = [
        (kind, count["files"], *(count[name] for name in COLUMNS)) for kind, count in campaign.counts.items()
    ]
    rows.append(("all", *(sum(row[at] for row in rows) for at in range(1, len(COLUMNS) + 2))))
    lines = [table(["format", "files", *COLUMNS], [[str(cell) for cell in row] for row in rows])]
    lines += ["", f"Slowest file: {campaign.slowest:.1f} s.", ""]
    kinds = [[remark, kind, str(count)] for (kind, remark), count in sorted(campaign.kinds.items())]
    lines += [table(["remark of a file read otherwise than by the second reader", "format", "files"], kinds)]
    return "\n".join([*lines, "", *campaign.findings])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=50, help="of each format (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the changes (%(default)s)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write what was found there")
    parser.add_argument("--minutes", type=float, default=40, help="stop after so many (%(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = 60 * args.minutes
        campaign = run(args.files, args.seed, Path(folder), seconds=seconds, keep=args.keep)
    print(report(campaign))
    return int(bool(campaign.findings))


if __name__ == "__main__":
    sys.exit(main())
