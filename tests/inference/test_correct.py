import numpy as np
import pytest

from busi_unet.errors import UsageError
from busi_unet.inference.correct import SIZE, Click, ClickBox, correct_mask, disc

SHAPE = (90, 160)
IMAGE = np.full(SHAPE, 90, dtype=np.uint8)
PROBABILITY = np.zeros(SHAPE, dtype=np.float32)
EMPTY = np.zeros(SHAPE, dtype=bool)


def finds(mask: np.ndarray):
    """A head that finds this mask whatever it is shown; it keeps what it was shown."""

    def head(maps: np.ndarray, clicks: np.ndarray) -> np.ndarray:
        head.maps, head.clicks = maps, clicks
        probability = np.zeros((SIZE, SIZE), dtype=np.float32)
        top = (SIZE - SHAPE[0]) // 2
        probability[top : top + SHAPE[0]] = mask
        return probability

    return head


def rectangle(*sides: int) -> np.ndarray:
    top, left, bottom, right = sides
    mask = EMPTY.copy()
    mask[top:bottom, left:right] = True
    return mask


LEFT, RIGHT = rectangle(20, 20, 40, 50), rectangle(50, 100, 80, 140)


@pytest.mark.parametrize(
    ("mask", "given", "expected"),
    [
        pytest.param(EMPTY, {"clicks": [Click(30, 30)]}, LEFT, id="a lesion is clicked"),
        pytest.param(EMPTY, {"box": ClickBox(45, 18, 15, 55)}, LEFT, id="a box, whatever its corners"),
        pytest.param(RIGHT, {"clicks": [Click(30, 30)]}, LEFT | RIGHT, id="another is there already"),
        pytest.param(RIGHT, {"clicks": [Click(30, 30, False)]}, RIGHT, id="what is no lesion is not drawn"),
    ],
)
def test_only_what_is_pointed_at_changes(mask, given, expected):
    np.testing.assert_array_equal(
        correct_mask(IMAGE, PROBABILITY, mask, head=finds(LEFT | RIGHT), **given), expected
    )


def test_not_this_one_removes_an_outline_by_its_middle_and_trims_it_at_its_edge():
    mask, trimmed = LEFT | RIGHT, LEFT | rectangle(50, 100, 80, 130)
    speck = rectangle(5, 150, 7, 152)
    head = finds(trimmed)
    removed = correct_mask(IMAGE, PROBABILITY, mask | speck, [Click(65, 120, False)], head=head)
    np.testing.assert_array_equal(removed, LEFT)
    edge = correct_mask(IMAGE, PROBABILITY, mask, [Click(65, 136, False)], head=head)
    np.testing.assert_array_equal(edge, trimmed)


def test_a_click_where_nothing_is_found_draws_a_disc_there():
    found = correct_mask(IMAGE, PROBABILITY, EMPTY, [Click(45, 80)], head=finds(EMPTY))
    np.testing.assert_array_equal(found, disc(SHAPE, 45, 80))


@pytest.mark.parametrize("given", [{}, {"clicks": [Click(90, 0)]}, {"clicks": [Click(0, -1)]}])
def test_no_click_or_one_outside_is_one_sentence(given):
    with pytest.raises(UsageError):
        correct_mask(IMAGE, PROBABILITY, EMPTY, **given)


def test_the_heads_own_weights_outline_a_missed_lesion_and_drop_a_false_one():
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    lesion = np.hypot(rows - 45, (columns - 60) / 1.4) < 18
    noise = np.random.default_rng(0).normal(1, 0.15, SHAPE)
    image = np.clip(np.where(lesion, 30, 120) * noise, 0, 255).astype(np.uint8)
    found = correct_mask(image, PROBABILITY, EMPTY, [Click(45, 60)])
    assert 2 * (found & lesion).sum() / (found.sum() + lesion.sum()) > 0.8
    false = rectangle(30, 110, 60, 140)
    probability = np.where(false | lesion, 0.9, 0.05)
    found = correct_mask(image, probability, lesion | false, [Click(45, 125, lesion=False)])
    assert (found & false).sum() < 0.2 * false.sum() and (found & lesion).sum() == lesion.sum()
