from __future__ import annotations

import threading

from busi_unet.app.memory import LARGE_PIXELS, turn


def test_large_images_go_one_at_a_time_and_others_pass() -> None:
    entered = threading.Event()

    def enter() -> None:
        with turn(LARGE_PIXELS + 1):
            entered.set()

    with turn(LARGE_PIXELS + 1):
        other = threading.Thread(target=enter)
        other.start()
        with turn(LARGE_PIXELS):
            assert not entered.wait(0.1)
    other.join(10)

    assert entered.is_set()
