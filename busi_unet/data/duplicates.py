"""Copies and near-copies among images, found from their pixels alone.

Three steps, each cheaper per pair than the next and each fed only what the last one let through:

1. Vote. Every image is described by SIFT features (Lowe 2004) with the Hellinger normalisation of
   RootSIFT (Arandjelović and Zisserman 2012). Some, spread over the image, vote for the images that
   hold their nearest neighbours; the images with most votes are candidates.
2. Align. One-to-one matches of a candidate pair agree, or do not, on one similarity transform: shift,
   zoom, rotation. Every match proposes one by itself, so the search is exhaustive and needs no random draw.
3. Compare. The pair is laid over each other and the normalised cross-correlation (NCC) of its fine structure
   decides. The black screen around the scanned field and burnt-in white text are left out, because all
   images of a scanner share them; structure coarser than a few speckles is removed, because depth shading
   and a dark lesion in the middle make any two ultrasound images alike; and the strongest residuals are
   clipped, lest the rest of a drawing outweigh the tissue.

A mirrored image is compared through its mirrored features; an upside-down one is a mirrored one, rotated.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from busi_unet.data.folds import pixel_hash

# Chosen on BUSI, where the first pair that shows two different lesions scores 0.35 (docs/methods.md).
MIN_SCORE = 0.55

_SIDE = 256  # longest side of the compared images, pixels
_FEATURES = 256
_VOTERS = 64  # features of an image that take part in the vote
_CELLS = 8  # per side: voters are drawn from a grid of cells
_NEAREST = 2  # votes of one feature
_CANDIDATES = 10  # per image and orientation
_MIN_SIMILARITY = 0.8  # of two matched RootSIFT descriptors, 1 where equal
_MIN_MATCHES = 7  # agreeing with one transform; unrelated images reach 3 to 6
_MIN_OVERLAP = 0.25  # of the smaller image
_ZOOM = (0.4, 2.5)
_TOLERANCE = 4.0  # pixels of the compared images
_FINE, _COARSE = 2.0, 12.0  # band of the compared structure, Gaussian sigmas in pixels
_CLIP = 3.0  # standard deviations
_DARK = 4  # mean grey level below which a neighbourhood may belong to the black screen
_BURNT_IN = 250  # grey level from which a pixel counts as drawn, not scanned


class CopyPair(NamedTuple):
    """Two images that show the same view.

    Attributes:
        first, second: indices into the sequence that was searched, in ascending order.
        score: normalised cross-correlation of their fine structure over the shared area; 1 for equal pixels.
        flipped: whether one is the mirror image of the other.
    """

    first: int
    second: int
    score: float
    flipped: bool


class _Features(NamedTuple):
    points: np.ndarray  # complex64 (K,), x + iy in pixels
    shapes: np.ndarray  # complex64 (K,), size in pixels as modulus, direction as argument
    descriptors: np.ndarray  # float32 (K, 128), unit length


def find_copies(images: Sequence[np.ndarray]) -> list[CopyPair]:
    """Find the pairs of images that are copies: flipped, cropped, rescanned, regained or drawn over.

    The result depends on the pixels only; no random number is drawn. Time grows with the square of the
    number of images, and 780 of them take about a minute on two cores.

    Args:
        images: grey, uint8 (H, W), of any and of differing sizes.

    Returns:
        Pairs in ascending order of (first, second), each pair once. A chain of pairs may join images that
        are no pair themselves: see `connected`.
    """
    pairs: dict[tuple[int, int], CopyPair] = {}
    originals: list[int] = []
    small: list[np.ndarray] = []
    fields: list[np.ndarray] = []
    first_with: dict[str, int] = {}
    for index, image in enumerate(images):
        first = first_with.setdefault(pixel_hash(image), index)
        if first != index:
            # Found already, and a second search would only crowd the vote.
            pairs[first, index] = CopyPair(first, index, 1.0, flipped=False)
            continue
        originals.append(index)
        small.append(_shrunk(image))
        fields.append(_scanned_field(small[-1], image))

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        features = list(tqdm(pool.map(_describe, small), "copies: describe", len(small), unit="image"))
    mirrored = [_mirror(item, image.shape[1]) for item, image in zip(features, small, strict=True)]

    candidates = _vote(features, mirrored)
    for a, b, flipped in tqdm(candidates, "copies: compare", unit="pair"):
        transform = _align(mirrored[a] if flipped else features[a], features[b])
        if transform is None:
            continue
        moving = small[a], fields[a]
        if flipped:
            moving = tuple(np.ascontiguousarray(image[:, ::-1]) for image in moving)
        score = _compare(moving, (small[b], fields[b]), transform)
        first, second = originals[a], originals[b]
        known = pairs.get((first, second))
        if score >= MIN_SCORE and (known is None or known.score < score):
            pairs[first, second] = CopyPair(first, second, score, flipped)
    return [pairs[key] for key in sorted(pairs)]


def connected(count: int, links: Sequence[tuple[int, int]]) -> list[int]:
    """Return the group number of each of `count` things; what is linked, directly or not, shares one."""
    first, second = np.array(links, int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1].tolist()


def _shrunk(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _scanned_field(small: np.ndarray, image: np.ndarray) -> np.ndarray:
    """1 where the shrunk image shows tissue, 0 on the screen around it and on text, uint8 (H, W)."""
    dark = (cv2.blur(small, (5, 5)) < _DARK).astype(np.uint8)
    _, regions = cv2.connectedComponents(dark)
    rim = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    screen = np.isin(regions, rim[rim > 0])
    # Sought before shrinking, which turns thin white strokes grey.
    drawn = _shrunk(np.where(image >= _BURNT_IN, 255, 0).astype(np.uint8)) > 64
    # Smoothing mixes both into the tissue beside them.
    reach = 2 * round(2 * _FINE) + 1
    return cv2.erode((~(screen | drawn)).astype(np.uint8), np.ones((reach, reach), np.uint8))


def _describe(small: np.ndarray) -> _Features:
    # Low contrast counts here: speckle, not edges, tells two images of one breast apart.
    sift = cv2.SIFT_create(nfeatures=_FEATURES, contrastThreshold=0.01, edgeThreshold=20)
    keys, descriptors = sift.detectAndCompute(small, None)
    if not keys:
        nothing = np.zeros(0, np.complex64)
        return _Features(nothing, nothing, np.zeros((0, 128), np.float32))
    points = np.array([complex(*key.pt) for key in keys], np.complex64)
    order = _spread([-key.response for key in keys], points, small.shape)[:_FEATURES]
    shapes = np.array([key.size * np.exp(1j * np.deg2rad(key.angle)) for key in keys], np.complex64)
    descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9))
    return _Features(points[order], shapes[order], descriptors[order].astype(np.float32))


def _spread(weakness: Sequence[float], points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    # Burnt-in text holds the strongest features of an image. By turns over a grid, tissue has its say.
    height, width = shape
    cells = (points.imag * _CELLS / height).astype(int) * _CELLS + (points.real * _CELLS / width).astype(int)
    strongest = np.argsort(weakness, kind="stable")
    turn_in_cell = np.empty(len(points), int)
    taken = np.zeros(cells.max() + 1, int)
    for index in strongest:
        turn_in_cell[index] = taken[cells[index]]
        taken[cells[index]] += 1
    return strongest[np.argsort(turn_in_cell[strongest], kind="stable")]


# A SIFT descriptor is 4 rows × 4 columns × 8 directions in the feature's own upright frame:
# mirroring reverses the rows and the sense of the directions.
_MIRROR_ORDER = np.arange(128).reshape(4, 4, 8)[::-1, :, -np.arange(8)].ravel()


def _mirror(features: _Features, width: int) -> _Features:
    points = (width - 1) - features.points.conj()
    return _Features(points, -features.shapes.conj(), features.descriptors[:, _MIRROR_ORDER])


def _vote(features: Sequence[_Features], mirrored: Sequence[_Features]) -> list[tuple[int, int, bool]]:
    count = len(features)
    sizes = [len(item.descriptors[:_VOTERS]) for item in features]
    if sum(sizes) == 0:
        return []
    start = np.concatenate([[0], np.cumsum(sizes)])
    owner = np.repeat(np.arange(count), sizes)
    stored = np.ascontiguousarray(np.concatenate([item.descriptors[:_VOTERS] for item in features]).T)
    votes = np.zeros((2, count, count), np.int32)
    for index in tqdm(range(count), "copies: vote", unit="image"):
        for flipped, side in enumerate((features, mirrored)):
            similarity = side[index].descriptors[:_VOTERS] @ stored
            similarity[:, start[index] : start[index + 1]] = -1.0
            rows = np.arange(len(similarity))
            for _ in range(_NEAREST):
                nearest = similarity.argmax(axis=1)
                votes[flipped, index] += np.bincount(owner[nearest], minlength=count)
                similarity[rows, nearest] = -1.0
    votes += votes.transpose(0, 2, 1).copy()
    candidates = set()
    for flipped in (0, 1):
        for index in range(count):
            best = np.argsort(-votes[flipped, index], kind="stable")[:_CANDIDATES]
            candidates.update(
                (min(index, int(other)), max(index, int(other)), bool(flipped))
                for other in best
                if other != index and votes[flipped, index, other] > 0
            )
    return sorted(candidates)


def _align(moving: _Features, fixed: _Features) -> tuple[complex, complex] | None:
    # Points are complex numbers, so that a similarity transform is p → turn · p + shift.
    if min(len(moving.points), len(fixed.points)) < _MIN_MATCHES:
        return None
    similarity = moving.descriptors @ fixed.descriptors.T
    nearest, back = similarity.argmax(axis=1), similarity.argmax(axis=0)
    rows = np.arange(len(nearest))
    mutual = (back[nearest] == rows) & (similarity[rows, nearest] > _MIN_SIMILARITY)
    source, target = moving.points[mutual], fixed.points[nearest[mutual]]
    turns = fixed.shapes[nearest[mutual]] / moving.shapes[mutual]
    possible = (np.abs(turns) > _ZOOM[0]) & (np.abs(turns) < _ZOOM[1])
    if possible.sum() == 0 or len(source) < _MIN_MATCHES:
        return None
    # A single feature knows its size and direction only roughly, hence the wider tolerance.
    proposals = turns[possible, None] * (source[None] - source[possible, None]) + target[possible, None]
    agreeing = np.abs(proposals - target) < 1.5 * _TOLERANCE
    inliers = agreeing[agreeing.sum(axis=1).argmax()]
    for _ in range(3):
        if inliers.sum() < 3:
            return None
        turn, shift = _fit_similarity(source[inliers], target[inliers])
        inliers = np.abs(turn * source + shift - target) < _TOLERANCE
    if inliers.sum() < _MIN_MATCHES or not _ZOOM[0] < abs(turn) < _ZOOM[1]:
        return None
    return turn, shift


def _fit_similarity(source: np.ndarray, target: np.ndarray) -> tuple[complex, complex]:
    centred = source - source.mean()
    spread = float((np.abs(centred) ** 2).sum())
    turn = complex((centred.conj() * (target - target.mean())).sum()) / max(spread, 1e-6)
    return turn, complex(target.mean()) - turn * complex(source.mean())


def _compare(
    moving: tuple[np.ndarray, np.ndarray],
    fixed: tuple[np.ndarray, np.ndarray],
    transform: tuple[complex, complex],
) -> float:
    """Return the score of two (image, field) pairs, the first laid over the second; 0 for little overlap."""
    turn, shift = transform
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    height, width = fixed[0].shape

    def smooth(image: np.ndarray, sigma: float) -> np.ndarray:
        return cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)

    def moved(image: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(image, matrix, (width, height))

    inside = (moved(255 * moving[1]) == 255) & (fixed[1] > 0)
    smaller = min(fixed[1].sum(), moving[1].sum() * abs(turn) ** 2)
    if inside.sum() / max(smaller, 1) < _MIN_OVERLAP:
        return 0.0
    weight = inside.astype(np.float32)
    coverage = np.maximum(smooth(weight, _COARSE), 1e-3)

    def fine_structure(image: np.ndarray) -> np.ndarray:
        residual = (image - smooth(image * weight, _COARSE) / coverage)[inside]
        residual -= residual.mean()
        limit = _CLIP * residual.std()
        return np.clip(residual, -limit, limit)

    a, b = fine_structure(moved(smooth(moving[0], _FINE))), fine_structure(smooth(fixed[0], _FINE))
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0
