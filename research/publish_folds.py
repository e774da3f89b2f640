"""Make group-disjoint folds of a data set in BUSI layout from its pixels, as a CSV file.

Exit codes: 0 success, 1 failure, 2 wrong usage. What was written goes to stdout, progress to stderr.
"""

import argparse
import csv
import io
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from busi_unet.cli import command
from busi_unet.data.folds import FoldRow, assign_folds, group_images, pixel_hash
from busi_unet.data.readers import natural_order, recognise
from busi_unet.errors import DataLayoutError
from busi_unet.io.decode import decode_image
from busi_unet.io.files import replace_file


def build_folds(
    image_ids: Sequence[str], labels: Sequence[str], images: Sequence[np.ndarray]
) -> list[FoldRow]:
    """Find the copies among images, uint8 (H, W), and deal their groups into folds.

    Returns:
        One row per image, by class and number, whatever the order of the input.

    Raises:
        DataLayoutError: an id occurs twice, or pixel-identical images lie in several folds.
    """
    groups = group_images(image_ids, labels, images)
    folds = assign_folds(labels, groups)
    order = sorted(range(len(image_ids)), key=lambda index: (labels[index], natural_order(image_ids[index])))
    rows = [FoldRow(image_ids[n], labels[n], groups[n], folds[n], pixel_hash(images[n])) for n in order]
    if len(set(image_ids)) < len(rows):
        raise DataLayoutError("Several images have one id.", hint="Give each a name of its own.")
    if len({(row.pixel_sha256, row.fold) for row in rows}) > len({row.pixel_sha256 for row in rows}):
        raise DataLayoutError("The folds leak: identical pixels lie in several of them.")
    return rows


def write_folds(path: Path, rows: Sequence[FoldRow]) -> None:
    """Write rows as CSV: UTF-8, LF line ends, so that the file is the same on every platform.

    Two more columns say which images of a row's group are filed under another class: its label is in doubt.
    """
    members: dict[str, list[FoldRow]] = defaultdict(list)
    for row in rows:
        members[row.group].append(row)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FoldRow._fields, "cross_class", "other_class_copies"])
    for row in rows:
        copies = [other.image_id for other in members[row.group] if other.label != row.label]
        writer.writerow([*row, str(bool(copies)).lower(), ";".join(copies)])
    replace_file(path, lambda file: file.write(text.getvalue().encode()))


@command
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="publish_folds.py", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder holding normal, benign and malignant")
    parser.add_argument("--output", type=Path, default=Path("busi_folds.csv"), help="CSV file (%(default)s)")
    args = parser.parse_args(argv)
    recognised = recognise(args.folder)
    if recognised is None:
        raise DataLayoutError(f"{args.folder} has none of the known layouts.")
    layout, base = recognised
    cases = layout.scan(base).cases
    images = [decode_image(case.image) for case in cases]
    rows = build_folds([case.image_id for case in cases], [str(case.label) for case in cases], images)
    write_folds(args.output, rows)
    print(f"{args.output}: {len(rows)} images in {len({row.group for row in rows})} groups")


if __name__ == "__main__":
    sys.exit(main())
