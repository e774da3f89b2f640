"""Synthetic breast ultrasound images with exact masks, for tests, examples and trying a model without data.

An image is drawn in two steps. First the anatomy: how strongly each point scatters, which surfaces reflect
like a mirror, and how much each point attenuates. Then the scanner: random scatterers weighted by the anatomy
are convolved with a pulse that widens sideways with depth, detected, averaged over a few looks, attenuated
along each beam and log-compressed. Shadows and posterior enhancement come from the attenuation alone.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.imaging.regions import mask_image

# Lengths are in points: an image of 500 x 500 has one point per pixel, so that one seed draws the same lesion
# in a like breast at every resolution.
_POINTS = 500.0
_LOOKS = 5


class Phantom(NamedTuple):
    """A synthetic image and what is in it."""

    image: np.ndarray  # uint8 (H, W), row 0 at the skin
    mask: np.ndarray  # bool (H, W), True inside the lesion; empty for a normal image


def make_phantom(label: str, *, seed: int, size: tuple[int, int]) -> Phantom:
    """Draw one synthetic B-mode image.

    The speckle is the linear convolution model of Bamber and Dickinson, "Ultrasonic B-scanning: a computer
    simulation" (Phys. Med. Biol. 25:463, 1980). Lesions follow the BI-RADS descriptors of their class; the
    images are illustrations and no evidence about a model's accuracy.

    Args:
        label: one of `CLASS_NAMES`.
        seed: 0 or more; picks anatomy, lesion, gain and speckle. The same seed gives the same image.
        size: height and width in pixels, each at least 32.
    """
    # The label is part of the seed: the same seed must not give three images of one breast.
    grid = _Grid(np.random.default_rng([CLASS_NAMES.index(label), seed]), *size)
    lesion = None if label == "normal" else _shape_lesion(label, grid)
    tissue = _breast(grid)
    if lesion is not None:
        tissue = (_add_benign if label == "benign" else _add_malignant)(tissue, lesion, grid)
    mask = np.zeros(size, bool) if lesion is None else lesion.mask
    return Phantom(_scan(grid, tissue), mask)


def write_phantom_dataset(root: Path | str, *, per_class: int, seed: int, size: tuple[int, int]) -> None:
    """Write a folder of phantoms in the layout and under the file names of the public BUSI release.

    Args:
        root: folder to hold `normal/`, `benign/` and `malignant/`; made where absent.
        per_class: images per class, each `benign (1).png` with its `benign (1)_mask.png` (0 or 255).
        seed: the image with number n is drawn with seed + n - 1.
        size: height and width in pixels, each at least 32.
    """
    if per_class < 1:
        raise UsageError(f"Cannot write {per_class} phantoms per class.", "Ask for one or more.")
    for label in CLASS_NAMES:
        folder = Path(root) / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, per_class + 1):
            phantom = make_phantom(label, seed=seed + number - 1, size=size)
            Image.fromarray(phantom.image).save(folder / f"{label} ({number}).png")
            mask_image(phantom.mask).save(folder / f"{label} ({number})_mask.png")


class _Tissue(NamedTuple):
    """What the scanner sees, each (H, W)."""

    echo: np.ndarray  # scattering strength, dB relative to fibroglandular tissue
    mirror: np.ndarray  # amplitude of smooth surfaces, 1 = mean fibroglandular scattering
    loss: np.ndarray  # two-way attenuation after gain compensation, dB per point; negative is a gain


class _Lesion(NamedTuple):
    """Where the lesion is."""

    rho: np.ndarray  # (H, W), distance from the centre over that of the outline
    mask: np.ndarray  # (H, W) bool
    weight: np.ndarray  # (H, W) 1 inside, 0 outside, soft across the margin
    height: np.ndarray  # (H, W), rows below the centre over the vertical radius
    radius_y: float  # vertical, points


class _Grid:
    """The points of an image, the random generator, and smooth noise drawn with it."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng = rng
        self.unit = math.sqrt(height * width) / _POINTS  # pixels per point
        self.rows, self.columns = np.mgrid[:height, :width].astype(np.float32) / np.float32(self.unit)
        self.deep, self.wide = float(self.rows.max()), float(self.columns.max())

    def noise(self, cell_y: float, cell_x: float, at: np.ndarray | None = None) -> np.ndarray:
        """Return smooth noise (H, W), mean 0, deviation near 1, with features of cell_y x cell_x points.

        `at` are rows, (H, W), bent as the texture shall be.
        """
        rows = self.rows if at is None else at - at.min()
        shape = (int(rows.max() / cell_y) + 4, int(self.wide / cell_x) + 4)
        control = self.rng.standard_normal(shape, dtype=np.float32)
        places = [rows / cell_y + 1, self.columns / cell_x + 1]
        return ndimage.map_coordinates(control, places, order=3, prefilter=False) / 0.479

    def along(self, cell_x: float) -> np.ndarray:
        """Return noise that changes sideways only, (1, W)."""
        return self.noise(10 * _POINTS, cell_x)[:1]

    def line(self, distance: np.ndarray, thickness: float) -> np.ndarray:
        """Return a patchy line where a distance (points) is zero."""
        patchy = np.clip(0.4 + 0.8 * self.noise(60, 45), 0, 2)
        return patchy * np.exp(-0.5 * (distance / max(thickness, 0.8 / self.unit)) ** 2)


