"""Writes the pages of results and the README's table from research/results; takes new reports in first.

Exit codes: 0 success, 1 failure, 2 wrong usage. What was written goes to stdout.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from busi_unet.cli.common import command
from research.audit_page import AUDITS, keep_audit
from research.recipes_page import COMPARISONS, keep_recipes
from research.results_page import SOURCES, keep_report, write_results

ROOT = Path(__file__).resolve().parents[1]


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="write_results.py", description=__doc__.partition("\n")[0])
    for name, source in SOURCES.items():
        flag = "--" + name.replace("_", "-")
        parser.add_argument(
            flag, metavar="REPORT", type=Path, help=f"report folder to show as: {source.heading}"
        )
    for name, comparison in COMPARISONS.items():
        parser.add_argument(
            "--" + name.replace("_", "-"),
            metavar="FILE",
            type=Path,
            help=f"written by research/compare_recipes.py: {comparison.heading.lower()}",
        )
    for name, source in AUDITS.items():
        parser.add_argument(
            "--" + name.replace("_", "-"), metavar="REPORT", type=Path, help=f"audit of {source.meaning}"
        )
    args = parser.parse_args(argv)
    for name, source in SOURCES.items():
        if (report := getattr(args, name)) is not None:
            keep_report(report, ROOT, source)
    for name, comparison in COMPARISONS.items():
        if (file := getattr(args, name)) is not None:
            keep_recipes(file, ROOT, comparison)
    for name, source in AUDITS.items():
        if (report := getattr(args, name)) is not None:
            keep_audit(report, ROOT, source)
    for path in write_results(ROOT):
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
