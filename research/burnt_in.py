"""Prints how well burnt-in text, calipers and panels are found: a Markdown table.

    python research/burnt_in.py BUS-BRA BrEaST BUSI

Text as of a patient (names, numbers, dates) is drawn with a seed on images of BUS-BRA and BrEaST that show
none: in added margins and over the corners of the scan, in several fonts, sizes and grey levels, and saved as
JPEG. It is found where blackening the boxes takes away 95 % of its ink. Real text and calipers were marked by
eye in results/burnt_in_marks.csv: 60 images of BUS-BRA and 54 of BrEaST drawn at random, and 33 of BUS-BRA
without text.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from busi_unet.evaluation.report import table
from busi_unet.imaging.burnt_in import blacken, has_annotations, text_boxes
from busi_unet.imaging.quality import panel_boxes
from busi_unet.version import commit

_MARKS = Path(__file__).parent / "results" / "burnt_in_marks.csv"
_IMAGES = 100
_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSerif", "STIXGeneral", "cmss10")
_FAMILIES = ("Kowalska", "SILVA", "Nguyen", "O'Connor", "MUELLER", "Souza Lima", "Wiśniewska", "HASSAN")
_GIVEN = ("Anna", "MARIA", "Thi Lan", "Grace", "ULRIKE", "Ana Paula", "Zofia", "FATIMA")


class Found(NamedTuple):
    """Of one drawn text: whether it lies in a margin, and the share of its ink that is blackened."""

    in_margin: bool
    share: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("busbra", type=Path, metavar="BUS-BRA")
    parser.add_argument("breast", type=Path, metavar="BrEaST")
    parser.add_argument(
        "busi", type=Path, metavar="BUSI", help="its groups.csv lists burnt_in, beside the images"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with _MARKS.open(encoding="utf-8", newline="") as file:
        marks = list(csv.DictReader(file))
    images = {row["image"]: _read(args, row["image"]) for row in marks}
    rows = [*drawn(images, marks, args.seed), *real(images, marks), *busi(args.busi)]
    rows += panels(images, args.seed)
    print(table(["images", "looked for", "found", "false alarms"], rows))
    print(f"\nSeed {args.seed}, commit {commit()}.")


def drawn(images: dict[str, np.ndarray], marks: list[dict[str, str]], seed: int) -> list[list[str]]:
    """Return rows on text drawn on half as many images of each hospital."""
    generator = np.random.default_rng(seed)
    without = [row["image"] for row in marks if row["marks"] != "text"]
    names = []
    for hospital in ("bus_", "case"):
        own = [name for name in without if name.startswith(hospital)]
        names += [own[index] for index in generator.permutation(len(own))[: _IMAGES // 2]]
    found = [find_drawn(images[name], generator) for name in names]
    texts = [text for image in found for text in image]
    rows = [
        [
            "with drawn text",
            "all text of an image",
            _share(min(t.share for t in image) >= 0.95 for image in found),
            "",
        ]
    ]
    for place, in_margin in (("in a margin", True), ("over a corner", False)):
        shares = [text.share >= 0.95 for text in texts if text.in_margin == in_margin]
        rows.append(["", f"a text {place}", _share(shares), ""])
    return rows


def find_drawn(image: np.ndarray, generator: np.random.Generator) -> list[Found]:
    """Draw texts on an image, look for them, and return how much of each was found."""
    pixels, inks = draw_texts(image, generator)
    boxes = text_boxes(pixels)
    return [
        Found(margin, 1 - blacken(ink, boxes).astype(bool).sum() / (ink > 0).sum()) for margin, ink in inks
    ]


def draw_texts(
    image: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, list[tuple[bool, np.ndarray]]]:
    """Return an image with up to three texts, after JPEG, and whether each is in a margin, and its ink."""
    height = len(image)
    size = generator.uniform(10, 18) * max(1.0, max(image.shape) / 500)
    font = ImageFont.truetype(f"{_font_folder()}/{generator.choice(_FONTS)}.ttf", round(size))
    margin = generator.random() < 0.5
    canvas, grey = image, 0
    if margin:
        grey = int(generator.choice([0, 0, 12, 30, 190]))
        rim = round(size * generator.uniform(1.6, 4))
        sides = [(rim, 0), (0, rim)][int(generator.integers(2))]
        canvas = np.pad(image, (sides, (0, 0)), constant_values=grey)
    inks = []
    out = Image.fromarray(canvas)
    taken: list[tuple[int, int, int, int]] = []
    for _ in range(int(generator.integers(1, 4))):
        text = patient_text(generator)
        ink = Image.new("L", out.size)
        left, top, right, bottom = font.getbbox(text)
        free_x, free_y = out.width - (right - left) - 6, out.height - (bottom - top) - 6
        if free_x < 3:
            continue
        x = int(generator.choice([3, free_x])) if not margin else int(generator.integers(3, free_x + 1))
        if margin:
            first, last = (3, sides[0] - (bottom - top) - 3) if sides[0] else (height + 2, free_y)
            y = int(generator.integers(first, max(first, last) + 1))
        else:
            y = int(generator.choice([3, free_y]))
        box = (x - 8, y - 4, x + right - left + 8, y + bottom - top + 4)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
            continue
        taken.append(box)
        ImageDraw.Draw(ink).text((x - left, y - top), text, fill=255, font=font)
        under = np.asarray(out)[max(0, box[1]) : box[3], max(0, box[0]) : box[2]]
        level = int(generator.integers(0, 60)) if grey > 128 else int(generator.integers(*_levels(under)))
        out = Image.composite(Image.new("L", out.size, level), out, ink)
        inks.append((margin, np.asarray(ink)))
    stream = io.BytesIO()
    out.save(stream, "JPEG", quality=int(generator.integers(60, 96)))
    # The faintest rim of a letter cannot be read, nor told from the background.
    return np.asarray(Image.open(stream)), [
        (m, np.where(ink >= 64, ink, 0).astype(np.uint8)) for m, ink in inks
    ]


def patient_text(generator: np.random.Generator) -> str:
    """Return a name, number or date as scanners print them."""
    family, given = generator.choice(_FAMILIES), generator.choice(_GIVEN)
    day, month, year = generator.integers(1, 29), generator.integers(1, 13), generator.integers(1935, 2005)
    number = generator.integers(10**5, 10**8)
    return str(
        generator.choice(
            [
                f"{family}, {given}",
                f"{family}^{given}",
                f"{given} {family} F {2024 - year}Y",
                f"ID: {number}",
                f"ID {number:08d}",
                f"{day:02d}.{month:02d}.{year}",
                f"DOB {year}-{month:02d}-{day:02d}",
                f"{month:02d}/{day:02d}/{year}",
            ]
        )
    )


def real(images: dict[str, np.ndarray], marks: list[dict[str, str]]) -> list[list[str]]:
    """Return rows on the text and calipers that were marked by eye."""
    rows = []
    for title, hospital in (("BUS-BRA", "bus_"), ("BrEaST", "case")):
        own = [row for row in marks if row["sample"] == "random" and row["image"].startswith(hospital)]
        for name, kinds, find in (
            ("text", ("text",), text_boxes),
            ("text or calipers", ("text", "calipers"), has_annotations),
        ):
            found = {True: [], False: []}
            for row in own:
                found[row["marks"] in kinds].append(bool(find(images[row["image"]])))
            rows.append([f"{title}, marked by eye", name, _share(found[True]), _share(found[False])])
    return rows


def busi(folder: Path) -> list[list[str]]:
    """Return rows on the published list of annotations."""
    listed: dict[bool, list[tuple[bool, bool]]] = {True: [], False: []}
    with (folder.parent / "groups.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            image = np.asarray(Image.open(folder / row["label"] / f"{row['image']}.png").convert("L"))
            listed[bool(row["burnt_in"])].append(has_annotations(image))
    return [["BUSI, published list", "text or calipers", _share(listed[True]), _share(listed[False])]]


def panels(images: dict[str, np.ndarray], seed: int) -> list[list[str]]:
    """Return a row on pairs of images side by side, with a black, grey or white gap of 2 to 20 pixels."""
    generator = np.random.default_rng(seed)
    names, found = sorted(images), []
    for _ in range(_IMAGES):
        left, right = (images[names[index]] for index in generator.integers(0, len(names), 2))
        height = min(len(left), len(right))
        gap = np.full((height, generator.integers(2, 21)), generator.choice([0, 0, 20, 255]), np.uint8)
        width = round(left.shape[1] * generator.uniform(0.9, 1))
        right = np.asarray(Image.fromarray(right[:height]).resize((width, height)))
        found.append(bool(panel_boxes(np.hstack([left[:height, :width], gap, right]))))
    alarms = [bool(panel_boxes(image)) for image in images.values()]
    return [["two side by side", "panels", _share(found), _share(alarms)]]


def _levels(under: np.ndarray) -> tuple[int, int]:
    """Return from and below which grey level a text can be read on a background."""
    lowest = int(min(200, np.percentile(under, 95) + 50)) if under.size else 110
    return max(110, lowest), 256


def _share(values) -> str:
    values = list(values)
    return f"{sum(values)} of {len(values)}" if values else ""


def _font_folder() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def _read(args: argparse.Namespace, name: str) -> np.ndarray:
    folder = args.busbra / "Images" if name.startswith("bus_") else args.breast
    return np.asarray(Image.open(next(folder.rglob(f"{name}.png"))).convert("L"))


if __name__ == "__main__":
    main()
