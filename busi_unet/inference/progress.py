"""How far a run has come: its rows on the disk, and what they are of, so that it can be resumed."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from busi_unet.errors import UsageError
from busi_unet.imaging.formats import RunFiles
from busi_unet.io.files import WRITTEN, JsonLines, json_line, keep_lines, note_written, write_ours
from busi_unet.io.find_images import ImageFile
from busi_unet.io.parts import WHOLE, Part

JSON_LINES_NAME, STATE_NAME = "predictions.jsonl", "resume.jsonl"
_SECONDS_BETWEEN_LOOKS = 0.5
_START_ANEW = "Choose another output folder, or leave out --resume to start anew."


class Progress:
    """The rows of one part of a run, a JSON line per image, in the order of the images.

    Args:
        folder: the output folder.
        files: all images of the run.
        settings: what else decides the rows, by name; None for a run that is not to be resumed.
        part: whose rows.
    """

    def __init__(
        self, folder: Path, files: Sequence[ImageFile], settings: Mapping[str, Any] | None, part: Part = WHOLE
    ) -> None:
        self._folder, self._files, self._settings, self._part = folder, files, settings, part
        self._digest = hashlib.sha256()
        # All parts were joined before: nothing is left to do.
        self.joined = False

    def find(self) -> int | None:
        """Return how many rows of an earlier run are whole; None where there is no such run.

        Raises:
            UsageError: it was of other images or settings, or shared out otherwise.
        """
        share = self._part.share(self._files)
        if self._part != WHOLE and self._is_finished(WHOLE):
            self.joined = True
            return len(share)
        rows = self._path(JSON_LINES_NAME)
        if self._path(STATE_NAME).exists():
            self._check_state(self._part)
            done = keep_lines(rows, len(share))
            pairs = zip(JsonLines(rows), share, strict=False)
            try:
                fits = all(row["image"] == file.shown for row, file in pairs)
            except (ValueError, LookupError, TypeError):
                fits = False
            if not fits:
                raise UsageError(f"{rows} has been changed.", _START_ANEW)
            with rows.open("rb") as lines:
                self._digest = hashlib.file_digest(lines, "sha256")
            return done
        if any(self._path(STATE_NAME, part).exists() for part in self._part.all()):
            return None
        if any(self._folder.glob("resume*.jsonl")) or (self._folder / JSON_LINES_NAME).exists():
            raise UsageError(
                f"The run in {self._folder} cannot be resumed by {self._part.of} process"
                f"{'es' * (self._part.of > 1)}: it was shared out otherwise.",
                f"Use as many processes as then. {_START_ANEW}",
            )
        return None

    def begin(self) -> None:
        """Start anew."""
        # Before the state: rows of another run must not pass for rows of this one.
        self._path(JSON_LINES_NAME).write_bytes(b"")
        self._note(JSON_LINES_NAME)
        if self._settings is not None:
            name, record = (self._part.name(name) for name in (STATE_NAME, WRITTEN))
            write_ours(self._folder, name, self._state(self._part), record=record)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write the next row; it is on the disk before this returns."""
        line = json_line(row)
        self._digest.update(line)
        self._note(JSON_LINES_NAME)
        with self._path(JSON_LINES_NAME).open("ab") as lines:
            lines.write(line)

    def join(self, run: RunFiles) -> None:
        """Wait until the other parts are done, then write the files of all and delete those of the parts."""
        parts, looked_at = self._part.all(), {}
        waiting = [part for part in parts if part != self._part]
        while waiting:
            for part in waiting[:]:
                rows = self._path(JSON_LINES_NAME, part)
                size = rows.stat().st_size if rows.exists() else 0
                if looked_at.get(part) != size and self._is_finished(part):
                    waiting.remove(part)
                elif part not in looked_at:
                    number = part.number + 1
                    print(f"Waiting for process {number} of {part.of}.", file=sys.stderr, flush=True)
                looked_at[part] = size
            if waiting:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        rows = _content(self._path(JSON_LINES_NAME, part) for part in parts)
        write_ours(self._folder, JSON_LINES_NAME, rows)
        run.join(parts)
        with (self._folder / WRITTEN).open("ab") as record:
            record.writelines(_content(self._path(WRITTEN, part) for part in parts))
        # Last: it tells that all of this is done.
        write_ours(self._folder, STATE_NAME, self._state(WHOLE))
        for part in parts:
            for name in (STATE_NAME, JSON_LINES_NAME, WRITTEN):
                self._path(name, part).unlink()

    def _path(self, name: str, part: Part | None = None) -> Path:
        return self._folder / (part or self._part).name(name)

    def _note(self, name: str) -> None:
        digest, record = self._digest.hexdigest(), self._part.name(WRITTEN)
        note_written(self._folder, self._part.name(name), digest, record=record)

    def _state(self, part: Part) -> Iterator[bytes]:
        """Yield what the rows of a part are of: the settings, then name, size and time of each image."""
        yield json_line(self._settings)
        for file in part.share(self._files):
            yield json_line([file.shown, *(file.stamp() or ())])

    def _check_state(self, part: Part) -> None:
        with self._path(STATE_NAME, part).open("rb") as lines:
            for number, (then, now) in enumerate(itertools.zip_longest(lines, self._state(part))):
                if then != now:
                    raise UsageError(
                        f"The run in {self._folder} cannot be resumed: {_difference(number, then, now)}.",
                        _START_ANEW,
                    )

    def _is_finished(self, part: Part) -> bool:
        try:
            with self._path(JSON_LINES_NAME, part).open("rb") as lines:
                if sum(line.endswith(b"\n") for line in lines) != len(part.share(self._files)):
                    return False
            self._check_state(part)
        except (UsageError, FileNotFoundError):
            # Of an earlier run, as long as the other process has not begun.
            return False
        return True


def _difference(number: int, then: bytes | None, now: bytes | None) -> str:
    """Return in which way a line of an earlier run's state is not that of this one."""
    try:
        before, after = (line and json.loads(line) for line in (then, now))
        if number == 0:
            changed = [name for name in after if after[name] != before.get(name)]
            return f"it was of another {' and another '.join(changed)}"
        if before and after and before[0] == after[0]:
            return f"{after[0]} was changed since"
        was, found = (line[0] if line else "none" for line in (before, after))
        return f"image {number} was {was} and is {found} now"
    except (ValueError, LookupError, TypeError, AttributeError):
        return f"its {STATE_NAME} is damaged"


def _content(paths: Iterator[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                yield block
