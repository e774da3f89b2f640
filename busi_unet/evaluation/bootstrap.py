"""Intervals by resampling whole groups: images of one patient, or copies of one view."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from busi_unet.errors import UsageError

LEVEL = 0.95

# Weights (..., N), how often each of N images counts, to a value (...), NaN where it is undefined.
Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """One value, its interval over groups, and what it rests on.

    Attributes:
        value: None where undefined.
        ci_low: lower end of the interval; None where there is none (see `Bootstrap.estimate`).
        ci_high: upper end.
        n: images on which it is defined.
        count: for a share, how many of the n.
        undefined_resamples: resamples left out of the interval.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    count: int | None = None
    undefined_resamples: int = 0

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        digits = 3 if abs(self.value) < 10 else 1
        interval = "" if self.ci_low is None else f" [{self.ci_low:.{digits}f}, {self.ci_high:.{digits}f}]"
        share = "" if self.count is None else f" ({self.count} of {self.n})"
        return f"{self.value:.{digits}f}{interval}{share}"


class Bootstrap:
    """Resamples of whole groups with replacement, drawn once for all statistics of some images.

    Images of one patient or view are not independent, so the group is drawn, and all its images
    with it (the cluster bootstrap; Efron and Tibshirani, An Introduction to the Bootstrap, 1993;
    Field and Welsh, JRSS B 69, 2007). Equal groups and seeds give equal resamples, so that two
    statistics of the same images are compared on the same draws.

    Args:
        groups: group of each of the N images.
        resamples: how many.
        level: of the intervals, in (0, 1).
        seed: of the draws.

    Raises:
        UsageError: `resamples` below 1 or `level` outside (0, 1).
    """

    def __init__(
        self, groups: Sequence[Hashable], *, resamples: int = 2000, level: float = LEVEL, seed: int = 0
    ) -> None:
        if resamples < 1 or not 0 < level < 1:
            raise UsageError(
                f"A bootstrap of {resamples} resamples at level {level} is not possible.",
                "Use at least 1 resample and a level between 0 and 1, such as 0.95.",
            )
        self.level = level
        self.once = np.ones(len(groups))
        places: dict[Hashable, int] = {}
        group_of = np.array([places.setdefault(group, len(places)) for group in groups], dtype=int)
        self.weights = None
        if len(places) > 1:
            draws = np.random.default_rng(seed).multinomial(
                len(places), np.full(len(places), 1 / len(places)), resamples
            )
            # As floats, matrix products are fast; counts stay exact.
            self.weights = draws[:, group_of].astype(float)

    def estimate(self, statistic: Statistic, n: int, count: int | None = None) -> Estimate:
        """Return a statistic with its percentile interval.

        There is none where none would be honest: fewer than two groups, no resample that defines the
        statistic, or all resamples alike (0 of 20 does not prove a rate of exactly 0).

        Args:
            statistic: of weights (R, N), to (R,), NaN where undefined.
            n: how many images it rests on.
            count: for a share, how many of them.
        """
        value = float(statistic(self.once))
        if np.isnan(value):
            return Estimate(None, None, None, n)
        values = np.empty(0) if self.weights is None else np.asarray(statistic(self.weights), dtype=float)
        defined = values[~np.isnan(values)]
        if not defined.size or np.ptp(defined) < 1e-12:
            return Estimate(value, None, None, n, count)
        low, high = np.quantile(defined, [(1 - self.level) / 2, (1 + self.level) / 2])
        return Estimate(value, float(low), float(high), n, count, values.size - defined.size)
