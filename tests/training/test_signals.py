import os
import signal
import threading

import pytest

from busi_unet.training.signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with StopSignals() as signals:
        assert signals.received == 0
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == number
    assert signal.getsignal(number) is before


def test_where_work_may_break_off_the_first_signal_does_so():
    with StopSignals(at_once=True) as signals:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        # The launcher's repeat must not cut short what says so.
        os.kill(os.getpid(), signal.SIGINT)
    assert signals.received == signal.SIGTERM


def test_other_threads_note_nothing():
    noted = []

    def work():
        with StopSignals() as signals:
            noted.append(signals.received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert noted == [0]
