"""What every script shares: errors as one clear line, exit codes, results as text or JSON.

Exit codes: 0 success, 1 failure, 2 wrong usage, 130 stopped by the user. Results go to stdout,
everything else (progress, warnings, errors) to stderr.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from busi_unet.errors import BusiUNetError

Main = Callable[[Sequence[str] | None], Any]


def command(main: Main) -> Callable[..., int]:
    """Turns a script's `main(argv)` into one that returns an exit code; mistakes show no traceback.

    A `BusiUNetError` becomes its message on stderr and its own exit code. Anything else is a fault of
    the program and keeps its traceback.
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
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("busi_unet"):
                raise
            print(f"error: {error.name} is not installed. Run: pip install -e '.[train]'", file=sys.stderr)
            return 1
        except OSError as error:
            # A full disk, a folder that may not be written, a file where a folder should be.
            print(f"error: {error}", file=sys.stderr)
            return 1
        return 0

    return wrapped


def seed(text: str) -> int:
    """Type of a --seed that goes to a bootstrap; refuses, before the work, what no generator takes."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0")
    return int(text)


def warn(message: str) -> None:
    """Prints a warning on stderr."""
    print(f"warning: {message}", file=sys.stderr)


def print_json(result: dict[str, Any]) -> None:
    """Prints one JSON object on stdout.

    Raises:
        ValueError: a NaN or an infinity, which JSON cannot hold; use None.
    """
    print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))


def print_result(result: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Prints what a script found, on stdout: one JSON object, or text."""
    print_json(result) if as_json else print(text)


def parse_publishing(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses with the flags of every script that can show first what it would send.

    Returns:
        With `dry_run` and `json`, bool, and `output`, a path or None: where a dry run keeps the folder.
    """
    parser.add_argument("--dry-run", action="store_true", help="send nothing; list what would be sent")
    parser.add_argument("--output", type=Path, metavar="DIR", help="with --dry-run: keep the folder here")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    args = parser.parse_args(argv)
    if args.output and not args.dry_run:
        parser.error("--output needs --dry-run")
    return args
