import numpy as np
import pytest

from busi_unet.errors import UsageError
from busi_unet.imaging.measure import measure_lesions
from busi_unet.imaging.overlay import (
    AGREEMENT_COLORS,
    COLORS,
    ORANGE,
    SKY_BLUE,
    annotate_lesions,
    draw_agreement,
    draw_band,
    draw_heatmap,
    draw_overlay,
    outline,
    side_by_side,
    viridis,
)


@pytest.fixture
def frame() -> np.ndarray:
    return np.full((60, 100), 80, dtype=np.uint8)


@pytest.fixture
def mask(frame) -> np.ndarray:
    mask = np.zeros(frame.shape, dtype=bool)
    mask[20:40, 30:70] = True
    return mask


def test_only_the_mask_is_painted(frame, mask):
    overlay = np.asarray(draw_overlay(frame, mask))
    assert overlay.shape == (60, 100, 3)
    assert (overlay[~mask] == 80).all()
    assert (overlay[mask] != 80).any(axis=1).all()


def test_the_edge_has_the_full_colour(frame, mask):
    overlay = np.asarray(draw_overlay(frame, mask, opacity=0.0))
    np.testing.assert_array_equal((overlay == ORANGE).all(axis=2), outline(mask))
    assert 0 < outline(mask).sum() < mask.sum()


def test_opacity_one_hides_what_lies_below(frame, mask):
    overlay = np.asarray(draw_overlay(frame, mask, opacity=1.0, contour=False))
    assert (overlay[mask] == ORANGE).all()


def test_frame_and_mask_must_agree(frame, mask):
    with pytest.raises(ValueError, match="must be"):
        draw_overlay(frame, mask.T)


def test_side_by_side_keeps_both(frame, mask):
    overlay = draw_overlay(frame, mask)
    joined = np.asarray(side_by_side(frame, overlay, gap=8))
    assert joined.shape == (60, 208, 3)
    assert (joined[:, :100] == 80).all()
    np.testing.assert_array_equal(joined[:, 108:], np.asarray(overlay))


def colored(image, color) -> np.ndarray:
    return (np.asarray(image) == color).all(axis=2)


def test_colours_by_name(frame, mask):
    named = draw_overlay(frame, mask, color="bluish green", opacity=1)
    assert colored(named, COLORS["bluish green"])[mask].all()
    with pytest.raises(UsageError, match="no colour 'mauve'"):
        draw_overlay(frame, mask, color="mauve")


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_opacity_is_a_share(frame, mask, opacity):
    with pytest.raises(UsageError, match="opacity"):
        draw_overlay(frame, mask, opacity=opacity)


def test_agreement_has_one_colour_per_kind(frame, mask):
    reference = np.roll(mask, 10, axis=1)
    image = draw_agreement(frame, mask, reference, opacity=1)
    kinds = dict(zip(AGREEMENT_COLORS, (mask & reference, mask & ~reference, reference & ~mask), strict=True))
    for kind, color in AGREEMENT_COLORS.items():
        np.testing.assert_array_equal(colored(image, color), kinds[kind])
    assert colored(image, (80, 80, 80))[~(mask | reference)].all()


def test_band(frame, mask):
    outer = np.zeros_like(mask)
    outer[10:50, 20:80] = True
    image = draw_band(frame, mask, outer)
    np.testing.assert_array_equal(colored(image, ORANGE), outline(mask))
    np.testing.assert_array_equal(colored(image, SKY_BLUE), outline(outer))
    inside = mask & ~outline(mask)
    assert colored(image, (80, 80, 80))[inside].all()
    assert not colored(image, (80, 80, 80))[outer & ~mask].any()


def test_heatmap_spans_its_scale(frame):
    values = np.tile(np.linspace(0, 2, 100, dtype=np.float32), (60, 1))
    values[0] = np.nan
    image = np.asarray(draw_heatmap(frame, values, high=2, opacity=1))
    assert (image[0] == 80).all()
    np.testing.assert_array_equal(image[1, [0, -1]], viridis(np.array([0.0, 1.0])))
    with pytest.raises(UsageError, match="no length"):
        draw_heatmap(frame, values, low=1, high=1)


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

    def test_several_lesions_are_numbered(self, frame):
        image = draw_overlay(frame, self.two)
        numbered = annotate_lesions(image, measure_lesions(self.two))
        assert numbered.size == image.size
        changed = (np.asarray(numbered) != np.asarray(image)).any(axis=2)
        assert changed[5:15, 20:30].any() and changed[44:54, 85:95].any()

    def test_a_number_stands_in_its_own_lesion(self, frame):
        # A hook, whose box and centroid both lie over another lesion.
        mask = np.zeros((120, 200), dtype=bool)
        mask[5:115, 5:45] = mask[95:115, 5:195] = True
        mask[20:50, 90:150] = True
        image = draw_overlay(np.full(mask.shape, 80, np.uint8), mask)
        hook, other = measure_lesions(mask)
        changed = (np.asarray(annotate_lesions(image, [hook, other])) != np.asarray(image)).any(axis=2)
        rows, columns = np.nonzero(changed & (np.arange(200) < 60))
        assert mask[round(rows.mean()), round(columns.mean())]
        assert changed[30:40, 110:130].any()
        assert (changed & ~mask).mean() < 0.002

    def test_one_lesion_is_not(self, frame, mask):
        image = draw_overlay(frame, mask)
        np.testing.assert_array_equal(annotate_lesions(image, measure_lesions(mask)), image)

    def test_calipers_span_the_longest_diameter(self, frame, mask):
        image = draw_overlay(frame, mask, contour=False, opacity=0)
        drawn = annotate_lesions(image, measure_lesions(mask), calipers=True, color="yellow")
        rows, columns = np.nonzero(colored(drawn, COLORS["yellow"]))
        assert columns.min() <= 30 and columns.max() >= 69
        assert rows.min() <= 20 and rows.max() >= 39
        assert not colored(image, COLORS["yellow"]).any()


@pytest.mark.parametrize("shape", [(16, 300), (300, 16), (97, 131)])
def test_every_drawing_has_the_size_of_the_image(shape):
    frame = np.full(shape, 50, np.uint8)
    mask = np.zeros(shape, dtype=bool)
    mask[2:9, 1:8] = mask[12:15, 3:9] = True
    for image in (
        draw_overlay(frame, mask),
        draw_band(frame, mask, mask),
        draw_agreement(frame, mask, ~mask),
        draw_heatmap(frame, mask.astype(float)),
        annotate_lesions(draw_overlay(frame, mask), measure_lesions(mask), calipers=True),
    ):
        assert (image.size, image.mode) == (shape[::-1], "RGB")
