"""The finder of copies: every kind of copy is found, look-alikes are not, and chance plays no part."""

import cv2
import numpy as np
import pytest

from busi_unet.data.duplicates import MIN_SCORE, CopyPair, connected, find_copies
from busi_unet.data.phantom import make_phantom

COUNT = 8
COPIED = 4


@pytest.fixture(scope="module")
def originals() -> list[np.ndarray]:
    labels = ("benign", "malignant", "normal")
    return [make_phantom(labels[seed % 3], seed=seed, size=(240, 300)).image for seed in range(COUNT)]


def crop(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    return image[height // 8 : -height // 8, width // 5 :].copy()


def rescan(image: np.ndarray) -> np.ndarray:
    smaller = cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    return np.pad(smaller, ((30, 10), (5, 60)))


def regain(image: np.ndarray) -> np.ndarray:
    return np.clip(255 * (image / 255.0) ** 0.6 * 0.8 + 15, 0, 255).astype(np.uint8)


def draw_over(image: np.ndarray) -> np.ndarray:
    drawn = image.copy()
    cv2.putText(drawn, "LT AXILLA 12.3 mm", (12, 220), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
    for centre in ((100, 90), (190, 110), (140, 60), (150, 140)):
        cv2.drawMarker(drawn, centre, 255, cv2.MARKER_CROSS, 14, 2)
    cv2.line(drawn, (100, 90), (190, 110), 255, 1)
    return drawn


def mirror(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1].copy()


def everything(image: np.ndarray) -> np.ndarray:
    return draw_over(regain(crop(mirror(image))))


@pytest.mark.parametrize(
    ("change", "flipped"),
    [
        (mirror, True),
        (np.flipud, True),
        (crop, False),
        (rescan, False),
        (regain, False),
        (draw_over, False),
        (everything, True),
    ],
)
def test_finds_every_copy_and_nothing_else(originals, change, flipped):
    pairs = find_copies([*originals, *(change(image) for image in originals[:COPIED])])

    assert [(pair.first, pair.second) for pair in pairs] == [(i, COUNT + i) for i in range(COPIED)]
    assert all(pair.flipped is flipped and MIN_SCORE <= pair.score < 1 for pair in pairs)


def test_the_same_text_and_frame_make_no_copies(originals):
    framed = [np.pad(draw_over(image), 25) for image in originals]
    for image in framed:
        cv2.putText(image, "SCANNER", (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 2)
        cv2.rectangle(image, (20, 20), (330, 270), 255, 1)
    assert find_copies(framed) == []


def test_equal_pixels_are_identical_even_without_features():
    black, grey = np.zeros((40, 60), np.uint8), np.full((60, 40), 128, np.uint8)
    assert find_copies([black, grey, black.copy(), grey[:40]]) == [CopyPair(0, 2, 1.0, flipped=False)]
    assert find_copies([]) == find_copies([black]) == []


def test_a_copy_of_identical_images_joins_them(originals):
    pairs = find_copies([originals[0], originals[1], originals[0].copy(), mirror(originals[0])])
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 2), (0, 3)]


def test_order_and_repetition_change_nothing(originals):
    images = [*originals, *(everything(image) for image in originals[:COPIED])]
    pairs = find_copies(images)
    assert find_copies(images) == pairs

    order = np.random.default_rng(0).permutation(len(images))
    shuffled = find_copies([images[index] for index in order])
    named = {tuple(sorted((int(order[pair.first]), int(order[pair.second])))) for pair in shuffled}
    assert named == {(pair.first, pair.second) for pair in pairs}


def test_groups_are_chains():
    groups = connected(7, [(3, 5), (1, 6), (5, 6), (6, 5)])
    assert len({groups[index] for index in (1, 3, 5, 6)}) == 1 and len(set(groups)) == 4
    assert len(set(connected(3, []))) == 3
