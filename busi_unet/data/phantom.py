"""Synthetic breast ultrasound images with exact masks, for tests, examples and trying a model without data.

An image is drawn in two steps. First the anatomy: how strongly each point scatters (dB), which surfaces
reflect like a mirror, and how much each point attenuates. Then the scanner: random scatterers weighted by
the anatomy are convolved with a pulse that widens sideways with depth, detected, averaged over a few looks,
attenuated along each beam and log-compressed. Shadows and posterior enhancement therefore come from the
same attenuation map as the fall-off with depth; nobody paints them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError

# Lengths below are in points: an image of 500 x 500 has one point per pixel, whatever its real size,
# so that one seed draws the same lesion in a like breast at every resolution.
_POINTS = 500.0
_LOOKS = 5


class Phantom(NamedTuple):
    """A synthetic image and what is in it."""

    image: np.ndarray  # uint8 (H, W), row 0 at the skin
    mask: np.ndarray  # bool (H, W), True inside the lesion; empty for a normal image
    label: str  # one of `CLASS_NAMES`


def make_phantom(label: str, *, seed: int, size: tuple[int, int]) -> Phantom:
    """Draw one synthetic B-mode image.

    The speckle is the linear convolution model of Bamber and Dickinson, "Ultrasonic B-scanning: a computer
    simulation" (Phys. Med. Biol. 25:463, 1980), at baseband and with a depth-dependent pulse as in Gao et
    al., "A fast convolution-based methodology to simulate 2-D/3-D cardiac ultrasound images" (IEEE Trans.
    Ultrason. Ferroelectr. Freq. Control 56:404, 2009). Lesions follow the BI-RADS descriptors of their
    class; the images are illustrations and no evidence about a model's accuracy.

    Args:
        label: one of `CLASS_NAMES`.
        seed: 0 or more; picks anatomy, lesion, gain and speckle. The same seed gives the same image.
        size: height and width in pixels, each at least 32.
    """
    height, width = size
    # The label is part of the seed: the same seed must not give three images of one breast.
    grid = _Grid(np.random.default_rng([CLASS_NAMES.index(label), seed]), height, width)
    lesion = None if label == "normal" else _shape_lesion(label, grid)
    tissue = _breast(grid, lesion, label)
    if lesion is not None:
        (_add_benign if label == "benign" else _add_malignant)(tissue, lesion, grid)
    mask = np.zeros((height, width), bool) if lesion is None else lesion.mask
    return Phantom(_scan(grid.rng, tissue, grid.unit), mask, label)


def write_phantom_dataset(root: Path | str, *, per_class: int, seed: int, size: tuple[int, int]) -> None:
    """Write a folder of phantoms in the layout and under the file names of the public BUSI release.

    Args:
        root: folder to hold `normal/`, `benign/` and `malignant/`; made where absent.
        per_class: images per class, each `benign (1).png` with its `benign (1)_mask.png` (0 or 255).
        seed: the image with number n is drawn with seed + n - 1.
        size: height and width in pixels, each at least 32.

    Raises:
        UsageError: no image asked for.
    """
    if per_class < 1:
        raise UsageError(f"Cannot write {per_class} phantoms per class.", "Ask for one or more.")
    for label in CLASS_NAMES:
        folder = Path(root) / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, per_class + 1):
            phantom = make_phantom(label, seed=seed + number - 1, size=size)
            Image.fromarray(phantom.image).save(folder / f"{label} ({number}).png")
            mask = Image.fromarray(phantom.mask.astype(np.uint8) * 255)
            mask.save(folder / f"{label} ({number})_mask.png")


@dataclass
class _Tissue:
    """What the scanner sees, each float32 (H, W)."""

    echo: np.ndarray  # scattering strength, dB relative to fibroglandular tissue
    mirror: np.ndarray  # amplitude of smooth surfaces, 1 = mean fibroglandular scattering
    loss: np.ndarray  # two-way attenuation after gain compensation, dB per point; negative is a gain


class _Lesion(NamedTuple):
    """Where the lesion is; distances are multiples of the distance from the centre to the edge."""

    rho: np.ndarray  # (H, W), 1 on the outline
    ellipse: np.ndarray  # (H, W), 1 on the ellipse that the outline departs from
    weight: np.ndarray  # (H, W) 1 inside, 0 outside, soft across the margin
    mask: np.ndarray  # (H, W) bool
    centre: tuple[float, float]  # row, column in points
    radii: tuple[float, float]  # vertical, horizontal in points


class _Grid:
    """The points of an image, the random generator, and smooth noise drawn with it."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng = rng
        self.unit = math.sqrt(height * width) / _POINTS
        # Rows as a full grid, because layers bend them; columns as one line, because nothing moves sideways.
        self.rows = np.repeat(np.arange(height, dtype=np.float32)[:, None] / self.unit, width, axis=1)
        self.columns = np.arange(width, dtype=np.float32) / self.unit
        self.deep, self.wide = float(self.rows.max()), float(self.columns.max())
        self.thin = max(width / (self.wide + 1), 0.8)  # one point, in pixels

    def noise(self, cell_y: float, cell_x: float, at: np.ndarray | None = None) -> np.ndarray:
        """Return Gaussian noise, mean 0, deviation near 1, float32 (H, W), with features of cell_y x cell_x.

        `at` are rows, (H, W), bent as the texture shall be; (1, 1) gives one line.
        """
        rows, columns = self.rows[:, :1] if at is None else at, self.columns
        control_y, control_x = (rows - rows.min()) / cell_y, (columns - columns.min()) / cell_x
        first_y, first_x = control_y.astype(np.intp), control_x.astype(np.intp)
        part_y, part_x = control_y - np.floor(control_y), control_x - np.floor(control_x)
        control = self.rng.standard_normal((first_y.max() + 4, first_x.max() + 4), dtype=np.float32)
        across = sum(w * control[:, first_x + k] for k, w in enumerate(_spline_weights(part_x)))
        index = first_y * columns.size + np.arange(columns.size)
        weights = enumerate(_spline_weights(part_y))
        smooth = sum(w * across.take(index + k * columns.size) for k, w in weights)
        return smooth / 0.479  # the deviation that cubic B-splines leave of white noise, on two axes

    def along(self, cell_x: float) -> np.ndarray:
        """Return noise that changes sideways only, (1, W)."""
        return self.noise(1, cell_x, self.rows[:1, :1])

    def line(self, distance: np.ndarray, thickness: float, patch: float = 45) -> np.ndarray:
        """Return a patchy line where a distance (points) is zero."""
        patchy = np.clip(0.4 + 0.8 * self.noise(60, patch), 0, 2)
        return patchy * np.exp(-0.5 * (distance / max(thickness, 0.8 / self.thin)) ** 2)


