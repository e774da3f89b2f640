import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from busi_unet.app.memory import LARGE_PIXELS, in_turn


def test_large_images_go_one_at_a_time_and_others_pass():
    entered, leave = threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(in_turn, LARGE_PIXELS + 1, lambda: leave.wait(10))
        second = threads.submit(in_turn, LARGE_PIXELS + 1, entered.set)
        in_turn(LARGE_PIXELS, lambda: None)
        assert not entered.wait(0.1)
        leave.set()
        assert first.result(10)
        second.result(10)
    assert entered.is_set()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_large_images_stand_behind_all_other_work():
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()
    assert in_turn(LARGE_PIXELS + 1, niceness) > in_turn(LARGE_PIXELS, niceness) == before
