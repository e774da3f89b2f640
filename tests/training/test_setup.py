import platform

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState

from busi_unet.config import Architecture
from busi_unet.models.unet import UNet
from busi_unet.training.options import TrainOptions
from busi_unet.training.setup import build_accelerator, build_ema, build_optimizer, build_schedule


@pytest.mark.parametrize(
    ("precision", "machine", "capability", "slow"),
    [
        ("bf16", "x86_64", "AVX2", True),
        ("bf16", "x86_64", "AVX512", False),
        ("bf16", "aarch64", "DEFAULT", False),
        ("fp32", "x86_64", "AVX2", False),
    ],
)
def test_a_cpu_that_only_emulates_bfloat16_is_said(monkeypatch, capsys, precision, machine, capability, slow):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    for state in (AcceleratorState, PartialState):  # They keep the precision of the first in a process.
        monkeypatch.setattr(state, "_shared_state", {})
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    build_accelerator(TrainOptions(precision=precision))
    assert ("--precision fp32" in capsys.readouterr().err) == slow


def test_the_schedule_warms_up_and_ends_at_zero():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build_schedule(optimizer, TrainOptions(epochs=4, warmup=1.0), steps_per_epoch=10)
    rates = []
    for _ in range(40):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[0] < 0.1
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[-1] < 0.01
    assert schedule.get_last_lr()[0] == pytest.approx(0.0)


def test_the_average_forgets_the_start_soon_and_keeps_its_decay_later():
    model = torch.nn.Linear(1, 1, bias=False)

    def kept(steps: int, decay: float) -> float:
        """What is left of the weights of the first step once they jumped."""
        torch.nn.init.ones_(model.weight)
        average = build_ema(model, decay)
        average.update_parameters(model)
        torch.nn.init.zeros_(model.weight)
        for _ in range(steps):
            average.update_parameters(model)
        return average.module.weight.item()

    assert kept(30, 0.99) < 1e-4, "a fixed decay would keep .74 of them"
    assert kept(1, 0.0) == 0
    assert kept(1001, 0.99) / kept(1000, 0.99) == pytest.approx(0.99)


def test_biases_and_norms_do_not_decay():
    model = UNet(Architecture("plain", width=4))
    optimizer = build_optimizer(model, TrainOptions(weight_decay=0.5))
    decay = {id(each): group["weight_decay"] for group in optimizer.param_groups for each in group["params"]}
    assert len(decay) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == (0.5 if parameter.ndim > 1 else 0.0), name