def _spline_weights(t: np.ndarray) -> tuple[np.ndarray, ...]:
    """Weights of the four cubic B-spline control points around a fractional position in [0, 1)."""
    rest, cube = 1 - t, t * t * t  # `t**3` is many times slower than two products
    first, second, last = rest * rest * rest / 6, 2 / 3 - t * t + cube / 2, cube / 6
    return first, second, 1 - first - second - last, last


def _ridges(level: np.ndarray, thickness: float) -> np.ndarray:
    """Lines of even thickness (pixels) along the zero level of a smooth field, fading where they are upright.

    A smooth surface answers with an echo only where the beam meets it at a right angle.
    """
    slope_y, slope_x = np.gradient(level)
    slope = np.hypot(slope_y, slope_x) + 1e-6
    return np.exp(-0.5 * (level / slope / thickness) ** 2) * (slope_y / slope) ** 6


def _step(distance: np.ndarray, softness: float) -> np.ndarray:
    """0 well below zero, 1 well above it."""
    return 0.5 * (1 + np.tanh(distance / softness))


def _breast(grid: _Grid, lesion: _Lesion | None, label: str) -> _Tissue:
    """Skin, fat lobules, fibroglandular tissue, muscle and chest wall, draped around the lesion."""
    rng, rows, deep = grid.rng, grid.rows, grid.deep
    noise, along, line = grid.noise, grid.along, grid.line
    skin = rng.uniform(0.022, 0.04) * deep
    fat_end = rng.uniform(0.11, 0.25) * deep
    gland_end = rng.uniform(0.50, 0.72) * deep
    muscle_end = gland_end + rng.uniform(0.16, 0.30) * deep
    tilt, swell = rng.uniform(-0.13, 0.13), rng.uniform(8, 22)
    fat_echo, septa, streaks = rng.uniform(-10, -6), rng.uniform(2, 5), rng.uniform(1, 3.5)
    falloff, contacts = rng.uniform(18, 32), rng.integers(0, 3)

    # Bent more and more below the skin, so that textures follow the layers.
    bend = tilt * (grid.columns - grid.wide / 2) + swell * noise(200, 170) + 0.25 * swell * noise(60, 70)
    depth = rows + np.clip((rows - skin) / (0.25 * deep), 0, 1) * bend
    if lesion is not None:
        # A benign mass pushes the layers aside, a malignant one draws them in.
        push = 0.45 if label == "benign" else -0.2
        side = np.tanh((lesion.centre[0] - rows) / lesion.radii[0])
        near = np.exp(-0.5 * (np.maximum(lesion.ellipse - 1, 0) / 0.8) ** 2)
        depth = depth + push * lesion.radii[0] * side * near

    # Fat lobules sag between ligaments that pull the gland up to sharp crests.
    crest = fat_end + 0.035 * deep * (np.abs(along(75)) - 0.6) + 3 * along(25)
    gland_end = gland_end + 8 * along(110)
    muscle_end = muscle_end + 10 * along(170)
    in_gland = _step(depth - crest, 2 + 2 * np.abs(along(60)))
    in_muscle, in_chest = _step(depth - gland_end, 5), _step(depth - muscle_end, 8)

    echo = _echo(grid, depth, fat_echo, in_gland, in_muscle, in_chest)
    skin = skin + 1.5 * along(60)
    in_skin = _step(skin - depth, 1)
    echo += in_skin * (rng.uniform(-2, 5) + 1.5 * noise(4, 60) - echo)

    # Septa, specks, fibres, and the surfaces between the layers.
    def fibres(cell_y: float, cell_x: float, rarity: float) -> np.ndarray:
        return np.clip(noise(cell_y, cell_x, depth) - rarity, 0, 2)

    patches = np.clip(noise(22, 40) + 0.3, 0, 1.5)
    web = _ridges(noise(22, 95, depth), grid.thin) + _ridges(noise(13, 60, depth), 0.8 * grid.thin)
    web *= septa * patches
    specks = fibres(2.5, 5, 2.0)
    mirror = (1 - in_gland) * (web + 0.8 * specks) + in_gland * (1 - in_muscle) * (0.4 * web + specks)
    mirror += 5 * line(depth - crest, 1.4, patch=30)
    mirror += in_gland * (1 - in_chest) * streaks * (0.3 + patches) * fibres(2.2, 20, 0.6)
    mirror += in_muscle * (0.3 + 0.7 * (1 - in_chest)) * 3 * (0.3 + patches) * fibres(2.1, 40, 0.6)
    mirror += 5 * line(depth - gland_end, 1.4) + 4 * line(depth - muscle_end, 1.7)
    mirror *= 1 - in_skin
    mirror += 2.5 * np.exp(-0.5 * (rows / 3) ** 2) * (1 + 0.3 * noise(5, 90))
    mirror += 3.5 * line(depth - skin, 1.3, patch=90) + 3 * line(depth - 1.6 * skin, 1.0)
    return _Tissue(echo, mirror, _loss(grid, mirror, falloff, contacts, fat_end, muscle_end))


