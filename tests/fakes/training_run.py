"""A training run as a program, with an accident if one is asked for.

python training_run.py OPTIONS_JSON [kill STEP | terminate STEP RANK | nan STEP RANK]

Steps are counted from 1, from the start of this program. Run by torchrun it trains in several processes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from busi_unet.cli.common import command
from busi_unet.training import loop
from busi_unet.training.options import TrainOptions


def read_options(text: str) -> TrainOptions:
    values = json.loads(text)
    return TrainOptions(**values | {name: Path(values[name]) for name in ("data", "output")})


def plan_accident(kind: str, step: int, rank: int = 0) -> None:
    steps = 0
    take_step = torch.optim.AdamW.step
    compute_loss = loop.combined_loss
    mine = int(os.environ.get("RANK", 0)) == rank

    def counted(self, *arguments, **keywords):
        nonlocal steps
        steps += 1
        if steps == step and mine and kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        result = take_step(self, *arguments, **keywords)
        if steps == step and mine and kind == "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    def spoiled(*arguments, **keywords):
        loss = compute_loss(*arguments, **keywords)
        return loss * torch.nan if steps == step - 1 and mine and kind == "nan" else loss

    torch.optim.AdamW.step = counted
    loop.combined_loss = spoiled


@command
def main(argv=None) -> None:
    options, *accident = sys.argv[1:]
    if accident:
        plan_accident(accident[0], *map(int, accident[1:]))
    loop.train(read_options(options))


if __name__ == "__main__":
    sys.exit(main())
