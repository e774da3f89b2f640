from __future__ import annotations

from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from busi_unet.app.analysis import Analysis
from busi_unet.app.recent import MAX_RECENT, Recent
from busi_unet.errors import UsageError
from busi_unet.io.decode import DecodedImage


def _analysis(name: str, colors: bytes | None = None) -> Analysis:
    return Analysis(DecodedImage(np.zeros((300, 400), dtype=np.uint8)), raw=None, name=name, colors=colors)


def test_the_last_images_of_a_page_are_kept_until_it_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    recent, analyses = Recent(), [_analysis(str(number)) for number in range(MAX_RECENT + 1)]
    for analysis in analyses:
        recent.add("page", analysis)
    shown = recent.add("page", analyses[-1])

    assert [name for _, name in shown] == [str(number) for number in range(MAX_RECENT, 0, -1)]
    assert len(list(tmp_path.iterdir())) == MAX_RECENT
    path = shown[1][0]
    assert recent.get("page", path) is analyses[-2]
    with pytest.raises(UsageError):
        recent.get("another page", path)

    recent.forget(gr.Request(session_hash="page"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError):
        recent.get("page", path)


def test_the_oldest_images_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr("busi_unet.app.recent.MAX_BYTES", 300 * 400 * 2)
    recent = Recent()
    (old, _), *_ = recent.add("old", _analysis("old"))
    for name in "abc":
        shown = recent.add("page", _analysis(name))

    assert [name for _, name in shown] == ["c", "b"]
    with pytest.raises(UsageError):
        recent.get("old", old)
    # Its colours take room, too.
    shown = recent.add("page", _analysis("d", bytes(300 * 400)))
    assert [name for _, name in shown] == ["d"]
