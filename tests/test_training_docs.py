"""docs/training.md and docs/options.md say what the programs take."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.options_table import COMMAND, PAGE, ROOT, options_page, train_parser

from research import average_models

GUIDE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(block.replace("\\\n", " ")) for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
]


def after_script(command: list[str]) -> list[str]:
    """The flags of train.py in a command."""
    return command[command.index("scripts/train.py") + 1 :]


def test_the_table_of_options_is_up_to_date():
    written = PAGE.read_text(encoding="utf-8")
    assert written == options_page(train_parser()), f"docs/options.md is out of date; run: {COMMAND}"


def test_the_table_lists_what_help_lists():
    shown = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "train.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    flags = re.findall(r"^  (?:-\w, )?(--[\w-]+)", shown, re.MULTILINE)
    flags.remove("--help")
    assert re.findall(r"^\| `(--[\w-]+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE) == flags


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_the_commands_can_be_given_as_they_stand(command):
    if "accelerate" in command:
        from accelerate.commands.launch import launch_command_parser

        arguments = launch_command_parser().parse_args(command[command.index("launch") + 1 :])
        assert arguments.multi_gpu or (ROOT / arguments.config_file).is_file()
        train_parser().parse_args(arguments.training_script_args)
    elif "torchrun" in command:
        from torch.distributed.run import get_args_parser

        arguments = get_args_parser().parse_args(command[command.index("torchrun") + 1 :])
        train_parser().parse_args(arguments.training_script_args)
    elif command[0] == "sbatch":
        start = command.index("configs/slurm.sh")
        train_parser().parse_args(["--output", *command[start + 1 :]])
    elif command[:2] == ["python", "research/average_models.py"]:
        average_models.build_parser().parse_args(command[2:])
    else:
        assert command[:3] == ["hf", "jobs", "run"]
        (shell,) = (part for part in command if "scripts/train.py" in part)
        training = shell[shell.index("scripts/train.py") :].replace(
            "$(test -e /runs/busi/checkpoint.pt && echo --resume)", "--resume"
        )
        train_parser().parse_args(after_script(shlex.split(training)))


@pytest.mark.slow
def test_the_hub_job_is_one_that_hf_would_submit():
    (command,) = (command for command in COMMANDS if command[0] == "hf")
    code = "import sys; from huggingface_hub.cli.hf import main; sys.exit(main())"
    result = subprocess.run(
        [sys.executable, "-c", code, "jobs", "run", "--dry-run", *command[3:]],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "Job not submitted" in result.stdout
    assert "hf://buckets/USER/runs:/runs" in result.stdout


def test_every_flag_it_mentions_exists():
    from torch.distributed.run import get_args_parser

    known = {flag for action in train_parser()._actions for flag in action.option_strings}
    known |= {flag for action in get_args_parser()._actions for flag in action.option_strings}
    known |= {
        "--signal",
        "--requeue",
        "--machine_rank",
        "--main_process_ip",
        "--cpu",
        "--num_processes",
        "--dry-run",
        "--push-to-hub",
    }
    known |= {"--logdir", "--samples_per_plugin", "--project"}  # Slurm, accelerate, hf, tensorboard, trackio
    prose = re.sub(r"```sh\n.*?```", "", GUIDE, flags=re.DOTALL)
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", prose)) <= known


def test_links_lead_somewhere():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", GUIDE)
    assert targets
    assert [target for target in targets if not (Path(PAGE.parent) / target).exists()] == []
