"""busi-unet prepare: one or several data sets, checked, split without leaks and saved as one."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from busi_unet.cli.common import add_json, print_result, require, seed, warn
from busi_unet.data.folds import N_FOLDS


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
        help="CSV or Excel file with the columns image, mask, label, patient and fold; "
        "any but the first may be missing",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("data/busi"), help="folder to write (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=seed, default=0, help="of the folds that are not published (%(default)s)"
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
        "--ignore-copies", action="store_true", help="deal the folds image by image, to measure leakage"
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
    add_json(parser)


def run(args: argparse.Namespace) -> None:
    from busi_unet.data.prepare import prepare
    from busi_unet.data.prepared import read_record
    from busi_unet.data.readers.own import OwnData
    from busi_unet.data.summary import describe, summarise

    sources: list[str | OwnData] = list(args.sources)
    if args.images or args.masks or args.table:
        sources.append(OwnData(args.images, args.masks, args.table))
    require(sources, "Name a SOURCE, or --images.")
    require(args.push_to_hub or not args.public, "--public needs --push-to-hub.")
    require(not (args.ignore_copies and args.push_to_hub), "Folds that ignore copies are not published.")
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
    record = read_record(args.output)
    for message in record["warnings"]:
        warn(message)
    report = args.output / "report.html" if args.report else None
    if report:
        from busi_unet.data.report import write_data_report

        write_data_report(dataset, report, record=record, progress=True)
    result = {
        "output": str(args.output),
        "report": report and str(report),
        **record,
        **summarise(dataset),
        "runtime_s": round(time.perf_counter() - started, 2),
    }
    if args.push_to_hub:
        from busi_unet.publish.dataset import push_dataset

        # The data set is there by now: doing this again has to replace it.
        again = [*args.command, *(["--overwrite"] if not args.overwrite else [])]
        pushed = push_dataset(args.output, args.push_to_hub, command=again, public=args.public)
        result["published"] = pushed.url
    print_result(result, describe(result), as_json=args.json)
