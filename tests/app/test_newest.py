from dataclasses import dataclass
from typing import Any

from busi_unet.app.newest import Newest, of_newest


@dataclass
class _Analysis:
    number: int


def _unexpected() -> dict[str, Any]:
    raise AssertionError("not to be called")


def test_only_the_newest_is_analysed_and_handed_over_once():
    newest = Newest()
    assert newest.take(1, _unexpected) and newest.take(3, lambda: {"third": 3})
    assert not newest.take(2, _unexpected), "an event that arrives late is no newer"
    assert newest.waiting and newest.hand_over() is None

    for _ in range(2):
        newest.run(_unexpected)
    assert newest.hand_over() == {"third": 3}
    assert newest.hand_over() is None and not newest.waiting
    newest.run(_unexpected)


def test_another_frame_is_a_newer_event_of_the_same_file():
    newest = Newest()
    newest.take(1)
    newest.take(2, same_file=True)
    assert (newest.number, newest.file) == (2, 1)
    newest.take(3)
    assert newest.file == 3


def test_an_answer_is_dropped_if_the_image_was_replaced_while_it_was_analysed():
    newest = Newest()
    newest.take(1, lambda: {"taken": newest.take(2)})
    newest.run(_unexpected)

    assert newest.hand_over() is None and newest.number == 2 and not newest.waiting


def test_a_failed_analysis_gives_an_answer_too(capsys):
    newest = Newest()
    newest.take(1, _unexpected)
    newest.run(lambda: {"failed": 1})

    assert newest.hand_over() == {"failed": 1}
    assert "not to be called" in capsys.readouterr().err


def test_what_is_done_to_a_replaced_image_is_dropped():
    newest = Newest()
    newest.take(1)
    done = of_newest(lambda analysis, replaced: {"done": replaced and newest.take(2)})

    assert done(newest, None, False) == done(newest, _Analysis(1), False) == {"done": False, "number": 1}
    assert done(newest, _Analysis(1), True) == {}, "replaced in the meantime"
    assert done(newest, _Analysis(1), False) == {}, "replaced before"
    newest.take(3, _unexpected)
    assert done(newest, None, False) == {}, "not analysed yet"


def test_an_image_is_analysed_once_whoever_asks():
    newest = Newest()
    newest.take(1, lambda: newest.run(_unexpected) or {"first": 1})
    newest.run(_unexpected)

    assert newest.hand_over() == {"first": 1}
