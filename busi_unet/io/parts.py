"""The shares of several processes in one run, and how their files are called until one process joins them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from busi_unet.errors import UsageError

Item = TypeVar("Item")


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
