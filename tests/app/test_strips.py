from __future__ import annotations

import base64
import csv
import io
from dataclasses import replace
from importlib.resources import files

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from busi_unet.app.analysis import Analysis
from busi_unet.app.strips import EXAMPLES_FOLDER, MAX_RECENT, Recent, example_thumbnails, examples
from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.io.decode import DecodedImage


def test_the_examples_are_of_the_fold_that_no_training_used() -> None:
    table = (files("busi_unet") / "data" / "breast_folds.csv").read_text(encoding="utf-8").splitlines()
    rows = {row["image_id"]: row for row in csv.DictReader(table)}

    assert [example.label for example in examples()] == list(CLASS_NAMES)
    for example in examples():
        assert rows[example.case]["fold"] == "0" and rows[example.case]["label"] == example.label
        assert example.path.stat().st_size < 150_000


def test_licence_and_citation_lie_beside_the_examples() -> None:
    readme = (EXAMPLES_FOLDER / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in readme and "10.7937/9WKK-Q141" in readme
    assert all(example.path.name in readme for example in examples())


def test_thumbnails_show_the_examples_in_order() -> None:
    for place, (example, small) in enumerate(zip(examples(), example_thumbnails(), strict=True)):
        encoded = base64.b64decode(small["source"].partition(",")[2])
        with Image.open(example.path) as image, Image.open(io.BytesIO(encoded)) as shown:
            assert abs(shown.width / shown.height - image.width / image.height) < 0.02
            assert max(shown.size) <= 160
        assert (small["key"], small["name"]) == (str(place), example.label)


def _analysis(name: str, colors: bytes | None = None) -> Analysis:
    image = DecodedImage(np.zeros((300, 400), dtype=np.uint8))
    return Analysis(image, raw=object(), name=name, colors=colors)


def _names(shown: list[dict[str, str]]) -> list[str]:
    return [each["name"] for each in shown]


def test_the_last_images_of_a_page_are_kept_until_it_closes() -> None:
    recent, analyses = Recent(), [_analysis(str(number)) for number in range(MAX_RECENT + 1)]
    for analysis in analyses:
        recent.add("page", analysis)
    shown = recent.add("page", analyses[-1])

    assert _names(shown) == [str(number) for number in range(MAX_RECENT, 0, -1)]
    key = shown[1]["key"]
    assert recent.get("page", key) is analyses[-2]
    with pytest.raises(UsageError):
        recent.get("another page", key)

    recent.forget(gr.Request(session_hash="page"))
    with pytest.raises(UsageError):
        recent.get("page", key)


def test_an_image_that_comes_again_is_the_newest_and_one_gone_back_to_stays() -> None:
    recent = Recent()
    analyses = [_analysis(name) for name in "ab"]
    for analysis in analyses:
        shown = recent.add("page", analysis)

    assert recent.add("page", replace(analyses[0], in_box=False)) == shown
    assert _names(recent.add("page", _analysis("a"))) == ["a", "b"]


def test_the_oldest_images_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("busi_unet.app.strips.MAX_RECENT_BYTES", 300 * 400 * 2)
    recent = Recent()
    (old,) = recent.add("old", _analysis("old"))
    for name in "abc":
        shown = recent.add("page", _analysis(name))

    assert _names(shown) == ["c", "b"]
    with pytest.raises(UsageError):
        recent.get("old", old["key"])
    # Its colours take room, too.
    assert _names(recent.add("page", _analysis("d", bytes(300 * 400)))) == ["d"]