def _echo(grid: _Grid, depth: np.ndarray, fat_echo: float, *layers: np.ndarray) -> np.ndarray:
    """Return the scattering below the skin, dB, by how far each point lies in gland, muscle and chest."""
    rng, noise = grid.rng, grid.noise
    in_gland, in_muscle, in_chest = layers
    fat = fat_echo + 1.2 * noise(35, 70) + 1.0 * noise(4, 10, depth) + 0.8 * noise(9, 22, depth)
    lobules = _step(noise(9, 24, depth) - rng.uniform(0.6, 1.5), 0.12)
    gland = (
        rng.uniform(1, 3)
        + rng.uniform(2, 4.5) * noise(45, 85, depth)
        + rng.uniform(1, 3.5) * noise(7, 20, depth)
        + rng.uniform(1, 3) * noise(2.6, 9, depth)
        - rng.uniform(5, 9) * lobules
    )
    muscle = -6 + 3.5 * noise(9, 80, depth) + 2.5 * noise(4, 26, depth)
    chest = -11 + 3 * noise(25, 60, depth) + 2 * noise(6, 24, depth)
    echo = fat + in_gland * (gland - fat)
    echo += in_muscle * (muscle - echo)
    echo += in_chest * (chest - echo)
    return echo


def _loss(
    grid: _Grid, mirror: np.ndarray, falloff: float, contacts: int, fat_end: float, muscle_end: np.ndarray
) -> np.ndarray:
    """Fall-off with depth, bad contacts of the probe, and sometimes a rib, which the mirror gets too."""
    rng, rows, columns, deep, wide = grid.rng, grid.rows, grid.columns, grid.deep, grid.wide
    # Gain compensation keeps the upper part even and loses the race below it.
    start = rng.uniform(0.12, 0.35) * deep
    loss = falloff / (deep - start) * _step(rows - start, 0.1 * deep) * (1 + 0.5 * grid.noise(110, 110))
    for _ in range(contacts):
        centre, half = rng.uniform(0, wide), rng.uniform(10, 32)
        first, last = fat_end * rng.uniform(0.6, 1.5), rng.uniform(0.4, 0.8) * deep
        band = np.exp(-0.5 * ((columns - centre - 6 * grid.noise(40, 400)) / half) ** 2)
        loss += rng.uniform(4, 10) / (last - first) * band * (rows > first) * (rows < last)
    if rng.random() < 0.3:  # a rib: bright arc, nothing behind it
        centre, half = rng.uniform(0.1, 0.9) * wide, rng.uniform(45, 80)
        arc = muscle_end + 10 * ((columns - centre) / half) ** 2 - 12
        across = _step(half - np.abs(columns - centre), 12)
        mirror += 5 * across * grid.line(rows - arc, 2)
        loss += 0.8 * across * (rows > arc) * (rows < arc + 20)
    return loss


