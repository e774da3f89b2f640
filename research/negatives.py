"""Collects images that are no breast ultrasound, for `busi-unet calibrate --refuse` and to test it.

    apt-get download mate-backgrounds plasma-workspace-wallpapers gnome-backgrounds \
        lomiri-wallpapers-20.04 ukui-wallpapers invesalius-examples mricron-data
    for package in *.deb; do dpkg -x $package packages; done
    python research/negatives.py packages hc18 negatives

writes negatives/fit and negatives/test, with a subfolder for each kind: fetal heads (every other image of
HC18, van den Heuvel et al. 2018, PLOS ONE 13(8):e0200412, CC BY 4.0), photos and drawings, slices of a CT
of a head and of brain MRs, projections of the CT that resemble X-ray images, and pages of text.
"""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_LONGEST_SIDE = 900
Named = Iterator[tuple[str, str, str, Image.Image]]
"""Half ("fit" or "test"), kind, name and image."""


def main(packages: Path, heads: Path, output: Path) -> None:
    for images in (fetal_heads(heads), photos(packages), ct(packages), mr(packages), documents()):
        for half, kind, name, image in images:
            folder = output / half / kind
            folder.mkdir(parents=True, exist_ok=True)
            image = image.convert("RGB" if image.mode != "L" else "L")
            image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            image.save(folder / f"{name}.png")


def fetal_heads(folder: Path) -> Named:
    for number, path in enumerate(sorted(folder.glob("*.png"))):
        yield "test" if number % 2 else "fit", "fetal_heads", path.stem, Image.open(path)


def photos(packages: Path) -> Named:
    for path in sorted(packages.rglob("mate/*/*.*g")):
        yield "fit", "photos", path.stem, Image.open(path)
    others = {path.parts[-4]: path for path in sorted(packages.rglob("wallpapers/*/contents/images/*.*g"))}
    for pattern in ("gnome/*.webp", "backgrounds/*.*g"):
        others |= {path.stem: path for path in sorted(packages.rglob(pattern))}
    for name, path in others.items():
        yield "test", "photos", name, Image.open(path)


def ct(packages: Path) -> Named:
    """Axial slices to fit with, sagittal and coronal ones to test; of the projections, the frontal one."""
    with tarfile.open(next(packages.rglob("Cranium.inv3"))) as archive:
        member = next(each for each in archive.getmembers() if each.name.endswith("matrix.dat"))
        volume = np.frombuffer(archive.extractfile(member).read(), np.int16).reshape(108, 256, 256)
    soft, bone = (-100, 200), (-500, 1500)
    for k in range(8, 104, 6):
        yield "fit", "ct", f"axial{k}", _grey(volume[k], *soft)
        yield "fit", "ct", f"axial{k + 3}_bone", _grey(volume[k + 3], *bone)
    for k in range(60, 200, 14):
        yield "test", "ct", f"sagittal{k}", _grey(volume[::-1, :, k], *soft).resize((256, 216))
        yield "test", "ct", f"coronal{k}_bone", _grey(volume[::-1, k], *bone).resize((256, 216))
    density = np.clip(volume[::-1].astype(np.float32), -1000, 2000) + 1000
    for axis, name in ((0, "top"), (1, "frontal"), (2, "lateral")):
        projection = density.mean(axis)
        for gamma in (0.6, 1.0, 1.6):
            image = _grey((projection / projection.max()) ** gamma, 0, 1).resize((512, 432))
            yield "test" if name == "frontal" else "fit", "xray_like", f"{name}_{gamma}", image


def mr(packages: Path) -> Named:
    """Slices of a human brain (ch2) to fit with; of a monkey's (inia19) to test."""
    for half, name, step in (("fit", "ch2", 8), ("test", "inia19-t1-brain", 6)):
        volume = nibabel.load(next(packages.rglob(f"{name}.nii.gz"))).get_fdata(dtype=np.float32)
        white, depth = np.percentile(volume[volume > 0], 99.5), volume.shape[2]
        for k in range(depth // 5, depth * 4 // 5, step):
            yield half, "mr", f"{name}_{k}", _grey(np.rot90(volume[:, :, k]), 0, white)


def documents() -> Named:
    """Pages of words, some with a chart; even ones to test."""
    generator, words = np.random.default_rng(0), Path(__file__).read_text(encoding="utf-8").split()
    for number in range(40):
        width, height = [(600, 850), (850, 600), (500, 500)][number % 3]
        paper, size = int(generator.choice([255, 245, 230, 20])), int(generator.integers(10, 26))
        ink = 0 if paper > 100 else 230
        page = Image.new("L", (width, height), paper)
        draw, font = ImageDraw.Draw(page), ImageFont.load_default(size)
        for top in range(40, height - 40, int(size * 1.5)):
            line = " ".join(generator.choice(words, 14))[: int(width / size * 1.6)]
            draw.text((40, top), line if generator.random() < 0.85 else "", fill=ink, font=font)
        if number % 4 == 0:
            heights = height - 100 - generator.random(10) * 200
            across = np.linspace(60, width - 60, 10)
            draw.line(list(zip(across, heights, strict=True)), fill=ink, width=3)
        yield "fit" if number % 2 else "test", "documents", f"page{number}", page


def _grey(values: np.ndarray, black: float, white: float) -> Image.Image:
    share = np.clip((values.astype(np.float32) - black) / (white - black), 0, 1)
    return Image.fromarray((share * 255).astype(np.uint8))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
