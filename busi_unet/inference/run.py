"""What a run writes to its output folder, so that it can be stopped, resumed, and shared by processes."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from busi_unet.errors import BusiUNetError, UsageError
from busi_unet.imaging.formats import FORMATS, Result
from busi_unet.inference.summary import SUMMARY_NAMES
from busi_unet.io.files import WRITTEN, JsonLines, check_ours, json_line, keep_lines, note_written, write_ours
from busi_unet.io.find_images import ImageFile

Item = TypeVar("Item")

JSON_LINES_NAME, STATE_NAME = "predictions.jsonl", "resume.jsonl"
_SECONDS_BETWEEN_LOOKS = 0.5
_START_ANEW = "Choose another output folder, or leave out --resume to start anew."


@dataclass(frozen=True)
class Part:
    """What one process does of a run.

    Attributes:
        number: of the process, from 0.
        of: how many processes share the run.
    """

    number: int = 0
    of: int = 1

    @classmethod
    def from_environment(cls) -> Part:
        """Return the part that `RANK` and `WORLD_SIZE` name, as `accelerate launch` sets them.

        Raises:
            UsageError: they are no numbers, or do not fit together.
        """
        number, of = os.environ.get("RANK") or "0", os.environ.get("WORLD_SIZE") or "1"
        if not (number.isdecimal() and of.isdecimal() and int(number) < int(of)):
            raise UsageError(f"RANK is {number} and WORLD_SIZE {of}.", "Number the processes from 0.")
        return cls(int(number), int(of))

    def name(self, name: str) -> str:
        """Return how this part calls a file: of several, "written.2-of-4.sha256"."""
        stem, _, ending = name.rpartition(".")
        return name if self.of == 1 else f"{stem}.{self.number + 1}-of-{self.of}.{ending}"

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the items of this part; one after the other, the shares are all items."""
        start, stop = (len(items) * number // self.of for number in (self.number, self.number + 1))
        return items[start:stop]

    def all(self) -> list[Part]:
        """Return the parts of all processes."""
        return [Part(number, self.of) for number in range(self.of)]


WHOLE = Part()


class Run:
    """One part of a run: a JSON line per image, in their order, and the files of the formats asked for.

    Args:
        folder: the output folder; later runs may replace what is written there, see `io.files.write_ours`.
        files: all images of the run.
        formats: names of `FORMATS`.
        model: what the files say of the weights.
        settings: what else decides the rows, by name; None for a run that is not to be resumed.
        part: whose images.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[ImageFile],
        formats: Iterable[str],
        model: str = "",
        settings: Mapping[str, Any] | None = None,
        part: Part = WHOLE,
    ) -> None:
        self.model = model
        self._folder, self._files, self._settings, self._part = folder, files, settings, part
        self._formats = [FORMATS[name] for name in dict.fromkeys(formats)]
        self._joins = {each.joined_name: each.join for each in self._formats if each.join}
        self._endings = [ending for each in self._formats if not each.join for ending in each.endings]
        self._digest = hashlib.sha256()
        # All parts were joined before: nothing is left to do.
        self._joined = False
        # Places of images that failed in an earlier run, and the lines for them in each of `_kept`.
        self._failed: list[int] = []
        self._redone: dict[int, list[bytes]] = {}

    def find(self) -> int | None:
        """Return how many rows of an earlier run are whole; None where there is no such run.

        Raises:
            UsageError: it was of other images or settings, or shared out otherwise.
        """
        share = self._part.share(self._files)
        if self._part != WHOLE and self._is_finished(WHOLE):
            self._joined = True
            return len(share)
        rows = self._path(JSON_LINES_NAME)
        if self._path(STATE_NAME).exists():
            changed = self._check_state(self._part)
            done = min(keep_lines(path, len(share)) for path in self._kept(self._part))
            keep_lines(rows, done)
            failed = self._failed_before(share)
            for place in sorted(set(changed).difference(failed)):
                if place < done:
                    raise self._refusal(f"{share[place].shown} was changed since")
            # The first of several processes may have joined the rows of this one already.
            self._failed = failed if self._part == WHOLE else []
            with rows.open("rb") as lines:
                self._digest = hashlib.file_digest(lines, "sha256")
            return done or None
        if any(self._path(STATE_NAME, part).exists() for part in self._part.all()):
            return None
        # A run that was killed before it noted what it is of has no row.
        whole = self._path(JSON_LINES_NAME, WHOLE)
        if any(self._folder.glob("resume*.jsonl")) or (whole.exists() and whole.stat().st_size):
            processes = (
                "one process" if self._path(STATE_NAME, WHOLE).exists() else "as many processes as then"
            )
            raise UsageError(
                f"The run in {self._folder} cannot be resumed by {self._part.of} process"
                f"{'es' * (self._part.of > 1)}.",
                f"Resume it with {processes}. {_START_ANEW}",
            )
        return None

    def _failed_before(self, share: Sequence[ImageFile]) -> list[int]:
        """Return which images of an earlier run could not be used, by their places."""
        rows, failed = self._path(JSON_LINES_NAME), []
        try:
            for place, (row, file) in enumerate(zip(JsonLines(rows), share, strict=False)):
                if row["image"] != file.shown:
                    raise ValueError(file.shown)
                if row["error"]:
                    failed.append(place)
        except (ValueError, LookupError, TypeError) as error:
            raise UsageError(f"{rows} has been changed.", _START_ANEW) from error
        return failed

    def begin(self, done: int | None) -> Sequence[ImageFile]:
        """Start anew (None), or after so many rows of an earlier run; return the images that are to be done.

        Those that failed in the earlier run come first.

        Raises:
            UsageError: it would replace a file that no earlier run wrote; nothing is written.
        """
        share = self._part.share(self._files)
        left = [*(share[place] for place in self._failed), *share[done or 0 :]]
        endings = ("_overlay.jpg", "_overlay.webp", "_frames.csv", *self._endings)
        names = [f"{file.name}{ending}" for file in left if not file.problem for ending in endings]
        own = [self._part.name(name) for name in (JSON_LINES_NAME, STATE_NAME)] if done is None else []
        check_ours(self._folder, (*own, *SUMMARY_NAMES, *self._joins, *names))
        self._folder.mkdir(parents=True, exist_ok=True)
        if done is None:
            # Before the state: rows of another run must not pass for rows of this one.
            self._note_rows()
            for path in self._kept(self._part):
                path.write_bytes(b"")
        else:
            for path in self._kept(self._part):
                keep_lines(path, done)
        if self._settings is not None and not self._joined:
            self.save(self._part.name(STATE_NAME), self._state(self._part))
        return left

    def save(self, name: str, content: bytes | Iterable[bytes]) -> None:
        """Write a file, such as one of an image."""
        write_ours(self._folder, name, content, record=self._part.name(WRITTEN))

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

    def add(self, row: Mapping[str, Any], entries: Mapping[str, Any]) -> None:
        """Write the next row, on the disk before this returns, and keep what `write` returned for the end.

        Rows of images that failed in an earlier run are replaced in the end.
        """
        lines = [*(json_line(entries.get(name)) for name in self._joins), json_line(row)]
        if len(self._redone) < len(self._failed):
            self._redone[self._failed[len(self._redone)]] = lines
            return
        self._digest.update(lines[-1])
        self._note_rows()
        for path, line in zip(self._kept(self._part), lines, strict=True):
            with path.open("ab") as file:
                file.write(line)

    def end(self, *, finished: bool) -> None:
        """Write the files that hold all images, of a stopped run those that are done.

        The first of several processes waits for the others, and joins what they have written.
        """
        if self._part == WHOLE:
            self._replace_redone()
            self._write_joined()
        elif finished and self._part.number == 0 and not self._joined:
            self._join()

    def _replace_redone(self) -> None:
        for number, path in enumerate(self._kept(WHOLE) if self._redone else ()):
            redone = {place: lines[number] for place, lines in self._redone.items()}
            write_ours(self._folder, path.name, _with_lines(path, redone))

    def _join(self) -> None:
        parts, looked_at = self._part.all(), {}
        waiting = parts[1:]
        while waiting:
            for part in waiting[:]:
                # Rows of an earlier run count once their process has begun, which may add none.
                paths = [self._path(name, part) for name in (JSON_LINES_NAME, STATE_NAME)]
                seen = [(file.st_size, file.st_mtime_ns) for file in map(os.stat, filter(Path.exists, paths))]
                if looked_at.get(part) != seen and self._is_finished(part):
                    waiting.remove(part)
                elif part not in looked_at:
                    number = part.number + 1
                    print(f"Waiting for process {number} of {part.of}.", file=sys.stderr, flush=True)
                looked_at[part] = seen
            if waiting:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        for path, *of_parts in zip(self._kept(WHOLE), *map(self._kept, parts), strict=True):
            write_ours(self._folder, path.name, _content(of_parts))
        self._write_joined()
        with (self._folder / WRITTEN).open("ab") as record:
            record.writelines(_content(self._path(WRITTEN, part) for part in parts))
        # Last: it tells that all of this is done.
        write_ours(self._folder, STATE_NAME, self._state(WHOLE))
        for part in parts:
            for path in (*self._kept(part), self._path(STATE_NAME, part), self._path(WRITTEN, part)):
                path.unlink()

    def _write_joined(self) -> None:
        for (name, join), entries in zip(self._joins.items(), self._kept(WHOLE), strict=False):
            write_ours(self._folder, name, join(JsonLines(entries)))
            if self._settings is None:
                entries.unlink()

    def _kept(self, part: Part) -> list[Path]:
        """Return the files with a line per image: for each file that holds all images, and the rows."""
        entries = [self._folder / f".{part.name(name)}.entries" for name in self._joins]
        return [*entries, self._path(JSON_LINES_NAME, part)]

    def _path(self, name: str, part: Part | None = None) -> Path:
        return self._folder / (part or self._part).name(name)

    def _note_rows(self) -> None:
        name, record = (self._part.name(name) for name in (JSON_LINES_NAME, WRITTEN))
        note_written(self._folder, name, self._digest.hexdigest(), record=record)

    def _state(self, part: Part) -> Iterator[bytes]:
        """Yield what the rows of a part are of: the settings, then name, size and time of each image."""
        yield json_line(self._settings)
        for file in part.share(self._files):
            yield json_line([file.shown, *(file.stamp() or ())])

    def _check_state(self, part: Part) -> list[int]:
        """Return which images were changed since, by their places; refuse other images and settings."""
        changed = []
        with self._path(STATE_NAME, part).open("rb") as lines:
            for number, (then, now) in enumerate(itertools.zip_longest(lines, self._state(part))):
                if then == now:
                    continue
                if difference := _difference(number, then, now):
                    raise self._refusal(difference)
                changed.append(number - 1)
        return changed

    def _refusal(self, difference: str) -> UsageError:
        return UsageError(f"The run in {self._folder} cannot be resumed: {difference}.", _START_ANEW)

    def _is_finished(self, part: Part) -> bool:
        try:
            with self._path(JSON_LINES_NAME, part).open("rb") as lines:
                if sum(line.endswith(b"\n") for line in lines) != len(part.share(self._files)):
                    return False
            return not self._check_state(part)
        except (UsageError, FileNotFoundError):
            # Of an earlier run, as long as the other process has not begun.
            return False


def _difference(number: int, then: bytes | None, now: bytes | None) -> str:
    """Return how two lines of the state differ; nothing where it is only by size and time of an image."""
    try:
        before, after = (line and json.loads(line) for line in (then, now))
        if number == 0:
            changed = [name for name in after if after[name] != before.get(name)]
            return f"it was of another {' and another '.join(changed)}"
        if before and after and before[0] == after[0]:
            return ""
        was, found = (line[0] if line else "none" for line in (before, after))
        return f"image {number} was {was} and is {found} now"
    except (ValueError, LookupError, TypeError, AttributeError):
        return f"its {STATE_NAME} is damaged"


def _with_lines(path: Path, others: Mapping[int, bytes]) -> Iterator[bytes]:
    with path.open("rb") as lines:
        for place, line in enumerate(lines):
            yield others.get(place, line)


def _content(paths: Iterable[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                yield block
