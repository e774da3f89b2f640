"""The files in configs/, used as docs/training.md says, as far as that goes without GPUs and a cluster."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from torch.distributed.run import get_args_parser

from busi_unet.training.run_folder import CHECKPOINT_NAME

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
PROCESSES = {"cpu": (1, 1), "single_gpu": (1, 1), "multi_gpu": (2, 1), "multi_node": (8, 2)}


@pytest.mark.parametrize("name", PROCESSES)
def test_accelerate_reads_the_configuration(name):
    config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    assert (config.num_processes, config.num_machines) == PROCESSES[name]
    assert config.use_cpu == (name == "cpu")
    assert config.distributed_type.value == ("MULTI_GPU" if name.startswith("multi") else "NO")
    # train.py --precision has the last word; a file that says something else would mislead.
    assert config.mixed_precision == "no"


@pytest.mark.slow
def test_the_configuration_for_several_gpus_starts_a_process_for_each(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, pathlib\npathlib.Path(os.environ['RANK']).write_text(os.environ['WORLD_SIZE'])"
    )
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", str(CONFIGS / "multi_gpu.yaml"), "--main_process_port", "0", str(script)]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "ACCELERATE_USE_CPU": "true"}, check=True)
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["2", "2"]


# A cluster's stand-ins: srun runs what it is given, scancel reaches it, all write down what they are told.
STAND_INS = {
    "srun": 'echo $$ > "$NOTES/step"\nexec "$@"\n',
    "torchrun": 'echo "$@" >> "$NOTES/torchrun"\nexec python "$NOTES/training.py"\n',
    "scancel": 'echo "$@" >> "$NOTES/scancel"\nkill -TERM "$(cat "$NOTES/step")"\n',
    "scontrol": 'if [ "$1" = show ]; then echo node1; else echo "$@" >> "$NOTES/scontrol"; fi\n',
}
STOPPABLE = """\
import pathlib, signal, sys, time
def stop(*_):
    time.sleep(0.5)
    pathlib.Path("runs/x/checkpoint.pt").touch()
    sys.exit(1)
signal.signal(signal.SIGTERM, stop)
pathlib.Path("runs/x").mkdir(parents=True, exist_ok=True)
pathlib.Path("runs/x/started").touch()
time.sleep(60)
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Path:
    if os.name != "posix" or shutil.which("bash") is None:
        pytest.skip("the job script needs bash")
    for name, body in STAND_INS.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/bash\n" + body, encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(tmp_path))
    for name, value in {
        "JOB_ID": "70001",
        "NNODES": "1",
        "JOB_NODELIST": "node1",
        "GPUS_ON_NODE": "3",
    }.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return tmp_path


def submit(*flags: str) -> subprocess.Popen:
    return subprocess.Popen(["bash", str(CONFIGS / "slurm.sh"), "runs/x", *flags])


def test_a_job_at_its_time_limit_checkpoints_and_queues_again_and_the_next_resumes(cluster):
    (cluster / "training.py").write_text(STOPPABLE, encoding="utf-8")
    job = submit("--data", "my data")
    for _ in range(300):
        if (cluster / "runs" / "x" / "started").exists():
            break
        time.sleep(0.1)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=60) == 1
    assert (cluster / "scancel").read_text() == "--signal=TERM 70001\n"
    assert (cluster / "scontrol").read_text() == "requeue 70001\n"
    assert (cluster / "runs" / "x" / CHECKPOINT_NAME).exists()

    (cluster / "training.py").write_text("", encoding="utf-8")
    assert submit("--data", "my data").wait(timeout=60) == 0
    first, second = (cluster / "torchrun").read_text().splitlines()
    assert "--nproc-per-node 3 --rdzv-id 70001" in first
    assert "--rdzv-endpoint node1:20001" in first
    assert first.endswith("scripts/train.py --output runs/x --data my data")
    assert second == f"{first} --resume"
    assert get_args_parser().parse_args(first.split()).training_script == "scripts/train.py"
    assert (cluster / "scontrol").read_text() == "requeue 70001\n"


def test_a_job_that_fails_by_itself_is_not_queued_again(cluster):
    (cluster / "training.py").write_text("raise SystemExit(7)", encoding="utf-8")
    assert submit().wait(timeout=60) == 7
    assert not (cluster / "scontrol").exists()
