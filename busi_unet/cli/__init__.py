"""The command `busi-unet`: one module per command, imported when it is called; and what they share."""

from __future__ import annotations

import argparse
import functools
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from busi_unet.errors import BusiUNetError, IncompatibleModelError, MissingDependencyError, UsageError
from busi_unet.version import __version__

# Each command with the extra of pyproject.toml that it needs and its line in --help.
COMMANDS = {
    "predict": ("", "segment and classify images; write masks, overlays, a table and a report"),
    "app": ("app", "serve the web app"),
    "demo-data": ("", "write a small synthetic data set, to try the other commands without real data"),
    "prepare": ("train", "check data sets, split them without leaks and save them for training"),
    "train": ("train", "train a U-Net on a prepared data set"),
    "cross-validate": ("train", "train and test once per fold, then evaluate all images together"),
    "evaluate": ("train", "evaluate a model on a split and write a report"),
    "robustness": ("train", "measure how altered images change a model's answers and write a report"),
    "calibrate": ("train", "fit a model's class probabilities, thresholds and prediction sets again"),
    "export": ("train", "write model.onnx, to use a model without PyTorch, or a page that needs no server"),
    "push": ("train", "publish a model on the Hugging Face Hub"),
    "deploy": ("", "create or update the Hugging Face Space of the app"),
}
# Of the extra "train", imported when the work is done: what is missing is told before.
_DRAWN_WITH = ("matplotlib", "sklearn")


class _Parser(argparse.ArgumentParser):
    """Fails as everything else does: in one line, which names the help of its own command."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}.", f"See {self.prog} --help.")


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


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; its module's `add_arguments` and `run` do the work.

    Args:
        argv: name and arguments of the command; those of the process when None.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(
        prog="busi-unet",
        description="Segment and classify breast ultrasound images. Research use only, not a medical device.",
        epilog="Exit codes: 0 success, 1 failure, 2 wrong usage, 130 stopped by Ctrl-C. "
        "Results go to stdout; progress, warnings and errors to stderr.",
    )
    parser.add_argument("--version", action="version", version=f"busi-unet {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (_, text) in COMMANDS.items():
        commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    name = argv[0] if argv else ""
    if name not in COMMANDS:
        parser.parse_args(argv)  # prints help or version, or what is wrong, and exits
    extra, _ = COMMANDS[name]
    try:
        module = import_module(f"busi_unet.cli.{name.replace('-', '_')}")
        module.add_arguments(commands.choices[name])
        args = commands.choices[name].parse_args(argv[1:])
        args.command = ["busi-unet", *argv]
        for needed in _DRAWN_WITH if extra == "train" else ():
            if find_spec(needed) is None:
                raise ModuleNotFoundError(name=needed)
        module.run(args)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("busi_unet"):
            raise
        raise MissingDependencyError(
            f"{error.name} is not installed.", f'Run: pip install "busi-unet[{extra}]"'
        ) from error


# --- What the commands share ---------------------------------------------------------------------


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
        help="evaluate subgroups apart, too: a table with a column `image`, and names of other columns; the "
        "images with an entry in one are a subgroup",
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


def tell_next(*words: object) -> None:
    """Print the command that comes next on stderr."""
    print(f"Next: {shlex.join(['busi-unet', *map(str, words)])}", file=sys.stderr)


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
