import dataclasses
import json

import pytest
from accelerate import Accelerator
from datasets import DatasetDict
from fakes.made_up import CASES, make_split

from busi_unet.errors import TrainingError, UsageError
from busi_unet.training import run_folder
from busi_unet.training.checkpoint import CHECKPOINT_NAME
from busi_unet.training.options import TrainOptions
from busi_unet.training.run_folder import open_run_folder

DATA = DatasetDict(train=make_split(CASES[:3]), validation=make_split(CASES[3:5]), test=make_split(CASES[5:]))
ROTATED = DatasetDict(train=DATA["train"], validation=DATA["test"], test=DATA["validation"])


def open_folder(options: TrainOptions, data: DatasetDict = DATA) -> None:
    open_run_folder(options, Accelerator(cpu=True), data)


@pytest.fixture
def started(tmp_path) -> TrainOptions:
    """The options to resume a run with that has a checkpoint."""
    options = TrainOptions(output=tmp_path / "run", epochs=3)
    open_folder(options)
    (options.output / CHECKPOINT_NAME).touch()
    return dataclasses.replace(options, resume=True)


def edit_options(run: TrainOptions, **changes) -> None:
    """Replaces entries of options.json; None takes one away."""
    path = run.output / "options.json"
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {name: value for name, value in values.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def test_two_runs_are_not_mixed(started):
    with pytest.raises(UsageError, match="already holds a run"):
        open_folder(dataclasses.replace(started, resume=False))
    with pytest.raises(UsageError, match=r"other options: --epochs was 3\. Resume with those"):
        open_folder(dataclasses.replace(started, epochs=5))
    open_folder(dataclasses.replace(started, workers=2, accumulate=2))


def test_a_finished_run_is_not_taken_for_an_empty_folder(tmp_path):
    """Without its checkpoint, as people copy it: a training there would end with the old model."""
    options = TrainOptions(output=tmp_path / "run")
    (options.output / "model").mkdir(parents=True)
    (options.output / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match=r"already holds a finished run.*Name another --output"):
        open_folder(options)


def test_the_commit_is_that_at_which_the_run_began(started, monkeypatch):
    monkeypatch.setattr(run_folder, "commit", lambda: "later")
    edit_options(started, commit="earlier")
    open_folder(started)
    assert json.loads((started.output / "options.json").read_text(encoding="utf-8"))["commit"] == "earlier"
    other = dataclasses.replace(started, output=started.output.with_name("other"), resume=False)
    open_folder(other)
    assert json.loads((other.output / "options.json").read_text(encoding="utf-8"))["commit"] == "later"


def test_another_split_under_the_same_flags_is_not_resumed(started):
    with pytest.raises(UsageError, match="another split of the data, so it may know the test images"):
        open_folder(started, ROTATED)
    open_folder(started)


@pytest.mark.parametrize("text", ["[]", "{", "3", None])
def test_damaged_options_are_one_sentence(started, text):
    path = started.output / "options.json"
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    with pytest.raises(TrainingError, match=r"options\.json is missing or damaged\. Start anew in another"):
        open_folder(started)


def test_resuming_nothing_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match=r"holds no checkpoint\.pt.*without --resume"):
        open_folder(TrainOptions(output=tmp_path, resume=True))


def test_an_output_that_cannot_be_a_folder_is_named(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match=rf"--output {file} is a file"):
        open_folder(TrainOptions(output=file))
    data = tmp_path / "data"
    data.mkdir()
    (data / "dataset_dict.json").touch()
    with pytest.raises(UsageError, match=rf"--output {data} is a data set"):
        open_folder(TrainOptions(output=data))
    with pytest.raises(TrainingError, match=rf"{file / 'run'} cannot be written"):
        open_folder(TrainOptions(output=file / "run"))