def _shape_lesion(label: str, grid: _Grid) -> _Lesion:
    """Outline of a lesion: a smooth ellipse on its side, or an irregular, spiculated and upright one."""
    rng, rows, columns, deep, wide = grid.rng, grid.rows, grid.columns, grid.deep, grid.wide
    benign = label == "benign"
    area = rng.uniform(0.02, 0.075) if benign else rng.uniform(0.065, 0.14)
    aspect = rng.uniform(1.35, 2.0) if benign else rng.uniform(0.75, 1.2)  # width over height
    radius_y = min(math.sqrt(area * deep * wide / (math.pi * aspect)), 0.27 * deep)
    radius_x = min(radius_y * aspect, 0.35 * wide)
    top = rng.uniform(0.13, 0.24 if benign else 0.19) * deep
    centre = (top + radius_y, wide * rng.uniform(0.36, 0.64))

    angle = rng.uniform(-0.2, 0.2)
    dy, dx = rows - centre[0], columns - centre[1]
    dy, dx = dy * math.cos(angle) - dx * math.sin(angle), dy * math.sin(angle) + dx * math.cos(angle)
    ellipse = np.hypot(dy / radius_y, dx / radius_x)

    around = np.linspace(-np.pi, np.pi, 721)
    outline = np.ones_like(around)
    waves = ((2, 0.04), (3, 0.045), (4, 0.025)) if benign else ((2, 0.10), (3, 0.14), (4, 0.10), (5, 0.08))
    for order, size in waves:
        outline += rng.uniform(0.2, 1) * size * np.cos(order * around + rng.uniform(0, 2 * np.pi))
    if not benign:
        spicules = rng.integers(5, 10)
        for number in range(spicules):
            towards = 2 * np.pi * (number + rng.uniform(-0.35, 0.35)) / spicules
            turn = np.angle(np.exp(1j * (around - towards)))
            outline += rng.uniform(0.12, 0.48) * np.exp(-np.abs(turn) / rng.uniform(0.07, 0.22))
    rho = ellipse / np.interp(np.arctan2(dy / radius_y, dx / radius_x), around, outline).astype(np.float32)
    if not benign:
        rho /= 1 + 0.04 * grid.noise(18, 20) + 0.02 * grid.noise(7, 8)
    # No spicule breaks through the skin or is cut by the border.
    to_border = np.minimum(np.minimum(rows, deep - rows), np.minimum(columns, wide - columns))
    rho /= np.clip(to_border / 12, 0.05, 1)

    # Roughness can cut off crumbs or leave holes; a lesion is one piece.
    parts, _ = ndimage.label(rho <= 1)
    mask = ndimage.binary_fill_holes(parts == 1 + np.argmax(np.bincount(parts.ravel())[1:]))
    # The far side of a malignant mass is lost in its own shadow.
    margin = (
        rng.uniform(1.5, 2.5) if benign else rng.uniform(4, 9) * (1 + _step(rows - centre[0], 0.5 * radius_y))
    )
    weight = _step((1 - rho) * math.sqrt(radius_y * radius_x), margin)
    return _Lesion(rho, ellipse, weight, mask, centre, (radius_y, radius_x))


