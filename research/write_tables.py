"""Write the tables of results into README.md and docs/results.md, from the metrics.json of evaluations.

    python research/write_tables.py --unseen reports/*/metrics.json --held-out runs/cv/results/metrics.json

Copies of the files, without the images, stay in research/results; without arguments, the tables are written
anew from these. Those of unseen hospitals are kept beside the embedded weights, too, for the app to show.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from busi_unet.cli.common import command
from busi_unet.errors import UsageError
from busi_unet.evaluation.metrics import Place, shown_in
from busi_unet.evaluation.record import read_evaluations, write_evaluations
from busi_unet.evaluation.report import metrics_table
from busi_unet.evaluation.statistics import Estimate
from busi_unet.inference.predictor import EMBEDDED
from busi_unet.models.folder import weights_hash

ROOT = Path(__file__).resolve().parents[1]
NAMES = {"busi": "BUSI", "busbra": "BUS-BRA", "breast": "BrEaST"}
# Page, name of the marks around the table, kind of evaluation, where its metrics are marked as shown.
TABLES: tuple[tuple[str, str, str, Place], ...] = (
    ("README.md", "results", "unseen", "readme"),
    ("docs/results.md", "unseen hospitals", "unseen", "sources"),
    ("docs/results.md", "folds held out", "held-out", "sources"),
)
_CURVE = "missed_vs_outlined.png"


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="write_tables.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--unseen", nargs="+", type=Path, metavar="FILE", help="a hospital left out, each")
    parser.add_argument("--held-out", nargs="+", type=Path, metavar="FILE", help="folds held out")
    args = parser.parse_args(argv)
    for kind, files in (("unseen", args.unseen), ("held-out", args.held_out)):
        if files:
            keep(ROOT, kind, files)
    for page in write(ROOT):
        print(page)
    keep_beside_weights(ROOT, EMBEDDED)


def keep(root: Path, kind: str, files: Sequence[Path]) -> None:
    """Copy evaluations into the repository, in place of those of the same kind.

    Args:
        root: of the repository.
        kind: "unseen" or "held-out".
        files: metrics.json each; the curve beside it is copied, too.
    """
    results, images = root / "research" / "results", root / "docs" / "images" / "results"
    for folder in (results, images):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{kind}-*"):
            old.unlink()
    for file in files:
        name = "-".join([kind, *json.loads(file.read_text(encoding="utf-8"))["sources"]])
        shutil.copyfile(file, results / f"{name}.json")
        if (curve := file.with_name(_CURVE)).is_file():
            shutil.copyfile(curve, images / f"{name}.png")


def keep_beside_weights(root: Path, weights: Path) -> None:
    """Write the evaluations of unseen hospitals into a model folder, as those of its siblings."""
    own = [
        summary
        for summary in read_evaluations(weights).values()
        if not summary["provenance"].get("sibling_of")
    ]
    siblings = []
    for file in sorted((root / "research" / "results").glob("unseen-*.json")):
        summary = json.loads(file.read_text(encoding="utf-8"))
        summary["provenance"] |= {"unseen_hospital": True, "sibling_of": weights_hash(weights)}
        siblings.append(summary)
    write_evaluations(weights, own + siblings)


def write(root: Path) -> list[Path]:
    """Write every table for which there are evaluations; return the pages that hold one.

    Raises:
        UsageError: a page without the marks of its table.
    """
    written = []
    for page, mark, kind, place in TABLES:
        files = sorted((root / "research" / "results").glob(f"{kind}-*.json"))
        if not files:
            continue
        summaries = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
        parts = [table_of(list(summaries.values()), place)]
        if place != "readme":
            parts += _origins(summaries)
            parts += [
                f"![Missed lesions against outlined normal images: {name}](images/results/{name}.png)"
                for name in summaries
                if (root / "docs" / "images" / "results" / f"{name}.png").is_file()
            ]
        path, start, end = root / page, f"<!-- {mark} -->", f"<!-- end of {mark} -->"
        before, found, rest = path.read_text(encoding="utf-8").partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise UsageError(f"{page} lacks the marks {start} and {end}.", "Put them around its table.")
        text = f"{before}{start}\n\n" + "\n\n".join(parts) + f"\n\n{end}{after}"
        path.write_text(text, encoding="utf-8", newline="\n")
        written.append(path)
    return list(dict.fromkeys(written))


def table_of(summaries: Sequence[dict[str, Any]], place: Place) -> str:
    """Return a Markdown table with a line per metric and a column per source."""
    columns = {
        NAMES.get(name, name): {key: Estimate(**value) for key, value in part["estimates"].items()}
        for summary in summaries
        for name, part in summary["sources"].items()
    }
    shown = [metric for metric in shown_in(place) if any(metric.name in each for each in columns.values())]
    return metrics_table(shown, columns)


def _origins(summaries: dict[str, dict[str, Any]]) -> list[str]:
    return [
        f"[{name}.json](../research/results/{name}.json): `{summary['provenance']['command']}`, seed of the "
        f"bootstrap {summary['provenance']['bootstrap']['seed']}, commit "
        f"{summary['provenance'].get('commit') or 'not recorded'}."
        for name, summary in summaries.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
