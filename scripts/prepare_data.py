"""Prepares one or several data sets for training: checks them, splits them without leaks, saves them as one.

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
from busi_unet.data.folds import N_FOLDS
from busi_unet.data.prepare import prepare
from busi_unet.data.prepared import IMAGE_BY_IMAGE, read_record
from busi_unet.data.readers.own import OwnData
from busi_unet.data.summary import summarise

_FOLDS_FROM = {
    "published": "published with this package",
    "prepared": "those of the prepared data set",
    "given": "given with the data",
    "computed": "dealt by patient or group of copies",
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="prepare_data.py", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="*",
        help="folder or zip of BUSI, BUS-BRA, BrEaST, BUS-UCLM, COCO JSON, class folders, or images and "
        "masks; 'kaggle' to download BUSI; or a Hub data set USER/NAME",
    )
    own = parser.add_argument_group("your own data, in any other layout")
    own.add_argument("--images", type=Path, metavar="FOLDER", help="folder of images")
    own.add_argument("--masks", type=Path, metavar="FOLDER", help="folder of masks, named as their images")
    own.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="CSV or Excel file with the columns image, mask, label, patient and fold; "
        "any but the first may be missing",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("data/busi"), help="folder to write (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the folds that are not published (%(default)s)"
    )
    test = parser.add_mutually_exclusive_group()
    test.add_argument(
        "--test-fold",
        metavar="K",
        type=int,
        choices=range(N_FOLDS),
        default=0,
        help="fold of every source to test on; the next one validates, the rest trains (%(default)s)",
    )
    test.add_argument("--leave-out", metavar="SOURCE", help="test on the whole of one source, such as busi")
    parser.add_argument(
        "--ignore-copies",
        action="store_true",
        help="deal the folds image by image, as if no two were alike: figures leak; to measure by how much",
    )
    parser.add_argument(
        "--report",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write OUTPUT/report.html, a page of plots and images of the data",
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
    sources: list[str | OwnData] = list(args.sources)
    if args.images or args.masks or args.table:
        sources.append(OwnData(args.images, args.masks, args.table))
    if not sources:
        parser.error("name a SOURCE, or --images")
    if args.public and not args.push_to_hub:
        parser.error("--public needs --push-to-hub")
    if args.ignore_copies and args.push_to_hub:
        parser.error("--ignore-copies makes a data set for one study, and none to publish")
    if args.push_to_hub:
        from busi_unet.hub import check_push

        check_push(args.push_to_hub, repo_type="dataset", private=not args.public)
    started = time.perf_counter()
    dataset = prepare(
        sources,
        args.output,
        seed=args.seed,
        test_fold=args.test_fold,
        leave_out=args.leave_out,
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
    names = list(result["classes"])
    header = ("split", "fold", "images", "groups", *names)
    rows = [
        (split, _folds_of(split, result), part["images"], part["groups"], *(part[name] for name in names))
        for split, part in result["splits"].items()
    ]
    rows.append(("all", "", result["images"], result["groups"], *result["classes"].values()))
    lines += [
        f"{row[0]:<11}{row[1]:<9}" + "".join(f"{value:>11}" for value in row[2:]) for row in (header, *rows)
    ]
    lines.append("")
    for name, part in result["by_source"].items():
        classes = ", ".join(f"{part[label]} {label}" for label in names if part[label])
        unmasked = f"; {part['without_mask']} without mask" if part["without_mask"] else ""
        lines.append(f"{name}: {part['images']} images ({classes}){unmasked}")

    lines += ["", *_about_copies(result)]
    if result["report"]:
        lines += ["", f"Report: {result['report']} (shows the data set's pictures; do not publish it)"]
    if result.get("published"):
        lines += ["", f"Published: {result['published']}"]
    return "\n".join(lines)


def _folds_of(split: str, result: dict[str, Any]) -> str:
    """Return the folds of a split, for the table."""
    if result["left_out"]:
        return result["left_out"] if split == "test" else ""
    test, validation = result["test_fold"], (result["test_fold"] + 1) % result["n_folds"]
    rest = ", ".join(str(fold) for fold in range(result["n_folds"]) if fold not in (test, validation))
    return {"train": rest, "validation": str(validation), "test": str(test)}[split]


def _about_copies(result: dict[str, Any]) -> list[str]:
    if result["folds_from"] == IMAGE_BY_IMAGE:
        return [
            "Folds: dealt image by image. Copies of a picture lie in several of them, so that figures leak; "
            "use this data set to measure by how much, and for nothing else."
        ]
    folds = ", ".join(f"{part['source']} {_FOLDS_FROM[part['folds_from']]}" for part in result["sources"])
    groups = "one group" if result["groups_with_copies"] == 1 else f"{result['groups_with_copies']} groups"
    lines = [
        f"Folds: {folds}; no group is in two of them.",
        f"Groups: {result['images_in_copy_groups']} images share {groups} (one patient, or copies of one "
        f"view), the largest of {result['largest_group']}.",
        f"A random image-level split would leave {result['random_split_leak']:.1%} of the test images with "
        "another of their group in training; this split leaves none.",
    ]
    conflicts = result["cross_class_groups"]
    lines.append(f"Cross-class conflicts: {len(conflicts)} groups hold images of different classes.")
    for conflict in conflicts:
        sides = (f"{', '.join(images)}" for images in conflict["images"].values())
        lines.append(f"  {conflict['group']}: {' | '.join(sides)}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
