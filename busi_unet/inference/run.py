"""What a run writes to its output folder, so that it can be stopped, resumed, and shared by processes.

Each process keeps a journal: what the run is of, then what came of each image, as soon as it is done. The
files that hold all images are made of the journals in the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from busi_unet.errors import BusiUNetError, UsageError
from busi_unet.imaging.formats import FORMATS, Result
from busi_unet.inference.summary import SUMMARY_NAMES
from busi_unet.io.files import WRITTEN, check_ours, json_line, replace_file, write_ours
from busi_unet.io.find_images import ImageFile

JSON_LINES_NAME, JOURNAL_NAME = "predictions.jsonl", "resume.jsonl"
JOURNALS = "resume*.jsonl"
_IMAGES = "list of images"
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Share:
    """What one process does of a run.

    Attributes:
        number: of the process, from 0.
        of: how many processes share the run.
    """

    number: int = 0
    of: int = 1

    @classmethod
    def from_environment(cls) -> Share:
        """Return the share that `RANK` and `WORLD_SIZE` name, as `accelerate launch` sets them.

        Raises:
            UsageError: they are no numbers, or do not fit together.
        """
        of = os.environ.get("WORLD_SIZE") or "1"
        number = os.environ.get("RANK") or ("0" if of == "1" else "not set")
        if not (number.isdecimal() and of.isdecimal() and int(number) < int(of)):
            raise UsageError(f"RANK is {number} and WORLD_SIZE {of}.", "Number the processes from 0.")
        return cls(int(number), int(of))

    def name(self, name: str) -> str:
        """Return how this share calls a file: of several, "written.2-of-4.sha256"."""
        stem, _, ending = name.rpartition(".")
        return name if self.of == 1 else f"{stem}.{self.number + 1}-of-{self.of}.{ending}"

    def places(self, count: int) -> range:
        """Return the places, from 0, of this share among so many images."""
        return range(count * self.number // self.of, count * (self.number + 1) // self.of)


WHOLE = Share()


class Run:
    """One share of a run: what came of each image, and the files of the formats asked for.

    Args:
        folder: the output folder; later runs may replace what is written there, see `io.files.write_ours`.
        files: all images of the run.
        formats: names of `FORMATS`.
        model: what the files say of the weights.
        settings: what else decides the rows, by name; None for a run that is not to be resumed.
        share: whose images.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[ImageFile],
        formats: Iterable[str],
        model: str = "",
        settings: Mapping[str, Any] | None = None,
        share: Share = WHOLE,
    ) -> None:
        self.model = model
        self._folder, self._files, self._share = folder, files, share
        self._formats = [FORMATS[name] for name in dict.fromkeys(formats)]
        self._joins = {each.joined_name: each.join for each in self._formats if each.join}
        self._endings = [ending for each in self._formats if not each.join for ending in each.endings]
        self._journal = folder / share.name(JOURNAL_NAME)
        self._kept = settings is not None
        names = hashlib.sha256("".join(f"{file.shown}\t{file.name}\n" for file in files).encode())
        self._settings = {**(settings or {}), _IMAGES: names.hexdigest()}
        # Where it is noted what came of each image: number of the journal and offset, -1 where nowhere.
        self._journals: list[Path] = []
        self._lines = np.full((len(files), 2), -1)
        # Size and time of each file as the run begins: what changes later is told from what was read.
        self._stamps = np.array([file.stamp() or (-1, -1) for file in files]).reshape(-1, 2)

    def begin(self, *, resume: bool) -> list[int]:
        """Start the run, or go on with an earlier one; return the places of the images that are to be done.

        Those that failed in the earlier run are among them: where several processes share the images, if
        their files have changed since.

        Raises:
            UsageError: the earlier run was of other images or settings; or this one would replace a file that
                no earlier run wrote. Nothing is written.
        """
        journals = set(self._folder.glob(JOURNALS))
        if not resume and self._share.of > 1:
            # The other processes may have begun.
            others = {
                self._folder / Share(n, self._share.of).name(JOURNAL_NAME) for n in range(self._share.of)
            }
            if journals - (others - {self._journal}):
                raise UsageError(
                    f"There is a run in {self._folder} already.",
                    "Add --resume to continue it, or choose another output folder.",
                )
        done = self._find_done() if resume else set()
        left = [place for place in self._share.places(len(self._files)) if place not in done]
        endings = ("_overlay.jpg", "_overlay.webp", "_frames.csv", *self._endings)
        files = (self._files[place] for place in left)
        names = [f"{file.name}{ending}" for file in files if not file.problem for ending in endings]
        unknown = [path.name for path in journals if not resume and _header(path) is None]
        check_ours(self._folder, (*unknown, JSON_LINES_NAME, *SUMMARY_NAMES, *self._joins, *names))
        self._folder.mkdir(parents=True, exist_ok=True)
        if not resume and self._share == WHOLE:
            for path in (*journals, self._folder / JSON_LINES_NAME):
                path.unlink(missing_ok=True)
        if self._journal.exists():
            _cut_last_line(self._journal)
        else:
            replace_file(self._journal, lambda file: file.write(json_line(self._settings)))
            self._journals.append(self._journal)
        return left

    def save(self, name: str, content: bytes | Iterable[bytes]) -> None:
        """Write a file, such as one of an image."""
        write_ours(self._folder, name, content, record=self._share.name(WRITTEN))

    def write(self, result: Result) -> tuple[list[str], list[str], dict[str, Any]]:
        """Write the files of an image, none of one that was refused; those of an earlier run go.

        Returns:
            Their names; why it cannot be written in a format, a sentence each; and what `add` takes.
        """
        made, problems, entries = {}, [], {}
        for each in self._formats if result.prediction.label is not None else ():
            try:
                content = each.write(result)
            except BusiUNetError as error:
                problems.append(str(error))
                continue
            if each.join:
                entries[each.joined_name] = content
            else:
                made |= content
        for ending in self._endings:
            if ending in made:
                self.save(f"{result.name}{ending}", made[ending])
            else:
                # An empty mask of a refused image would look like that of a normal one.
                (self._folder / f"{result.name}{ending}").unlink(missing_ok=True)
        return [f"{result.name}{ending}" for ending in made], problems, entries

    def add(self, place: int, row: Mapping[str, Any], entries: Mapping[str, Any]) -> None:
        """Note the row of the image at a place, and what `write` returned; it is on the disk then."""
        note = {"place": place, "stamp": self._stamps[place].tolist(), "entries": entries, "row": row}
        with self._journal.open("ab") as journal:
            offset = journal.tell()
            journal.write(json_line(note))
        self._lines[place] = self._journals.index(self._journal), offset

    def end(self, *, finished: bool) -> None:
        """Write the files that hold all images, of a stopped run those that are done.

        The first of several processes waits for the others, and writes them for all.
        """
        if self._share.number or not (finished or self._share == WHOLE):
            return
        if self._share != WHOLE:
            self._wait()
        self.save(JSON_LINES_NAME, (json_line(note["row"]) for note in self._notes()))
        for name, join in self._joins.items():
            self.save(name, join(_Entries(self._notes, name)))
        if not self._kept:
            self._journal.unlink()

    def _find_done(self) -> set[int]:
        """Return the places of the images that an earlier run could use, and know where their rows are."""
        done = set()
        try:
            for place, failed, unchanged, where in self._read():
                if not (failed or unchanged):
                    raise self._refusal(f"{self._files[place].shown} was changed since")
                if place not in done or not failed:
                    self._lines[place] = where
                if not failed or (unchanged and self._share.of > 1):
                    done.add(place)
        except (ValueError, LookupError, TypeError) as error:
            raise self._refusal(f"its {JOURNAL_NAME} is damaged") from error
        return done

    def _read(self) -> Iterator[tuple[int, bool, bool, tuple[int, int]]]:
        """Yield what the journals of all processes note; refuse those of another run.

        That is the place of an image, whether it failed, whether its file is unchanged, and where that is.
        """
        self._journals = sorted(self._folder.glob(JOURNALS))
        for number, path in enumerate(self._journals):
            before = _header(path)
            if before is None:
                raise self._refusal(f"{path.name} is damaged")
            if changed := [name for name in self._settings if before.get(name) != self._settings[name]]:
                raise self._refusal(self._difference(path, changed))
            with path.open("rb") as lines:
                offset = len(next(lines))
                for line in lines:
                    # What was killed as it wrote leaves a part of a line.
                    if line.endswith(b"\n"):
                        note = json.loads(line)
                        place, failed = note["place"], note["row"]["error"] is not None
                        yield place, failed, note["stamp"] == self._stamps[place].tolist(), (number, offset)
                    offset += len(line)

    def _difference(self, journal: Path, changed: Sequence[str]) -> str:
        """Return how a journal's run differs from this one, whose settings of these names are others."""
        with journal.open("rb") as lines:
            for note in map(json.loads, itertools.islice(lines, 1, None)) if changed == [_IMAGES] else ():
                place, before = note["place"], note["row"]["image"]
                now = self._files[place].shown if place < len(self._files) else "none"
                if before != now:
                    return f"image {place + 1} was {before} and is {now} now"
        return f"it had another {' and another '.join(changed)}"

    def _wait(self) -> None:
        """Look for what the other processes note, until that is all of the run."""
        told = False
        while True:
            started = time.monotonic()
            self._lines[:] = -1
            for place, failed, unchanged, where in self._read():
                # What failed in an earlier run is done again where its file has changed.
                if unchanged or not failed:
                    self._lines[place] = where
            missing = int((self._lines[:, 0] < 0).sum())
            if not missing:
                return
            if not told:
                print(f"Waiting for {missing} images of other processes.", file=sys.stderr, flush=True)
            told = True
            # To look takes a fifth of the time at most, however long the journals are.
            time.sleep(max(_SECONDS_BETWEEN_LOOKS, 4 * (time.monotonic() - started)))

    def _notes(self) -> Iterator[dict[str, Any]]:
        """Yield what is noted of each image, in their order, one at a time."""
        with contextlib.ExitStack() as stack:
            journals = [stack.enter_context(path.open("rb")) for path in self._journals]
            for number, offset in self._lines[self._lines[:, 0] >= 0].tolist():
                journals[number].seek(offset)
                yield json.loads(journals[number].readline())

    def _refusal(self, difference: str) -> UsageError:
        anew = ", or leave out --resume to start anew" if self._share == WHOLE else ""
        return UsageError(
            f"The run in {self._folder} cannot be resumed: {difference}.",
            f"Choose another output folder{anew}.",
        )


class _Entries:
    """What images have for a file that holds all; each loop reads it anew, one image at a time."""

    def __init__(self, notes: Callable[[], Iterator[dict[str, Any]]], name: str) -> None:
        self._notes, self._name = notes, name

    def __iter__(self) -> Iterator[Any]:
        entries = (note["entries"] for note in self._notes())
        return (each[self._name] for each in entries if self._name in each)


def _header(path: Path) -> dict[str, Any] | None:
    """Return what the run of a journal is of; None where it is none."""
    try:
        with path.open("rb") as lines:
            found = json.loads(next(lines, b""))
    except ValueError:
        return None
    return found if isinstance(found, dict) and _IMAGES in found else None


def _cut_last_line(path: Path) -> None:
    """Cut off what was killed as it wrote."""
    with path.open("r+b") as file:
        file.truncate(sum(len(line) for line in file if line.endswith(b"\n")))
