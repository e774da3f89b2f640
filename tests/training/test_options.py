import argparse
import dataclasses
import math
from pathlib import Path

import pytest

from busi_unet.errors import UsageError
from busi_unet.training.options import TrainOptions, add_options


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(arguments)


def test_the_command_line_has_every_option_with_its_default():
    arguments = vars(parse())
    assert TrainOptions(**arguments) == TrainOptions()
    assert set(arguments) == {field.name for field in dataclasses.fields(TrainOptions)}


def test_flags_reach_the_options():
    arguments = parse("--size", "64", "--resume", "--learning-rate", "3e-4", "--output", "runs/x")
    options = TrainOptions.from_arguments(arguments)
    assert (options.size, options.resume, options.learning_rate) == (64, True, 3e-4)
    assert options.output == Path("runs/x")
    assert options.to_dict()["output"] == "runs/x"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 100),
        ("size", 4096),
        ("seed", -1),
        ("epochs", 0),
        ("learning_rate", 0.0),
        ("ema_decay", 1.0),
        ("weight_decay", -1.0),
        ("workers", -1),
        ("width", 0),
        ("width", 300),
        ("mixup", -1.0),
        ("mixup", math.nan),
        ("warmup", math.inf),
        ("learning_rate", math.inf),
        ("checkpoint_minutes", math.inf),
    ],
)
def test_values_out_of_range_are_named_as_flags(name, value):
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')} is {value}") as caught:
        TrainOptions(**{name: value})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("flag", "value", "encoder"),
    [
        ("width", 32, "efficientnet_lite0"),
        ("freeze_depthwise", True, "plain"),
    ],
)
def test_what_would_do_nothing_to_the_encoder_is_refused(flag, value, encoder):
    with pytest.raises(UsageError, match=f"--{flag.replace('_', '-')} .*Leave it out"):
        TrainOptions(**{flag: value}, encoder=encoder)


def test_a_validation_fold_needs_a_test_fold():
    with pytest.raises(UsageError, match="--validation-fold needs --fold"):
        TrainOptions(validation_fold=2)
    assert TrainOptions(fold=0, validation_fold=2).validation_fold == 2
