"""Every word that the page and its API show, in one place."""

from __future__ import annotations

ANALYSING = "Analysing …"
NOT_ANALYSED = "**Not analysed.** Try again."
EXAMPLES = "Or an example"
EXAMPLES_SOURCE = (
    "Examples: [BrEaST](https://doi.org/10.7937/9WKK-Q141), fold 0, not used to train the embedded weights. "
    "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/). Pawłowska A, et al. Curated benchmark "
    "dataset for ultrasound based breast lesion analysis. Scientific Data 11:148 (2024)."
)


def example(case: str, label: str) -> str:
    """Return what is said beside the result of an example."""
    return f"*Example: BrEaST {case}, labelled {label}.*"
