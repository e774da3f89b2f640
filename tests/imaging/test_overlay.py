import numpy as np
import pytest

from busi_unet.errors import UsageError
from busi_unet.imaging.measure import measure_lesions
from busi_unet.imaging.overlay import (
    AGREEMENT_COLORS,
    COLORS,
    annotate_lesions,
    draw_agreement,
    draw_band,
    draw_heatmap,
    draw_overlay,
    outline,
    side_by_side,
    viridis,
)

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


def test_opacity_one_hides_what_lies_below():
    overlay = draw_overlay(IMAGE, MASK, color="bluish green", opacity=1.0, contour=False)
    assert colored(overlay, COLORS["bluish green"])[MASK].all()


def test_an_unknown_colour_and_another_size_are_refused():
    with pytest.raises(UsageError, match="no colour 'mauve'"):
        draw_overlay(IMAGE, MASK, color="mauve")
    with pytest.raises(ValueError, match="must be"):
        draw_overlay(IMAGE, MASK.T)


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_opacity_is_a_share(opacity):
    for draw in (draw_overlay, draw_heatmap):
        with pytest.raises(UsageError, match="opacity"):
            draw(IMAGE, MASK, opacity=opacity)


def test_side_by_side_keeps_both():
    overlay = draw_overlay(IMAGE, MASK)
    joined = np.asarray(side_by_side(IMAGE, overlay))
    assert joined.shape == (60, 208, 3)
    assert (joined[:, :100] == 80).all()
    np.testing.assert_array_equal(joined[:, 108:], np.asarray(overlay))


def test_agreement_has_one_colour_per_kind():
    reference = np.roll(MASK, 10, axis=1)
    drawn = draw_agreement(IMAGE, MASK, reference)
    kinds = dict(zip(AGREEMENT_COLORS, (MASK & reference, MASK & ~reference, reference & ~MASK), strict=True))
    lines = outline(MASK) | outline(reference)
    for kind, color in AGREEMENT_COLORS.items():
        np.testing.assert_array_equal(colored(drawn, color), kinds[kind] & lines)
        tint = np.asarray(drawn, dtype=int)[kinds[kind] & ~lines]
        assert np.abs(tint - (np.array(color) + 80) / 2).max() <= 1
    assert colored(drawn, (80, 80, 80))[~(MASK | reference)].all()


def test_band():
    outer = np.zeros_like(MASK)
    outer[10:50, 20:80] = True
    drawn = draw_band(IMAGE, MASK, outer)
    np.testing.assert_array_equal(colored(drawn, COLORS["orange"]), outline(MASK))
    np.testing.assert_array_equal(colored(drawn, COLORS["sky blue"]), outline(outer))
    assert colored(drawn, (80, 80, 80))[MASK & ~outline(MASK)].all()
    assert not colored(drawn, (80, 80, 80))[outer & ~MASK].any()


def test_heatmap_spans_its_scale():
    values = np.tile(np.linspace(0, 2, 100, dtype=np.float32), (60, 1))
    drawn = np.asarray(draw_heatmap(IMAGE, values, high=2, opacity=1))
    np.testing.assert_array_equal(drawn[1, [0, -1]], viridis(np.array([0.0, 1.0])))


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of uint8 sRGB (..., 3)."""
    share = rgb / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16


def test_the_colour_scale_rises_evenly_in_lightness():
    steps = np.diff(lightness(viridis(np.linspace(0, 1, 33))))
    assert (steps > 0).all()
    assert steps.max() < 2 * np.median(steps)


def test_agreement_colours_differ_without_colour_vision():
    shades = np.sort(lightness(np.array(list(AGREEMENT_COLORS.values()))))
    assert np.diff(shades).min() > 15


class TestAnnotations:
    two = np.zeros((60, 100), dtype=bool)
    two[0:20, 5:45] = True
    two[40:58, 80:100] = True

    def test_several_lesions_are_numbered(self):
        overlay = draw_overlay(IMAGE, self.two)
        numbered = annotate_lesions(overlay, measure_lesions(self.two))
        changed = (np.asarray(numbered) != np.asarray(overlay)).any(axis=2)
        assert changed[5:15, 20:30].any() and changed[44:54, 85:95].any()

    def test_a_number_stands_in_its_own_lesion(self):
        # A hook, whose box and centroid both lie over another lesion.
        mask = np.zeros((120, 200), dtype=bool)
        mask[5:115, 5:45] = mask[95:115, 5:195] = True
        mask[20:50, 90:150] = True
        overlay = draw_overlay(np.full(mask.shape, 80, np.uint8), mask)
        numbered = annotate_lesions(overlay, measure_lesions(mask))
        changed = (np.asarray(numbered) != np.asarray(overlay)).any(axis=2)
        rows, columns = np.nonzero(changed & (np.arange(200) < 60))
        assert mask[round(rows.mean()), round(columns.mean())]
        assert changed[30:40, 110:130].any()
        assert (changed & ~mask).mean() < 0.002

    def test_one_lesion_is_not(self):
        overlay = draw_overlay(IMAGE, MASK)
        np.testing.assert_array_equal(annotate_lesions(overlay, measure_lesions(MASK)), overlay)

    def test_calipers_span_the_longest_diameter(self):
        overlay = draw_overlay(IMAGE, MASK, contour=False, opacity=0)
        drawn = annotate_lesions(overlay, measure_lesions(MASK), calipers=True)
        rows, columns = np.nonzero(colored(drawn, COLORS["yellow"]))
        assert columns.min() <= 30 and columns.max() >= 69
        assert rows.min() <= 20 and rows.max() >= 39
        assert not colored(overlay, COLORS["yellow"]).any()


@pytest.mark.parametrize("shape", [(16, 300), (300, 16), (97, 131)])
def test_every_drawing_has_the_size_of_the_image(shape):
    image = np.full(shape, 50, np.uint8)
    mask = np.zeros(shape, dtype=bool)
    mask[2:9, 1:8] = mask[12:15, 3:9] = True
    for drawn in (
        draw_overlay(image, mask),
        draw_band(image, mask, mask),
        draw_agreement(image, mask, ~mask),
        draw_heatmap(image, mask.astype(float)),
        annotate_lesions(draw_overlay(image, mask), measure_lesions(mask), calipers=True),
    ):
        assert (drawn.size, drawn.mode) == (shape[::-1], "RGB")
