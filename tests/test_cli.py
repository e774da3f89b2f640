import argparse
import json
import subprocess
import sys

import pytest

from busi_unet.cli import command, parse_publishing, print_json, print_result, warn
from busi_unet.errors import BusiUNetError, DataLayoutError, TrainingStopped, UsageError


def test_success_is_exit_code_0():
    assert command(lambda argv: None)([]) == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [(BusiUNetError("It failed.", "Mend it."), 1), (UsageError("No such thing.", "Name another."), 2)],
)
def test_error_of_the_package_becomes_a_line_on_stderr_and_its_exit_code(error, code, capsys):
    def main(argv):
        raise error

    assert command(main)([]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"error: {error.message} {error.hint}\n"


def test_a_run_that_was_told_to_stop_is_no_error_and_says_which_signal(capsys):
    def main(argv):
        raise TrainingStopped(15, "SIGTERM came.", "Go on.")

    assert command(main)([]) == 143
    assert capsys.readouterr().err == "stopped: SIGTERM came. Go on.\n"


def test_every_problem_of_a_data_set_is_printed(capsys):
    def main(argv):
        raise DataLayoutError("The folder cannot be used:", ["a.png: damaged", "b.png: empty"], "Mend them.")

    assert command(main)([]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: The folder cannot be used:",
        "  - a.png: damaged",
        "  - b.png: empty",
        "Mend them.",
    ]


def test_faults_of_the_program_keep_their_traceback():
    def main(argv):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command(main)([])


def test_stopping_by_hand_is_exit_code_130(capsys):
    def main(argv):
        raise KeyboardInterrupt

    assert command(main)([]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_json_is_one_object_on_stdout_and_refuses_nan(capsys):
    print_json({"path": "Größe 3×4", "value": None})
    assert json.loads(capsys.readouterr().out) == {"path": "Größe 3×4", "value": None}
    with pytest.raises(ValueError, match="JSON"):
        print_json({"value": float("nan")})


def test_a_result_is_text_or_json(capsys):
    print_result({"value": 1}, "one", as_json=False)
    assert capsys.readouterr().out == "one\n"
    print_result({"value": 1}, "one", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"value": 1}


def test_an_output_is_kept_of_a_dry_run_only(capsys):
    args = parse_publishing(argparse.ArgumentParser(), ["--dry-run", "--output", "preview"])
    assert (args.dry_run, str(args.output), args.json) == (True, "preview", False)
    with pytest.raises(SystemExit) as caught:
        parse_publishing(argparse.ArgumentParser(), ["--output", "preview"])
    assert caught.value.code == 2
    assert "--output needs --dry-run" in capsys.readouterr().err


def test_warnings_go_to_stderr(capsys):
    warn("something odd")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "warning: something odd\n")


def test_a_console_without_the_characters_gets_a_result_all_the_same():
    program = (
        "from busi_unet.cli import command\n"
        "raise SystemExit(command(lambda argv: print('3 × 4 \\u2192 12'))([]))"
    )
    result = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", program],
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stdout.strip()) == (0, b"3 ? 4 ? 12")


def test_the_outside_world_failing_is_one_line(tmp_path, capsys):
    @command
    def main(_argv=None):
        (tmp_path / "file").touch()
        (tmp_path / "file" / "below").mkdir()

    assert main([]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_a_missing_library_is_named(capsys):
    @command
    def main(_argv=None):
        raise ModuleNotFoundError("No module named 'accelerate'", name="accelerate")

    assert main([]) == 1
    assert "accelerate is not installed" in capsys.readouterr().err