def _step(distance: np.ndarray, softness: float) -> np.ndarray:
    """0 well below zero, 1 well above it."""
    return 0.5 * (1 + np.tanh(distance / softness))


def _shape_lesion(label: str, grid: _Grid) -> _Lesion:
    """Outline of a lesion: a smooth ellipse on its side, or an irregular, spiculated and upright one."""
    rng, rows, columns, deep, wide = grid.rng, grid.rows, grid.columns, grid.deep, grid.wide
    benign = label == "benign"
    area = rng.uniform(0.02, 0.075) if benign else rng.uniform(0.065, 0.14)
    aspect = rng.uniform(1.35, 2.0) if benign else rng.uniform(0.75, 1.2)  # width over height
    radius_y = min(math.sqrt(area * deep * wide / (math.pi * aspect)), 0.27 * deep)
    radius_x = min(radius_y * aspect, 0.35 * wide)
    centre_y = rng.uniform(0.13, 0.24 if benign else 0.19) * deep + radius_y
    centre_x = wide * rng.uniform(0.36, 0.64)

    dy, dx = (rows - centre_y) / radius_y, (columns - centre_x) / radius_x
    around = np.arctan2(dy, dx)
    outline = np.ones_like(around)
    waves = ((2, 0.04), (3, 0.045), (4, 0.025)) if benign else ((2, 0.10), (3, 0.14), (4, 0.10), (5, 0.08))
    for order, size in waves:
        outline += rng.uniform(0.2, 1) * size * np.cos(order * around + rng.uniform(0, 2 * np.pi))
    spicules = 0 if benign else rng.integers(5, 10)
    for number in range(spicules):
        towards = 2 * np.pi * (number + rng.uniform(-0.35, 0.35)) / spicules
        turn = np.abs((around - towards + np.pi) % (2 * np.pi) - np.pi)
        outline += rng.uniform(0.12, 0.48) * np.exp(-turn / rng.uniform(0.07, 0.22))
    # No spicule breaks through the skin or is cut by the border.
    to_border = np.minimum(np.minimum(rows, deep - rows), np.minimum(columns, wide - columns))
    rho = np.hypot(dy, dx) / outline / np.clip(to_border / 12, 0.05, 1)
    # The far side of a malignant mass is lost in its own shadow.
    margin = rng.uniform(1.5, 2.5) if benign else rng.uniform(4, 9) * (1 + _step(dy, 0.5))
    weight = _step((1 - rho) * math.sqrt(radius_y * radius_x), margin)
    # The tip of a spicule may break off between pixels.
    parts, _ = ndimage.label(rho <= 1)
    mask = parts == parts[np.unravel_index(rho.argmin(), rho.shape)]
    return _Lesion(rho, mask, weight, dy, radius_y)


def _breast(grid: _Grid) -> _Tissue:
    """Skin, fat, fibroglandular tissue, muscle and chest wall."""
    rng, rows, deep, noise, line = grid.rng, grid.rows, grid.deep, grid.noise, grid.line
    skin = rng.uniform(0.022, 0.04) * deep
    fat_end = rng.uniform(0.11, 0.25) * deep
    gland_end = rng.uniform(0.50, 0.72) * deep
    muscle_end = gland_end + rng.uniform(0.16, 0.30) * deep

    # Bent more and more below the skin, so that textures follow the layers.
    bend = rng.uniform(-0.13, 0.13) * (grid.columns - grid.wide / 2) + rng.uniform(8, 22) * noise(200, 170)
    depth = rows + np.clip((rows - skin) / (0.25 * deep), 0, 1) * bend
    # Fat lobules sag between ligaments that pull the gland up to sharp crests.
    crest = fat_end + 0.035 * deep * (np.abs(grid.along(75)) - 0.6) + 3 * grid.along(25)
    in_gland, in_muscle = _step(depth - crest, 3), _step(depth - gland_end, 5)
    in_chest = _step(depth - muscle_end, 8)
    fat = rng.uniform(-10, -6) + 1.2 * noise(35, 70) + 1.3 * noise(9, 22, depth)
    gland = rng.uniform(1, 3) + rng.uniform(2, 4.5) * noise(45, 85, depth)
    gland += rng.uniform(2, 4) * noise(5, 16, depth)
    muscle, chest = -6 + 3.5 * noise(9, 80, depth), -11 + 3 * noise(20, 60, depth)
    echo = fat + in_gland * (gland - fat)
    echo += in_muscle * (muscle - echo)
    echo += in_chest * (chest - echo)

    # Fibres and septa, and the surfaces between the layers.
    fibres = np.clip(noise(2.4, 24, depth) - 0.8, 0, 2)
    mirror = rng.uniform(1, 2.5) * fibres * (0.4 + in_gland) * (1 - 0.7 * in_chest)
    mirror += sum(5 * line(depth - border, 1.4) for border in (crest, gland_end, muscle_end))
    mirror += 2.5 * np.exp(-0.5 * (rows / 3) ** 2) + 3.5 * line(rows - skin, 1.3)

    # Gain compensation keeps the upper part even and loses the race below it.
    start = rng.uniform(0.12, 0.35) * deep
    falloff = rng.uniform(18, 32) / (deep - start) * _step(rows - start, 0.1 * deep)
    return _Tissue(echo, mirror, loss=falloff * (1 + 0.5 * noise(110, 110)))


