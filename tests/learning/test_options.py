import dataclasses
from pathlib import Path

import pytest

from busi_unet.errors import UsageError
from busi_unet.learning.options import TrainOptions, build_parser


def test_the_command_line_has_every_option_with_its_default():
    arguments = vars(build_parser().parse_args([]))
    assert TrainOptions(**arguments) == TrainOptions()
    assert set(arguments) == {field.name for field in dataclasses.fields(TrainOptions)}


def test_flags_reach_the_options():
    arguments = build_parser().parse_args(
        ["--size", "64", "--resume", "--learning-rate", "3e-4", "--output", "runs/x"]
    )
    options = TrainOptions(**vars(arguments))
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
    ],
)
def test_values_out_of_range_are_named_as_flags(name, value):
    with pytest.raises(UsageError, match="--" + name.replace("_", "-")) as caught:
        TrainOptions(**{name: value})
    assert caught.value.exit_code == 2
