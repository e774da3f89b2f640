"""The command as such: how it finds its commands and what becomes of errors."""

import subprocess
import sys
from pathlib import Path

import pytest

from busi_unet import cli
from busi_unet.cli import COMMANDS, command, main
from busi_unet.errors import BusiUNetError, DataLayoutError, TrainingStopped, UsageError
from busi_unet.version import __version__

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert f"usage: busi-unet {name}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["-m", "busi_unet"], ["-c", "from busi_unet.cli import main; main()"]])
def test_the_module_and_the_entry_point_are_the_command(arguments):
    result = subprocess.run([sys.executable, *arguments, "--version"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, f"busi-unet {__version__}\n")


def test_a_missing_extra_is_named_in_one_line(monkeypatch, capsys):
    def import_module(name):
        raise ModuleNotFoundError("No module named 'accelerate'", name="accelerate")

    monkeypatch.setattr(cli, "import_module", import_module)
    assert main(["train"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        'error: accelerate is not installed. Run: pip install "busi-unet[train]"'
    ]


def test_what_draws_the_plots_is_missed_before_the_work(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["evaluate", "no-such-model"]) == 1
    assert "matplotlib is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["predict"], ["predict", "x", "--bogus"], ["predict", "--frames", "x"]]
)
def test_a_wrong_argument_is_told_in_a_line_with_the_help_of_its_command(arguments, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("See busi-unet predict --help.")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BusiUNetError("It failed.", "Fix it."), 1, "error: It failed. Fix it.\n"),
        (UsageError("No such thing."), 2, "error: No such thing.\n"),
        (TrainingStopped(15, "SIGTERM came.", "Go on."), 143, "stopped: SIGTERM came. Go on.\n"),
        (
            DataLayoutError("It cannot be used:", ["a: bad"], "Fix it."),
            1,
            "error: It cannot be used:\n  - a: bad\nFix it.\n",
        ),
        (OSError("disk full"), 1, "error: disk full\n"),
        (KeyboardInterrupt(), 130, "stopped.\n"),
    ],
)
def test_an_error_becomes_its_message_and_its_exit_code(error, code, said, capsys):
    def fail(argv):
        raise error

    assert command(fail)([]) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", said)


def test_a_console_without_the_characters_gets_a_result_all_the_same():
    program = (
        "from busi_unet.cli import command\n"
        "raise SystemExit(command(lambda argv: print('3 × 4 \\u2192 12'))([]))"
    )
    result = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", program],
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stdout.strip()) == (0, b"3 ? 4 ? 12")
