import math

import numpy as np
import pytest

from busi_unet.errors import UsageError
from busi_unet.imaging.measure import measure_lesions


def ellipse(shape, centre, radii, angle=0.0):
    """bool (H, W); `centre` and `radii` are (x, y), `angle` in degrees turns it."""
    y, x = np.indices(shape) + 0.5
    x, y = x - centre[0], y - centre[1]
    turn = math.radians(angle)
    u, v = x * math.cos(turn) + y * math.sin(turn), -x * math.sin(turn) + y * math.cos(turn)
    return (u / radii[0]) ** 2 + (v / radii[1]) ** 2 <= 1


def test_two_lesions_largest_first():
    mask = np.zeros((50, 80), dtype=bool)
    mask[2:6, 3:6] = True
    mask[10:30, 20:60] = True
    large, small = measure_lesions(mask)
    assert (large.area_px, large.box, large.width_px, large.height_px) == (800, (20, 10, 60, 30), 40, 20)
    assert large.area_share == pytest.approx(0.2)
    assert large.longest_diameter_px == pytest.approx(np.hypot(40, 20), abs=0.05)
    assert not large.taller_than_wide
    assert (small.area_px, small.taller_than_wide) == (12, True)


def test_diagonal_neighbours_are_one_lesion():
    assert len(measure_lesions(np.eye(5, dtype=bool))) == 1


def test_one_pixel_and_no_pixel():
    mask = np.zeros((9, 9), dtype=bool)
    assert measure_lesions(mask) == ()
    mask[4, 4] = True
    (lesion,) = measure_lesions(mask)
    assert (lesion.area_px, lesion.longest_diameter_px, lesion.perpendicular_px) == (1, 1.4, 1.4)
    assert lesion.centroid == (4.5, 4.5)


@pytest.mark.parametrize("angle", [0, 25, 60, 90, 145])
def test_diameters_and_calipers_of_an_ellipse_at_any_angle(angle):
    mask = ellipse((200, 220), (108, 95), (60, 32), angle)
    (lesion,) = measure_lesions(mask)
    assert lesion.longest_diameter_px == pytest.approx(120, abs=2)
    assert lesion.perpendicular_px == pytest.approx(64, abs=3)
    assert lesion.equivalent_diameter_px == pytest.approx(2 * math.sqrt(60 * 32), abs=0.5)
    assert lesion.centroid == pytest.approx((108, 95), abs=0.2)
    (longest, perpendicular) = np.array(lesion.calipers)
    for line, length in ((longest, lesion.longest_diameter_px), (perpendicular, lesion.perpendicular_px)):
        assert np.hypot(*(line[1] - line[0])) == pytest.approx(length, abs=0.3)
        for x, y in line:
            assert mask[max(0, int(y) - 2) : int(y) + 3, max(0, int(x) - 2) : int(x) + 3].any()
    first, second = longest[1] - longest[0], perpendicular[1] - perpendicular[0]
    assert abs(first @ second) / np.hypot(*first) / np.hypot(*second) < 0.01


def test_millimetres_are_given_where_the_spacing_is_known():
    mask = np.ones((20, 40), dtype=bool)
    record = measure_lesions(mask)[0].to_dict()
    assert (record["unit"], record["spacing_mm"]) == ("px", None)
    assert all(record[key] is None for key in record if "_mm" in key)
    record = measure_lesions(mask, spacing_mm=(0.1, 0.1))[0].to_dict()
    assert (record["unit"], record["area_px"], record["area_mm2"]) == ("mm", 800, 8.0)
    for name in ("width", "height", "longest_diameter", "perpendicular", "equivalent_diameter"):
        assert record[f"{name}_mm"] == pytest.approx(record[f"{name}_px"] / 10, abs=0.01)


def test_a_circle_of_tissue_on_oblong_pixels_is_measured_as_a_circle():
    # 20 mm across, drawn on rows 0.1 mm and columns 0.25 mm apart: an upright ellipse in pixels.
    (lesion,) = measure_lesions(ellipse((260, 120), (60, 130), (40, 100)), spacing_mm=(0.1, 0.25))
    assert lesion.height_px > 2 * lesion.width_px
    assert lesion.longest_diameter_mm == pytest.approx(20, abs=0.4)
    assert lesion.perpendicular_mm == pytest.approx(20, abs=0.4)
    assert lesion.area_mm2 == pytest.approx(math.pi * 100, rel=0.01)
    assert lesion.depth_to_width == pytest.approx(1, abs=0.02)


def test_the_longest_line_can_be_another_one_in_millimetres():
    # Wide in pixels, but deep in tissue.
    mask = ellipse((100, 200), (100, 50), (60, 40))
    (flat,) = measure_lesions(mask)
    (deep,) = measure_lesions(mask, spacing_mm=(0.3, 0.1))
    (squeezed,) = measure_lesions(mask, aspect=3)
    assert not flat.taller_than_wide and deep.taller_than_wide and squeezed.taller_than_wide
    assert deep.longest_diameter_mm == pytest.approx(24, abs=0.5)
    (x0, y0), (x1, y1) = deep.calipers[0]
    assert abs(y1 - y0) > 4 * abs(x1 - x0)


@pytest.mark.parametrize(
    "spacing", [(0, 0.1), np.array([0.1, -1]), (0.1, float("nan")), (50, 50), (0.1,), "ab"]
)
def test_a_spacing_must_be_two_lengths(spacing):
    with pytest.raises(UsageError, match="The pixel spacing is"):
        measure_lesions(np.ones((4, 4), dtype=bool), spacing_mm=spacing)


class TestSkin:
    mask = np.zeros((200, 100), dtype=bool)
    mask[120:150, 40:70] = True

    def image(self, first_row: int) -> np.ndarray:
        pixels = np.zeros((200, 100), np.uint8)
        pixels[first_row:] = 80
        pixels[115:150, 30:75] = 3  # the lesion and its halo hold no echo
        return pixels

    def test_from_the_first_row_of_tissue(self):
        (lesion,) = measure_lesions(self.mask, self.image(30), spacing_mm=(0.1, 0.2))
        assert (lesion.skin_distance_px, lesion.skin_distance_mm) == (90, 9.0)
        assert lesion.skin_at_edge is False

    def test_tissue_up_to_the_edge(self):
        (lesion,) = measure_lesions(self.mask, self.image(0))
        assert (lesion.skin_distance_px, lesion.skin_at_edge) == (120, True)

    def test_unknown(self):
        (without,) = measure_lesions(self.mask)
        (black,) = measure_lesions(self.mask, np.zeros((200, 100), np.uint8))
        (at_edge,) = measure_lesions(np.ones((200, 100), bool), self.image(0))
        for lesion in (without, black, at_edge):
            assert lesion.skin_distance_px is lesion.skin_distance_mm is lesion.skin_at_edge is None
