"""Writes docs/options.md, every flag of scripts/train.py and its default:
python tests/fakes/options_table.py
"""

from __future__ import annotations

import argparse
import importlib.util
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "options.md"
COMMAND = "python tests/fakes/options_table.py"


def script(name: str) -> ModuleType:
    """The module scripts/NAME.py."""
    spec = importlib.util.spec_from_file_location(f"{name}_script", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def train_parser() -> argparse.ArgumentParser:
    """The parser that scripts/train.py makes."""
    train = script("train")
    parser = train.build_parser()
    train.add_push_flags(parser)
    return parser


def options_page(parser: argparse.ArgumentParser) -> str:
    """The page as Markdown."""
    return (
        "# Every option of training\n\n"
        f"Generated from the parser of `scripts/train.py` by `{COMMAND}`; do not edit.\n\n"
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
