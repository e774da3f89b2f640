"""The command `busi-unet`: one module per command, imported when that command is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from busi_unet.cli.common import command
from busi_unet.errors import MissingDependencyError
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


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; its module's `add_arguments` and `run` do the work.

    Args:
        argv: name and arguments of the command; those of the process when None.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
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
        args = parser.parse_args(argv)
        args.command = ["busi-unet", *argv]
        module.run(args)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").startswith("busi_unet"):
            raise
        raise MissingDependencyError(
            f"{error.name} is not installed.", f'Run: pip install "busi-unet[{extra}]"'
        ) from error
