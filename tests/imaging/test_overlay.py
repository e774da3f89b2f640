import numpy as np
import pytest

from busi_unet.errors import UsageError
from busi_unet.imaging.measure import measure_lesions
from busi_unet.imaging.overlay import COLORS, annotate_lesions, draw_agreement, draw_overlay, outline

IMAGE = np.full((60, 100), 80, dtype=np.uint8)
MASK = np.zeros((60, 100), dtype=bool)
MASK[20:40, 30:70] = True


def colored(drawn, color) -> np.ndarray:
    return (np.asarray(drawn) == color).all(axis=2)


def test_only_the_mask_is_painted():
    overlay = np.asarray(draw_overlay(IMAGE, MASK))
    assert (overlay[~MASK] == 80).all()
    assert (overlay[MASK] != 80).any(axis=1).all()


def test_the_edge_has_the_full_colour():
    overlay = draw_overlay(IMAGE, MASK, opacity=0.0)
    np.testing.assert_array_equal(colored(overlay, COLORS["orange"]), outline(MASK))
    assert 0 < outline(MASK).sum() < MASK.sum()


def test_an_unknown_colour_and_another_size_are_refused():
    with pytest.raises(UsageError, match="no colour 'mauve'"):
        draw_overlay(IMAGE, MASK, color="mauve")
    with pytest.raises(ValueError, match="must be"):
        draw_overlay(IMAGE, MASK.T)


def test_agreement_has_one_colour_per_kind():
    reference = np.roll(MASK, 10, axis=1)
    drawn = draw_agreement(IMAGE, MASK, reference)
    lines = outline(MASK) | outline(reference)
    for color, kind in (
        ("sky blue", MASK & reference),
        ("vermillion", MASK & ~reference),
        ("yellow", reference & ~MASK),
    ):
        np.testing.assert_array_equal(colored(drawn, COLORS[color]), kind & lines)
        tint = np.asarray(drawn, dtype=int)[kind & ~lines]
        assert np.abs(tint - (np.array(COLORS[color]) + 80) / 2).max() <= 1
    assert colored(drawn, (80, 80, 80))[~(MASK | reference)].all()


class TestAnnotations:
    two = np.zeros((60, 100), dtype=bool)
    two[0:20, 5:45] = True
    two[40:58, 80:100] = True

    def test_several_lesions_are_numbered(self):
        overlay = draw_overlay(IMAGE, self.two)
        numbered = annotate_lesions(overlay, measure_lesions(self.two))
        changed = (np.asarray(numbered) != np.asarray(overlay)).any(axis=2)
        assert changed[5:15, 20:30].any() and changed[44:54, 85:95].any()

    def test_calipers_span_the_longest_diameter(self):
        overlay = draw_overlay(IMAGE, MASK, contour=False, opacity=0)
        drawn = annotate_lesions(overlay, measure_lesions(MASK), calipers=True)
        rows, columns = np.nonzero(colored(drawn, COLORS["yellow"]))
        assert columns.min() <= 30 and columns.max() >= 69
        assert rows.min() <= 20 and rows.max() >= 39
        assert not colored(overlay, COLORS["yellow"]).any()
