"""What the commands share: errors as one line and an exit code, arguments, results as text or JSON."""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from busi_unet.errors import BusiUNetError, IncompatibleModelError, UsageError


def command(main: Callable[[Sequence[str] | None], Any]) -> Callable[..., int]:
    """Turn a `main(argv)` into one that returns an exit code.

    A `BusiUNetError` becomes its message on stderr and its own exit code, a failing operating system one
    line and 1. Anything else is a fault of the program and keeps its traceback.
    """

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                # A console that cannot show a "×" must not turn a result into a UnicodeEncodeError.
                stream.reconfigure(errors="replace")
        try:
            main(argv)
            sys.stdout.flush()
        except BusiUNetError as error:
            print(f"{error.label}: {error}", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            print("stopped.", file=sys.stderr)
            return 130
        except BrokenPipeError:
            # The reader (`| head`) has had enough; Python would complain once more while it closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            # A full disk, a folder that may not be written, a file where a folder should be.
            print(f"error: {error}", file=sys.stderr)
            return 1
        return 0

    return wrapped


def seed(text: str) -> int:
    """Return a --seed as a number; refuse, before the work, what no generator takes."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0")
    return int(text)


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add --data, the prepared data set."""
    parser.add_argument(
        "--data", type=Path, default=Path("data/busi"), help="prepared data set (%(default)s)"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (%(default)s)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def add_subgroups(parser: argparse.ArgumentParser) -> None:
    """Add --by, a table and columns for `read_subgroups`."""
    parser.add_argument(
        "--by",
        nargs="+",
        metavar=("TABLE", "COLUMN"),
        help="CSV with a column `image`, and columns of it: images with an entry there are a subgroup",
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add --dry-run and its --output."""
    parser.add_argument("--dry-run", action="store_true", help="send nothing; list what would be sent")
    parser.add_argument("--output", type=Path, metavar="DIR", help="with --dry-run: keep the folder here")


def require(holds: object, message: str) -> None:
    """Raise UsageError where arguments do not fit together."""
    if not holds:
        raise UsageError(message)


def warn(message: str) -> None:
    """Print a warning on stderr."""
    print(f"warning: {message}", file=sys.stderr)


def add_twin(folder: Path) -> None:
    """Write model.onnx into a new model folder; warn where it cannot be, since PyTorch runs the model."""
    from busi_unet.inference.twin import write_twin

    try:
        write_twin(folder)
    except IncompatibleModelError as error:
        warn(str(error))


def print_result(result: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print a result on stdout: text, or one JSON object.

    Raises:
        ValueError: a NaN or an infinity, which JSON cannot hold; use None.
    """
    print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) if as_json else text)
