"""Write the tables of results in README.md and docs/results.md from research/results.

    python research/write_results.py [NAME=REPORT …]

NAME=REPORT first takes in the metrics of a report folder of `busi-unet evaluate` as research/results/NAME.json.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from busi_unet.evaluation.metrics import METRICS, Metric, shown_in
from busi_unet.publish.results import read_result

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "research" / "results"
NAMES = {"busi": "BUSI", "busbra": "BUS-BRA", "breast": "BrEaST"}
UNSEEN = "unseen_"
HELD_OUT = "held_out"


def main(arguments: list[str]) -> None:
    RESULTS.mkdir(exist_ok=True)
    for argument in arguments:
        name, _, report = argument.partition("=")
        shutil.copyfile(Path(report) / "metrics.json", RESULTS / f"{name}.json")
    unseen = {}
    for path in sorted(RESULTS.glob(f"{UNSEEN}*.json")):
        result = read_result(path)
        source = path.stem.removeprefix(UNSEEN)
        unseen[f"{NAMES[source]}, {sum(result.images.values())} images"] = result.estimates
    held_out = {
        f"{NAMES[source]}, fold 0": estimates
        for source, estimates in read_result(RESULTS / f"{HELD_OUT}.json").sources.items()
    }
    replace(ROOT / "README.md", "results", table(shown_in("readme"), unseen))
    replace(ROOT / "docs" / "results.md", "unseen hospitals", table(list(METRICS.values()), unseen))
    replace(ROOT / "docs" / "results.md", "folds held out", table(list(METRICS.values()), held_out))


def table(metrics: list[Metric], columns: dict) -> str:
    """Return a table with a row per metric; a metric that no column has is left out."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for metric in metrics:
        cells = []
        for estimates in columns.values():
            estimate = estimates.get(metric.name)
            if estimate is None or estimate.value is None:
                cells.append("–")
            else:
                cells.append(f"{metric.value(estimate)} [{metric.interval(estimate)}]")
        if set(cells) != {"–"}:
            lines.append(f"| {metric.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def replace(path: Path, mark: str, text: str) -> None:
    """Put text between `<!-- mark -->` and `<!-- end of mark -->`."""
    page = path.read_text(encoding="utf-8")
    pattern = rf"(<!-- {mark} -->\n).*?(<!-- end of {mark} -->)"
    new, count = re.subn(pattern, lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{path} has no block <!-- {mark} -->.")
    path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
