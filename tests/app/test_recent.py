from __future__ import annotations

from dataclasses import replace

import gradio as gr
import numpy as np
import pytest

from busi_unet.app.analysis import Analysis
from busi_unet.app.recent import MAX_RECENT, Recent
from busi_unet.errors import UsageError
from busi_unet.io.decode import DecodedImage


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
    monkeypatch.setattr("busi_unet.app.recent.MAX_BYTES", 300 * 400 * 2)
    recent = Recent()
    (old,) = recent.add("old", _analysis("old"))
    for name in "abc":
        shown = recent.add("page", _analysis(name))

    assert _names(shown) == ["c", "b"]
    with pytest.raises(UsageError):
        recent.get("old", old["key"])
    # Its colours take room, too.
    assert _names(recent.add("page", _analysis("d", bytes(300 * 400)))) == ["d"]