def _add_benign(tissue: _Tissue, lesion: _Lesion, grid: _Grid) -> _Tissue:
    """Even dark interior, thin capsule, enhancement behind the mass."""
    rng, radius_y, inside = grid.rng, lesion.radius_y, lesion.weight
    interior = rng.uniform(-30, -18) + 1.2 * grid.noise(12, 22)
    capsule = np.exp(-0.5 * ((lesion.rho - 1.05) * radius_y / 1.4) ** 2) * np.clip(lesion.height, -1, 1) ** 2
    mirror = tissue.mirror * (1 - inside) + rng.uniform(1.5, 3) * capsule
    # Fluid and well-ordered tissue attenuate less than the surroundings that the gain was set for.
    loss = tissue.loss - inside * rng.uniform(6, 12) / (2 * radius_y)
    return _Tissue(tissue.echo + inside * (interior - tissue.echo), mirror, loss)


def _add_malignant(tissue: _Tissue, lesion: _Lesion, grid: _Grid) -> _Tissue:
    """Uneven dark interior, posterior shadow."""
    rng, noise, inside = grid.rng, grid.noise, lesion.weight
    interior = rng.uniform(-17, -12) + 3 * noise(16, 20) + 2.5 * noise(6, 9)
    # Stroma attenuates strongly. Most is lost in the lower half, so the shadow is darker than the mass.
    share = inside * _step(lesion.height + 0.1, 0.5) * np.clip(1 + 0.4 * noise(200, 18), 0.2, None)
    loss = tissue.loss + share * rng.uniform(12, 22) / (1.1 * lesion.radius_y)
    return _Tissue(tissue.echo + inside * (interior - tissue.echo), tissue.mirror * (1 - inside), loss)


def _scan(grid: _Grid, tissue: _Tissue) -> np.ndarray:
    """Return the image uint8 (H, W) that a linear-array scanner would show of the tissue."""
    rng, unit, shape = grid.rng, grid.unit, tissue.echo.shape
    depth = grid.rows / grid.deep

    def widening(field: np.ndarray, near: float, far: float) -> np.ndarray:
        narrow, broad = (ndimage.gaussian_filter1d(field, sigma * unit, axis=1) for sigma in (near, far))
        return (1 - depth) * narrow + depth * broad

    axial, near, far = 1.25, rng.uniform(1.4, 2.2), rng.uniform(2.2, 3.5)
    # Makes the scattering mean the same whatever the size of the pulse.
    scatter = 10 ** (tissue.echo / 20) * np.sqrt(2 * np.pi * axial * (near + depth * (far - near))) * unit
    envelope = np.zeros(shape, np.float32)
    for _ in range(_LOOKS):
        noise = rng.standard_normal((2, *shape), dtype=np.float32)
        field = scatter * (noise[0] + 1j * noise[1]) + tissue.mirror
        field = ndimage.gaussian_filter1d(field, axial * unit, axis=0)
        envelope += np.abs(widening(field, near, far)) / _LOOKS

    # Neighbouring beams share tissue, the more the deeper, so shadows lose their edges.
    attenuation = widening(np.cumsum(tissue.loss, axis=0) / unit, 3, 13)
    floor = 10 ** (rng.uniform(-33, -28) / 20) * np.hypot(*rng.standard_normal((2, *shape), dtype=np.float32))
    decibel = 20 * np.log10(envelope * 10 ** (-attenuation / 20) + floor + 1e-6)
    grey = rng.uniform(128, 158) + rng.uniform(4.3, 5.2) * decibel
    # Monitors' grey maps bend at the bright end instead of clipping.
    grey = np.where(grey > 190, 190 + 65 * np.tanh((grey - 190) / 65), grey)
    return np.clip(np.rint(ndimage.gaussian_filter(grey, (0.3 * unit, 0.6 * unit))), 0, 255).astype(np.uint8)