def _add_benign(tissue: _Tissue, lesion: _Lesion, grid: _Grid) -> None:
    """Even interior, thin capsule, enhancement behind the mass and shadows at its edges."""
    rng, rows = grid.rng, grid.rows
    radius_y, radius_x = lesion.radii
    interior = rng.uniform(-30, -18) + 1.2 * grid.noise(12, 22)
    tissue.echo += lesion.weight * (interior - tissue.echo)
    tissue.mirror *= 1 - lesion.weight
    upright = np.abs(rows - lesion.centre[0]) / (radius_y * np.maximum(lesion.ellipse, 0.3))
    facing = np.clip(upright, 0, 1) ** 2
    capsule = np.exp(-0.5 * ((lesion.rho - 1.05) * radius_y / 1.4) ** 2)
    patchy = np.clip(0.7 + 0.5 * grid.noise(30, 30), 0, 2)
    tissue.mirror += rng.uniform(1.5, 3) * patchy * facing * capsule

    # Fluid and well-ordered tissue attenuate less than the surroundings that the gain was set for.
    tissue.loss -= lesion.weight * rng.uniform(6, 12) / (2 * radius_y)
    # The beam is bent away where it grazes the sides.
    beside = (grid.columns - lesion.centre[1]) / radius_x
    level = np.abs(rows - lesion.centre[0]) < 0.5 * radius_y
    for side in (-1, 1):
        grazing = np.exp(-0.5 * ((beside - side * 1.03) / 0.1) ** 2)
        tissue.loss += rng.uniform(1, 7) / radius_y * grazing * level


