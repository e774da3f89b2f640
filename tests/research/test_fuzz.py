"""A seeded share of the fuzzing campaign of `research/fuzz.py`."""

import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="its limits of time and memory are those of Linux")
def test_no_reader_crashes_hangs_or_differs_silently_from_a_second_one(tmp_path):
    from research import fuzz

    campaign = fuzz.run(250, 0, tmp_path, seconds=60)
    assert campaign.findings == []
    assert all(count["read"] for count in campaign.counts.values())
