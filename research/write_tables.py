"""Write the tables of results into README.md and docs/results.md, from the metrics.json of evaluations.

    python research/write_tables.py --unseen reports/*/metrics.json --held-out runs/cv/results/metrics.json

The evaluations of unseen hospitals are kept beside the embedded weights, where the app shows them, too; that
of folds held out in research/results. Without arguments, the tables are written anew from these.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from busi_unet.cli import command
from busi_unet.errors import UsageError
from busi_unet.evaluation.metrics import Place, shown_in
from busi_unet.evaluation.report import metrics_table, read_evaluations, write_evaluations
from busi_unet.evaluation.statistics import Estimate
from busi_unet.models.folder import weights_hash

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS, HELD_OUT, IMAGES = "busi_unet/weights", "research/results/held-out.json", "docs/images/results"
NAMES = {"busi": "BUSI", "busbra": "BUS-BRA", "breast": "BrEaST"}
# Page, name of the marks around the table, kind of evaluation, where its metrics are marked as shown.
TABLES: tuple[tuple[str, str, str, Place], ...] = (
    ("README.md", "results", "unseen", "readme"),
    ("docs/results.md", "unseen hospitals", "unseen", "sources"),
    ("docs/results.md", "folds held out", "held-out", "readme"),
)
_CURVE = "missed_vs_outlined.png"


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="write_tables.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--unseen", nargs="+", type=Path, metavar="FILE", help="a hospital left out, each")
    parser.add_argument("--held-out", type=Path, metavar="FILE", help="folds held out")
    args = parser.parse_args(argv)
    if args.unseen:
        keep_unseen(ROOT, args.unseen)
    if args.held_out:
        shutil.copyfile(args.held_out, ROOT / HELD_OUT)
        _keep_curves(ROOT, "held-out", [args.held_out])
    for page in write(ROOT):
        print(page)


def keep_unseen(root: Path, files: Sequence[Path]) -> None:
    """Write evaluations of unseen hospitals, metrics.json each, beside the weights, as those of siblings."""
    weights = root / WEIGHTS
    siblings = [_loaded(file) for file in files]
    for summary in siblings:
        summary["provenance"] |= {"unseen_hospital": True, "sibling_of": weights_hash(weights)}
    own = [each for each in read_evaluations(weights).values() if "sibling_of" not in each["provenance"]]
    write_evaluations(weights, own + siblings)
    _keep_curves(root, "unseen", files)


def _keep_curves(root: Path, kind: str, files: Sequence[Path]) -> None:
    """Copy the curves beside evaluations, in place of those of the same kind."""
    for old in (root / IMAGES).glob(f"{kind}-*"):
        old.unlink()
    for file in files:
        if (curve := file.with_name(_CURVE)).is_file():
            shutil.copyfile(curve, root / IMAGES / f"{_name(kind, _loaded(file))}.png")


def _loaded(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def _name(kind: str, summary: dict[str, Any]) -> str:
    return "-".join([kind, *summary["sources"]])


def write(root: Path) -> list[Path]:
    """Write every table for which there are evaluations; return the pages that hold one.

    Raises:
        UsageError: a page without the marks of its table.
    """
    evaluations = read_evaluations(root / WEIGHTS).values()
    kept = {"unseen": [each for each in evaluations if "sibling_of" in each["provenance"]], "held-out": []}
    if (root / HELD_OUT).is_file():
        kept["held-out"].append(_loaded(root / HELD_OUT))
    written = []
    for page, mark, kind, place in TABLES:
        if not kept[kind]:
            continue
        parts = [table_of(kept[kind], place)]
        if page != "README.md":
            parts += [_origin(kind, summary) for summary in kept[kind]]
            names = [_name(kind, summary) for summary in kept[kind]]
            parts += [
                f"![Missed lesions against outlined normal images: {name}](images/results/{name}.png)"
                for name in names
                if (root / IMAGES / f"{name}.png").is_file()
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


def _origin(kind: str, summary: dict[str, Any]) -> str:
    provenance, file = summary["provenance"], f"{WEIGHTS}/evaluation.json" if kind == "unseen" else HELD_OUT
    return (
        f"[{', '.join(NAMES.get(name, name) for name in summary['sources'])}](../{file}): "
        f"`{provenance['command']}`, seed of the bootstrap {provenance['bootstrap']['seed']}, commit "
        f"{provenance.get('commit') or 'not recorded'}."
    )


if __name__ == "__main__":
    sys.exit(main())
