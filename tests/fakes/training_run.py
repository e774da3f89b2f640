"""Trainings in processes of their own, which may meet with an accident.

They are forked from a process that has imported PyTorch once, as its import takes longer than they do.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from busi_unet.cli import command
from busi_unet.training import loop, run_folder
from busi_unet.training.options import TrainOptions


def start(
    options: TrainOptions, said: Path, accident: tuple[str, int] | None = None, **environment: str
) -> BaseProcess:
    """Start a training; what it prints comes to the end of the file `said`.

    Args:
        options: of the training.
        said: a file.
        accident: ("kill", STEP), ("terminate", STEP) or ("nan", STEP), counted from 1 from its start.
        environment: variables that the process has beside those of this one.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([loop.__name__])
    arguments = (options, said, accident, {**os.environ, **environment}, torch.get_num_threads())
    process = context.Process(target=_run, args=arguments)
    process.start()
    return process


def _run(
    options: TrainOptions,
    said: Path,
    accident: tuple[str, int] | None,
    environment: Mapping[str, str],
    threads: int,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(threads)
    with said.open("a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    # It takes half the time of a run this small.
    run_folder.draw_curves = lambda *_: None
    if accident:
        plan_accident(*accident)
    sys.exit(command(lambda _: print("Model:", loop.train(options)))())


def plan_accident(kind: str, step: int) -> None:
    steps = 0
    take_step = torch.optim.AdamW.step
    compute_loss = loop.combined_loss

    def counted(self, *arguments, **keywords):
        nonlocal steps
        steps += 1
        if steps == step and kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        result = take_step(self, *arguments, **keywords)
        if steps == step and kind == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    def spoiled(*arguments, **keywords):
        loss = compute_loss(*arguments, **keywords)
        return loss * torch.nan if steps == step - 1 and kind == "nan" else loss

    torch.optim.AdamW.step = counted
    loop.combined_loss = spoiled