def _add_malignant(tissue: _Tissue, lesion: _Lesion, grid: _Grid) -> None:
    """Uneven dark interior, spicules, echogenic halo, posterior shadow, sometimes microcalcifications."""
    rng, rows, columns, noise = grid.rng, grid.rows, grid.columns, grid.noise
    radius_y, _ = lesion.radii
    height = (rows - lesion.centre[0]) / radius_y
    outside = 1 - lesion.weight
    halo = outside * np.exp(-0.5 * ((lesion.rho - 1.15) / 0.18) ** 2) * _step(0.3 - height, 0.4)
    tissue.echo += halo * (rng.uniform(3, 6) + 2.5 * noise(8, 12) - np.minimum(tissue.echo, 0))

    # Spicules: dark strands of tumour, bright strands of drawn-in tissue, both radial.
    rays = noise(3.5, 50, 40 * np.arctan2(rows - lesion.centre[0], columns - lesion.centre[1]))
    reach = outside * np.exp(-np.clip(lesion.rho - 1, 0, None) / 0.3)
    tissue.echo -= 9 * reach * _step(rays - 0.7, 0.25)
    tissue.mirror += 1.5 * reach * np.clip(-rays - 0.8, 0, 1)

    interior = rng.uniform(-17, -12) + 3 * noise(16, 20) + 2.5 * noise(6, 9)
    tissue.echo += lesion.weight * (interior - tissue.echo)
    tissue.mirror *= 1 - 0.95 * lesion.weight
    if rng.random() < 0.4:
        cluster = _step(noise(25, 25) - 0.6, 0.3) * lesion.mask
        tissue.mirror += 2.5 * cluster * np.clip(noise(1.6, 2.2) - 1.8, 0, 1.5)

    # Stroma attenuates strongly. Most is lost in the lower half, so the shadow is darker than the mass.
    share = lesion.weight * _step(height + 0.1, 0.5) * np.clip(1 + 0.4 * noise(200, 18), 0.2, None)
    tissue.loss += share * rng.uniform(12, 22) / (1.1 * radius_y)


def _scan(rng, tissue: _Tissue, unit: float) -> np.ndarray:
    """Image uint8 (H, W) that a linear-array scanner would show of the tissue."""
    height, width = tissue.echo.shape
    axial = max(1.25 * unit, 0.6)
    near, far = max(rng.uniform(1.4, 2.2) * unit, 0.7), max(rng.uniform(2.2, 3.5) * unit, 1.0)
    depth = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    # Makes the scattering mean the same whatever the size of the pulse.
    scatter = 10 ** (tissue.echo / 20) * np.sqrt(2 * np.pi * axial * (near + depth * (far - near)))

    envelope = np.zeros((height, width), np.float32)
    for _ in range(_LOOKS):
        noise = rng.standard_normal((2, height, width), dtype=np.float32)
        field = scatter * (noise[0] + 1j * noise[1]) + tissue.mirror
        field = ndimage.gaussian_filter1d(field, axial, axis=0)
        narrow = ndimage.gaussian_filter1d(field, near, axis=1)
        broad = ndimage.gaussian_filter1d(field, far, axis=1)
        envelope += np.abs((1 - depth) * narrow + depth * broad) / _LOOKS

    # Neighbouring beams share tissue, the more the deeper, so shadows lose their edges.
    attenuation = np.cumsum(tissue.loss, axis=0, dtype=np.float32) / unit
    sharp, soft = (ndimage.gaussian_filter1d(attenuation, sigma * unit, axis=1) for sigma in (3, 13))
    attenuation = (1 - depth) * sharp + depth * soft
    floor = np.hypot(*rng.standard_normal((2, height, width), dtype=np.float32))
    floor = 10 ** (rng.uniform(-33, -28) / 20) * ndimage.gaussian_filter(floor, max(0.8 * unit, 0.3))
    decibel = 20 * np.log10(envelope * 10 ** (-attenuation / 20) + floor + 1e-6)

    gain, per_decibel = rng.uniform(128, 158), rng.uniform(4.3, 5.2)
    grey = gain + per_decibel * decibel
    # Monitors' grey maps bend at the bright end instead of clipping.
    grey = np.where(grey > 190, 190 + 65 * np.tanh((grey - 190) / 65), grey)
    grey = ndimage.gaussian_filter(grey, (0.3 * unit, 0.6 * unit))
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
