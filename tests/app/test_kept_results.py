from __future__ import annotations

import time

import numpy as np
import pytest

from busi_unet.app.analysis import Analysis
from busi_unet.app.kept_results import KeptResults
from busi_unet.inference.prediction import RawOutput
from busi_unet.io.decode import DecodedImage


def _analysis(pixels: int = 100) -> Analysis:
    raw = RawOutput(np.zeros((2, 2)), np.zeros(3), np.zeros((3, 1, 1)), np.zeros(4))
    return Analysis(DecodedImage(np.zeros((1, pixels), dtype=np.uint8)), raw)


def test_a_result_is_found_by_its_name_alone() -> None:
    kept, analysis = KeptResults(), _analysis()
    name = kept.put(analysis)

    assert kept.get(name) is analysis
    assert kept.get("another") is None
    assert kept.put(analysis) != name
    assert len(name) >= 20


def test_a_result_is_forgotten_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = KeptResults(seconds=60)
    name = kept.put(_analysis())
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)

    assert kept.get(name) is None


@pytest.mark.parametrize("limits", [{"most": 2}, {"most_pixels": 250}])
def test_the_oldest_make_room(limits: dict[str, int]) -> None:
    kept = KeptResults(**limits)
    names = [kept.put(_analysis()) for _ in range(3)]

    assert [kept.get(name) is not None for name in names] == [False, True, True]


def test_one_result_is_kept_whatever_its_size() -> None:
    kept = KeptResults(most_pixels=10)

    assert kept.get(kept.put(_analysis())) is not None
