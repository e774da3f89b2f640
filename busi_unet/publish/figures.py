"""How the figures of an evaluation are named and written, in the card and in the repository's own pages."""

from __future__ import annotations

from busi_unet.evaluation.summary import TITLES, Estimate

FIGURES = TITLES
"""Title of each figure that they show, in this order."""


def value_of(estimate: Estimate, name: str) -> str:
    """The value alone, or that it is undefined."""
    return "undefined" if estimate.value is None else f"{estimate.value:.{_digits(name)}f}"


def count_of(estimate: Estimate) -> str:
    """How many of how many, behind a share; nothing where there is no share."""
    return "" if estimate.value is None or estimate.count is None else f" ({estimate.count} of {estimate.n})"


def interval_of(estimate: Estimate, name: str) -> str:
    """The interval's ends, or a dash."""
    if estimate.ci_low is None or estimate.ci_high is None:
        return "–"
    return f"{estimate.ci_low:.{_digits(name)}f} to {estimate.ci_high:.{_digits(name)}f}"


def _digits(name: str) -> int:
    return 1 if name.endswith("_px") else 3
