import csv
from pathlib import Path

import numpy as np
import pytest
from fakes.dicom_files import dicom
from PIL import Image

from busi_unet.app import answers
from busi_unet.app.clip import CLIP, ClipHandlers
from busi_unet.app.newest import Newest
from busi_unet.data.phantom import make_phantom
from busi_unet.io import decode

FRAMES = np.stack([make_phantom("benign", seed=seed, size=(64, 90)).image for seed in range(4)])


@pytest.fixture
def handlers(model, monkeypatch) -> ClipHandlers:
    monkeypatch.setattr(answers, "SECONDS_BETWEEN_UPDATES", 0)
    return ClipHandlers(model)


@pytest.fixture
def path(tmp_path) -> str:
    (tmp_path / "clip.dcm").write_bytes(dicom(FRAMES, frames=len(FRAMES)))
    return str(tmp_path / "clip.dcm")


@pytest.fixture
def newest() -> Newest:
    newest = Newest()
    newest.take(3)
    return newest


def test_progress_then_timeline_overlays_and_a_row_per_frame(handlers, newest, path):
    run = handlers.begin(3, newest)["clip_run"]
    updates = list(handlers.run(newest, run, path, None))
    assert "2 of 4 frames done" in updates[1] and 'viewBox="0 0 4 100"' in updates[1]
    answer = handlers.show(newest, run)
    assert answer.keys() <= set(CLIP)
    assert 'data-file="3"' in answer["clip"] and f"Key frame {_key(answer)}" in answer["clip"]
    with Image.open(answer["clip_overlays"]) as overlays:
        assert overlays.n_frames == 4
    with Path(answer["clip_files"][0]).open(encoding="utf-8-sig", newline="") as stream:
        assert [row["frame"] for row in csv.DictReader(stream)] == ["1", "2", "3", "4"]


def _key(answer: dict) -> str:
    with Path(answer["clip_files"][0]).open(encoding="utf-8-sig", newline="") as stream:
        return next(row["frame"] for row in csv.DictReader(stream) if row["key_frame"] == "True")


def test_cancelling_keeps_what_is_done_and_offers_the_rest(handlers, newest, path):
    run = handlers.begin(3, newest)["clip_run"]
    running = handlers.run(newest, run, path, None)
    next(running)
    handlers.cancel(run)
    list(running)
    answer = handlers.show(newest, run)
    assert "2 of 4 frames done" in answer["clip"] and answer["clip_all"].visible
    assert Image.open(answer["clip_overlays"]).n_frames == 2


@pytest.mark.parametrize("same_file", [True, False])
def test_another_frame_leaves_the_run_alone_and_another_file_ends_it(
    handlers, newest, path, cache, same_file
):
    run = handlers.begin(3, newest)["clip_run"]
    running = handlers.run(newest, run, path, None)
    next(running)
    newest.take(4, same_file=same_file)
    assert len(list(running)) == (4 if same_file else 0)
    (overlays,) = cache.glob("answer-*/*.webp")
    assert bool(overlays.stat().st_size) == same_file
    assert bool(handlers.show(newest, run)) == same_file
    assert bool(handlers.begin(3, newest)) == same_file


def test_what_goes_wrong_is_said_in_the_panel(handlers, newest, path, monkeypatch):
    monkeypatch.setattr(decode, "MAX_FRAMES", 3)
    run = handlers.begin(3, newest)["clip_run"]
    assert list(handlers.run(newest, run, path, None)) == []
    answer = handlers.show(newest, run)
    assert "has 4 frames" in answer["clip"] and not answer["clip_cancel"].visible
