"""Prepares BUSI, or data laid out like it, for training: checks it, splits it without leaks, saves it.

Results go to stdout, progress and warnings to stderr. Exit codes: 0 success, 1 failure, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from busi_unet.cli import command, print_result, warn
from busi_unet.config import CLASS_NAMES
from busi_unet.data.busi import IMAGE_BY_IMAGE, prepare, read_record, summarise
from busi_unet.data.folds import N_FOLDS

_FOLDS_FROM = {
    "published": "published with this package (busi_folds.csv)",
    "source": "those of the source",
    "computed": "found from the pixels",
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="prepare_data.py", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder or zip in the layout of BUSI, 'kaggle' to download it, or a Hub data set USER/NAME",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("data/busi"), help="folder to write (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the folds of data that are not BUSI (%(default)s)"
    )
    parser.add_argument(
        "--fold",
        type=int,
        choices=range(N_FOLDS),
        default=0,
        help="fold to test on; the next one validates, the rest trains (%(default)s)",
    )
    parser.add_argument(
        "--ignore-copies",
        action="store_true",
        help="deal the folds image by image, as if no two were alike: figures leak; to measure by how much",
    )
    parser.add_argument(
        "--report",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write OUTPUT/report.html, a page of plots and pictures of the data",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier data set at OUTPUT")
    parser.add_argument("--push-to-hub", metavar="USER/NAME", help="publish it on the Hub, private")
    parser.add_argument("--public", action="store_true", help="publish it for everyone to read")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


@command
def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.public and not args.push_to_hub:
        parser.error("--public needs --push-to-hub")
    if args.ignore_copies and args.push_to_hub:
        parser.error("--ignore-copies makes a data set for one study, and none to publish")
    if args.push_to_hub:
        from busi_unet.hub import check_push

        check_push(args.push_to_hub, repo_type="dataset", private=not args.public)
    started = time.perf_counter()
    dataset = prepare(
        args.source,
        args.output,
        seed=args.seed,
        test_fold=args.fold,
        ignore_copies=args.ignore_copies,
        overwrite=args.overwrite,
    )
    record, summary = read_record(args.output), summarise(dataset)
    for message in record["warnings"]:
        warn(message)
    report = None
    if args.report:
        from busi_unet.data.explore import write_report

        report = args.output / "report.html"
        write_report(dataset, report, record=record, progress=True)
    result = {
        "output": str(args.output),
        "report": report and str(report),
        **record,
        **summary,
        "runtime_s": round(time.perf_counter() - started, 2),
    }
    if args.push_to_hub:
        from busi_unet.publish.dataset import push_dataset

        again = [*argv, *(["--overwrite"] if "--overwrite" not in argv else [])]
        pushed = push_dataset(
            args.output,
            args.push_to_hub,
            command=["prepare_data.py", *again],
            public=args.public,
        )
        result["published"] = pushed.url
    print_result(result, describe(result), as_json=args.json)


def describe(result: dict[str, Any]) -> str:
    """The result as text for a terminal."""
    lines = [f"{result['images']} images written to {result['output']}", ""]
    header = ("split", "fold", "images", "groups", *CLASS_NAMES)
    folds = list(range(result["n_folds"]))
    test, validation = result["test_fold"], (result["test_fold"] + 1) % result["n_folds"]
    fold_of = {
        "train": ", ".join(str(fold) for fold in folds if fold not in (test, validation)),
        "validation": str(validation),
        "test": str(test),
    }
    rows = [
        (split, fold_of[split], counts["images"], counts["groups"], *(counts[name] for name in CLASS_NAMES))
        for split, counts in result["splits"].items()
    ]
    rows.append(("all", "", result["images"], result["groups"], *result["classes"].values()))
    lines += [
        f"{row[0]:<11}{row[1]:<9}" + "".join(f"{value:>11}" for value in row[2:]) for row in (header, *rows)
    ]

    lines += ["", *_about_copies(result)]
    if result["report"]:
        lines += ["", f"Report: {result['report']} (shows the data set's pictures; do not publish it)"]
    if result.get("published"):
        lines += ["", f"Published: {result['published']}"]
    return "\n".join(lines)


def _about_copies(result: dict[str, Any]) -> list[str]:
    if result["folds_from"] == IMAGE_BY_IMAGE:
        return [
            "Folds: dealt image by image. Copies of a picture lie in several of them, so that figures leak; "
            "use this data set to measure by how much, and for nothing else."
        ]
    lines = [f"Folds: {_FOLDS_FROM[result['folds_from']]}; no group is in two of them."]
    groups = "one group" if result["groups_with_copies"] == 1 else f"{result['groups_with_copies']} groups"
    lines.append(
        f"Copies: {result['images_in_copy_groups']} images are in {groups} of copies, the largest of "
        f"{result['largest_group']}."
    )
    lines.append(
        f"A random image-level split would leave {result['random_split_leak']:.1%} of the test images with a "
        "copy in training; this split leaves none."
    )
    conflicts = result["cross_class_groups"]
    lines.append(f"Cross-class conflicts: {len(conflicts)} groups hold copies filed under different classes.")
    for conflict in conflicts:
        sides = (f"{', '.join(images)}" for images in conflict["images"].values())
        lines.append(f"  {conflict['group']}: {' | '.join(sides)}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
