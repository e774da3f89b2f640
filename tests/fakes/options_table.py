"""Writes docs/options.md, every flag of busi-unet train and its default:
python tests/fakes/options_table.py
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from busi_unet.cli import train

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "options.md"
COMMAND = "python tests/fakes/options_table.py"


def train_parser() -> argparse.ArgumentParser:
    """Return the parser of `busi-unet train`."""
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return parser


def options_page(parser: argparse.ArgumentParser) -> str:
    """The page as Markdown."""
    return (
        "# Every option of training\n\n"
        f"Generated from the parser of `busi-unet train` by `{COMMAND}`; do not edit.\n\n"
        "| flag | default | meaning |\n|---|---|---|\n"
        + "".join(_row(action) for action in parser._actions if action.dest != "help")
    )


def _row(action: argparse.Action) -> str:
    flag = action.option_strings[-1]
    if action.metavar:
        flag += f" {action.metavar}"
    value = action.default.as_posix() if isinstance(action.default, Path) else action.default
    default = "off" if action.nargs == 0 else "–" if value in (None, ()) else f"`{value}`"
    meaning = re.sub(r" \(default: [^()]*\)$", "", action.help % {"default": action.default})
    if action.choices:
        meaning += ": " + ", ".join(f"`{choice}`" for choice in action.choices)
    return f"| `{flag}` | {default} | {meaning.replace('|', chr(92) + '|')} |\n"


if __name__ == "__main__":
    PAGE.write_text(options_page(train_parser()), encoding="utf-8", newline="\n")
