import argparse
import math

import pytest

from busi_unet.errors import UsageError
from busi_unet.training.options import QUICK, TrainOptions, add_options


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(arguments)


def test_the_command_line_has_every_option_with_its_default():
    assert TrainOptions.from_arguments(parse()) == TrainOptions()
    parser = argparse.ArgumentParser(add_help=False)
    add_options(parser)
    assert {action.dest for action in parser._actions} == {*TrainOptions.model_fields, "quick"}


def test_quick_gives_way_to_what_is_given():
    quick = TrainOptions.from_arguments(parse("--quick", "--size", "192"))
    assert quick == TrainOptions(**QUICK | {"size": 192}) != TrainOptions()


def test_where_things_lie_is_no_part_of_the_recipe():
    options = TrainOptions(seed=3)
    assert options.recipe() == options.replace(output="elsewhere", workers=2, tracker="trackio").recipe()
    assert options.recipe() != options.replace(seed=4).recipe()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 100),
        ("size", 4096),
        ("seed", -1),
        ("epochs", 0),
        ("learning_rate", 0.0),
        ("ema_decay", 1.0),
        ("width", 300),
        ("class_weight", math.nan),
        ("warmup", math.inf),
    ],
)
def test_values_out_of_range_are_named_as_flags(name, value):
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')} is {value}; it must be") as caught:
        TrainOptions().replace(**{name: value})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 32}, "--width is for plain"),
        ({"leave_out": "busi", "fold": 1}, "--fold and --leave-out"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        TrainOptions(**values)
