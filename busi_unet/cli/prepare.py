"""busi-unet prepare: one or several data sets, checked, split without leaks and saved as one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from busi_unet.cli import add_json, print_result, require, tell_next, warn

_FOLDS_FROM = {
    "published": "published with this package",
    "prepared": "those of the prepared data set",
    "given": "given with the data",
    "computed": "assigned by patient or group of copies",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
        help="CSV or Excel file with the column image and any of mask, label, patient and fold",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("data/busi"), help="folder to write (%(default)s)"
    )
    parser.add_argument(
        "--ignore-copies",
        action="store_true",
        help="assign folds image by image, ignoring copies, to measure leakage",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier data set at OUTPUT")
    parser.add_argument("--push-to-hub", metavar="USER/NAME", help="publish it on the Hub, private")
    parser.add_argument("--public", action="store_true", help="publish it for everyone to read")
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    from busi_unet.data.prepare import prepare
    from busi_unet.data.prepared import read_record, summarise
    from busi_unet.data.readers.own import OwnData
    from busi_unet.data.report import write_data_report
    from busi_unet.hub import check_push
    from busi_unet.publish.dataset import push_dataset

    own = [OwnData(args.images, args.masks, args.table)] * bool(args.images or args.masks or args.table)
    require(args.sources or own, "Name a SOURCE, or --images.")
    require(args.push_to_hub or not args.public, "--public needs --push-to-hub.")
    require(not (args.ignore_copies and args.push_to_hub), "Folds that ignore copies are not published.")
    if args.push_to_hub:
        check_push(args.push_to_hub, repo_type="dataset", private=not args.public)
    dataset = prepare(
        [*args.sources, *own], args.output, ignore_copies=args.ignore_copies, overwrite=args.overwrite
    )
    record = read_record(args.output)
    for message in record["warnings"]:
        warn(message)
    report = args.output / "report.html"
    write_data_report(dataset, report, record)
    result = {"output": str(args.output), "report": str(report), **record, **summarise(dataset)}
    if args.push_to_hub:
        # The data set is there by now: doing this again has to replace it.
        again = [*args.command, *["--overwrite"] * (not args.overwrite)]
        pushed = push_dataset(args.output, args.push_to_hub, command=again, public=args.public)
        result["published"] = pushed.url
    print_result(result, _as_text(result), as_json=args.json)
    tell_next("train", "--quick", "--data", args.output)


def _as_text(result: Mapping[str, Any]) -> str:
    from busi_unet.evaluation.report import table

    names = list(result["classes"])
    columns = ["images", "groups", *names]
    rows = [
        [split, *(str(part[name]) for name in columns)]
        for split, part in (*result["splits"].items(), ("all", {**result, **result["classes"]}))
    ]
    lines = [f"{result['images']} images written to {result['output']}", ""]
    lines += [table(["split", *columns], rows), ""]
    for name, part in result["by_source"].items():
        classes = ", ".join(f"{part[label]} {label}" for label in names if part[label])
        unmasked = f"; {part['without_mask']} without mask" if part["without_mask"] else ""
        lines.append(f"{name}: {classes}{unmasked}")
    lines += ["", *_about_copies(result)]
    lines += ["", f"Report: {result['report']} (shows the images; do not publish it)"]
    if "published" in result:
        lines += ["", f"Published: {result['published']}"]
    return "\n".join(lines)


def _about_copies(result: Mapping[str, Any]) -> list[str]:
    if result["folds_from"] == "image by image":
        return ["Folds: assigned image by image, ignoring copies; use them to measure leakage only."]
    folds = ", ".join(f"{part['source']} {_FOLDS_FROM[part['folds_from']]}" for part in result["sources"])
    return [
        f"Folds: {folds}; no group is in two of them.",
        f"Images that share a group (one patient, or copies of one view): {result['images_in_copy_groups']}, "
        f"in {result['groups_with_copies']} groups.",
        f"If images were split at random, {result['random_split_leak']:.1%} of the test images would have "
        "another of their group in training; here none has.",
        f"Groups with images of different classes, shown in the report: {len(result['cross_class_groups'])}.",
    ]
