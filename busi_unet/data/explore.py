"""The exploration of a prepared data set as one self-contained HTML page."""

from __future__ import annotations

import base64
import contextlib
import html
import io
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy import ndimage

from busi_unet.config import CLASS_NAMES, Preprocess
from busi_unet.data.busi import summarise
from busi_unet.data.layout import natural_order
from busi_unet.errors import BusiUNetError, MissingDependencyError
from busi_unet.imaging.decode import decode_image, decode_mask
from busi_unet.imaging.overlay import draw_overlay
from busi_unet.imaging.preprocess import Preprocessor

if TYPE_CHECKING:
    from datasets import Dataset
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAMPLES_PER_CLASS = 10
SAMPLE_GROUPS = 6
LARGEST_GROUPS = 2
MAX_CONFLICTS = 30
MAX_GROUP_PICTURES = 14

# Near Okabe and Ito's palette (told apart with any colour vision), but clear on white and on near-black.
_COLORS = {"normal": "#1a9e77", "benign": "#3f8fd4", "malignant": "#e0652a"}
_THEMES = {
    "light": {"text": "#1f2328", "line": "#d0d7de", "paper": "#ffffff"},
    "dark": {"text": "#d6dbe1", "line": "#3d444d", "paper": "#161b22"},
}
_THUMBNAIL = 180
_HEAT_SIDE = 64


@dataclass(frozen=True)
class _Picture:
    """What the report keeps of a picture once its pixels are gone."""

    image_id: str
    label: str
    group: str
    fold: int
    width: int
    height: int
    mean_grey: float
    lesion_share: float
    lesions: int
    taller_than_wide: bool


@dataclass
class _Exploration:
    """Everything that the page shows."""

    summary: dict[str, Any]
    pictures: list[_Picture] = field(default_factory=list)
    thumbnails: dict[str, str] = field(default_factory=dict)
    resized: dict[str, str] = field(default_factory=dict)
    grey: dict[str, np.ndarray] = field(default_factory=lambda: {n: np.zeros(256) for n in CLASS_NAMES})
    heat: dict[str, np.ndarray] = field(
        default_factory=lambda: {n: np.zeros((_HEAT_SIDE, _HEAT_SIDE)) for n in CLASS_NAMES}
    )
    samples: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    label_of: dict[str, str] = field(default_factory=dict)
    fold_of: dict[str, int] = field(default_factory=dict)
    shown_groups: list[str] = field(default_factory=list)

    def of(self, label: str) -> list[_Picture]:
        return [picture for picture in self.pictures if picture.label == label]


def write_report(
    dataset: Mapping[str, Dataset],
    path: str | os.PathLike,
    *,
    record: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> None:
    """Writes one HTML page, with every plot and picture inside it, that needs neither network nor scripts.

    The page shows pictures of the data set, so it must be shared no more widely than the data.

    Args:
        dataset: what `load_prepared` gives.
        path: file to write; replaced if it exists.
        record: what `read_record` gives, to tell where the data came from.
        seed: picks the sample pictures.
        progress: show progress on stderr.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        BusiUNetError: the file cannot be written.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "The data report needs the package matplotlib.", "Run: pip install -e '.[train]'"
        ) from error
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(_page(_explore(dataset, seed, progress), record or {}), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise BusiUNetError(
            f"{path} could not be written ({error.strerror}).", "Choose another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


# --- Looking at the pixels -----------------------------------------------------------------------


def _explore(dataset: Mapping[str, Dataset], seed: int, progress: bool) -> _Exploration:
    from tqdm import tqdm

    found = _Exploration(summarise(dataset))
    _choose(found, dataset, random.Random(seed))
    wanted = set().union(*found.samples.values(), *(found.groups[group] for group in found.shown_groups))
    with tqdm(total=found.summary["images"], desc="exploring", unit="picture", disable=not progress) as bar:
        for part in dataset.values():
            for row in part:
                _look(found, row, wanted)
                bar.update()
    _resize(found, dataset)
    return found


def _choose(found: _Exploration, dataset: Mapping[str, Dataset], rng: random.Random) -> None:
    """Picks what will be shown, from the columns alone, so that the pixels are read once."""
    by_class: dict[str, list[str]] = defaultdict(list)
    groups: dict[str, list[str]] = defaultdict(list)
    for part in dataset.values():
        columns = (part[name] for name in ("image_id", "label", "group", "fold"))
        for image_id, label, group, fold in zip(*columns, strict=True):
            by_class[CLASS_NAMES[label]].append(image_id)
            groups[group].append(image_id)
            found.label_of[image_id], found.fold_of[group] = CLASS_NAMES[label], fold
    for label in CLASS_NAMES:
        ids = sorted(by_class[label], key=natural_order)
        found.samples[label] = sorted(rng.sample(ids, min(SAMPLES_PER_CLASS, len(ids))), key=natural_order)
    for group, ids in groups.items():
        by_class_and_number = sorted(ids, key=natural_order)
        found.groups[group] = sorted(by_class_and_number, key=lambda i: CLASS_NAMES.index(found.label_of[i]))

    conflicts = [conflict["group"] for conflict in found.summary["cross_class_groups"]]
    copies = sorted((g for g, ids in found.groups.items() if len(ids) > 1), key=natural_order)
    largest = sorted(copies, key=lambda group: -len(found.groups[group]))[:LARGEST_GROUPS]
    others = [group for group in copies if group not in largest and group not in conflicts]
    sample = sorted(rng.sample(others, min(SAMPLE_GROUPS, len(others))), key=natural_order)
    found.shown_groups = list(dict.fromkeys([*largest, *sample, *conflicts[:MAX_CONFLICTS]]))


def _look(found: _Exploration, row: Mapping[str, Any], wanted: set[str]) -> None:
    frame, mask = decode_image(row["image"], name=row["image_id"]), decode_mask(row["mask"])
    label, lesions = CLASS_NAMES[row["label"]], _regions(mask)
    found.pictures.append(
        _Picture(
            image_id=row["image_id"],
            label=label,
            group=row["group"],
            fold=row["fold"],
            width=frame.shape[1],
            height=frame.shape[0],
            mean_grey=float(frame.mean()),
            lesion_share=float(mask.mean()),
            lesions=len(lesions),
            taller_than_wide=bool(lesions) and lesions[0][0] > lesions[0][1],
        )
    )
    found.grey[label] += np.bincount(frame.ravel(), minlength=256) / frame.size
    if lesions:
        small = Image.fromarray(mask.astype(np.float32)).resize(
            (_HEAT_SIDE, _HEAT_SIDE), Image.Resampling.BOX
        )
        found.heat[label] += np.asarray(small)
    if row["image_id"] in wanted:
        found.thumbnails[row["image_id"]] = _thumbnail(frame, mask)


def _regions(mask: np.ndarray) -> list[tuple[int, int]]:
    """Height and width of the box of each connected region, the largest box first."""
    # `imaging.measure` also finds diameters, which would take most of the time of this page.
    regions, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    boxes = [(rows.stop - rows.start, cols.stop - cols.start) for rows, cols in ndimage.find_objects(regions)]
    return sorted(boxes, key=lambda box: -box[0] * box[1])


def _thumbnail(frame: np.ndarray, mask: np.ndarray) -> str:
    scale = min(1.0, _THUMBNAIL / max(frame.shape))
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    small = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR))
    covered = (
        np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)) >= 128
    )
    return _jpeg(draw_overlay(small, covered, opacity=0.0))


def _resize(found: _Exploration, dataset: Mapping[str, Dataset]) -> None:
    """The widest lesion picture, the one that the square network input changes most, before and after."""
    lesions = [picture for picture in found.pictures if picture.lesions] or found.pictures
    chosen = max(lesions, key=lambda picture: picture.width / picture.height).image_id
    for part in dataset.values():
        if chosen in part["image_id"]:
            row = part[list(part["image_id"]).index(chosen)]
    frame, mask = decode_image(row["image"]), decode_mask(row["mask"])
    preprocessor = Preprocessor(Preprocess())
    small, small_mask = preprocessor.resize_frame(frame), preprocessor.resize_mask(mask)
    found.resized = {
        "image_id": chosen,
        "native": _jpeg(draw_overlay(frame, mask, opacity=0.0)),
        "native_size": f"{frame.shape[1]} × {frame.shape[0]}",
        "input": _jpeg(draw_overlay(small, small_mask, opacity=0.0)),
        "input_size": f"{small.shape[1]} × {small.shape[0]}",
        "native_share": f"{mask.mean():.2%}",
        "input_share": f"{small_mask.mean():.2%}",
    }


def _jpeg(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=84)
    return _data_uri(buffer.getvalue(), "image/jpeg")


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


# --- Plots ---------------------------------------------------------------------------------------


def _plot(draw: Callable[[Figure], None], alt: str, size: tuple[float, float]) -> str:
    """Draws a figure once per colour scheme; the reader's browser shows the fitting one."""
    import matplotlib
    from matplotlib.figure import Figure

    uris = {}
    for theme, colors in _THEMES.items():
        style = {
            "axes.edgecolor": colors["line"],
            "axes.facecolor": colors["paper"],
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.labelcolor": colors["text"],
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "figure.facecolor": colors["paper"],
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "grid.color": colors["line"],
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "text.color": colors["text"],
            "xtick.color": colors["text"],
            "ytick.color": colors["text"],
        }
        with matplotlib.rc_context(style):
            figure = Figure(figsize=size, layout="constrained")
            draw(figure)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=130)
        uris[theme] = _data_uri(buffer.getvalue(), "image/png")
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{uris["dark"]}">'
        f'<img class="plot" src="{uris["light"]}" alt="{html.escape(alt)}"></picture>'
    )


def _plot_folds(found: _Exploration) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        folds = found.summary["folds"]
        bottom = np.zeros(len(folds))
        for name in CLASS_NAMES:
            counts = np.array([fold[name] for fold in folds.values()])
            bars = axes.bar(
                [f"fold {fold}" for fold in folds], counts, 0.6, bottom, color=_COLORS[name], label=name
            )
            axes.bar_label(
                bars, labels=[str(n) if n else "" for n in counts], label_type="center", color="white"
            )
            bottom += counts
        axes.set(ylabel="images", title="Images per fold and class")
        axes.grid(axis="x", visible=False)
        axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.08))

    return _plot(draw, "Stacked bars: images of each class in each fold", (9.6, 3.6))


def _plot_sizes(found: _Exploration) -> str:
    def draw(figure: Figure) -> None:
        scatter, aspect = figure.subplots(1, 2, width_ratios=(1.15, 1))
        for name in CLASS_NAMES:
            pictures = found.of(name)
            widths, heights = [p.width for p in pictures], [p.height for p in pictures]
            scatter.scatter(widths, heights, s=14, alpha=0.55, color=_COLORS[name], label=name, linewidths=0)
        limit = max(max(p.width, p.height) for p in found.pictures) * 1.05
        scatter.plot([0, limit], [0, limit], "--", lw=1, color="#8b949e")
        scatter.text(limit * 0.8, limit * 0.8, "  square", va="top", color="#8b949e", fontsize=9)
        scatter.set(xlim=(0, limit), ylim=(0, limit), xlabel="width (px)", ylabel="height (px)", title="Size")
        scatter.legend(loc="upper left", markerscale=1.8)
        _histogram(aspect, found, lambda p: p.width / p.height, "width / height", "Aspect")

    return _plot(
        draw, "Scatter of image width against height, histogram of width divided by height", (9.6, 3.9)
    )


def _plot_intensity(found: _Exploration) -> str:
    def draw(figure: Figure) -> None:
        means, levels = figure.subplots(1, 2)
        _histogram(
            means, found, lambda p: p.mean_grey, "mean grey level of an image (0 to 255)", "Brightness"
        )
        for name in CLASS_NAMES:
            count = len(found.of(name))
            # Near black is mostly the screen around the sector; its spike would flatten everything else.
            levels.plot(range(5, 256), found.grey[name][5:] / count * 100, color=_COLORS[name], label=name)
        levels.set_ylim(0, None)
        levels.set(xlabel="grey level (5 to 255)", ylabel="% of pixels", title="Grey levels, mean of images")
        levels.legend()

    return _plot(
        draw, "Histogram of mean grey levels by class; mean grey-level distribution by class", (9.6, 3.5)
    )


def _plot_lesions(found: _Exploration) -> str:
    labels = [name for name in CLASS_NAMES if any(p.lesions for p in found.of(name))]

    def draw(figure: Figure) -> None:
        area, count, shape = figure.subplots(1, 3, width_ratios=(1.6, 1, 0.8))
        shares = [p.lesion_share * 100 for p in found.pictures if p.lesions]
        bins = np.geomspace(min(shares), max(shares) * 1.01, 26)
        for name in labels:
            values = [p.lesion_share * 100 for p in found.of(name) if p.lesions]
            area.hist(
                values,
                bins,
                density=False,
                weights=np.full(len(values), 100 / len(values)),
                alpha=0.22,
                color=_COLORS[name],
            )
            area.hist(
                values,
                bins,
                weights=np.full(len(values), 100 / len(values)),
                histtype="step",
                lw=1.8,
                color=_COLORS[name],
                label=name,
            )
            area.axvline(np.median(values), ls="--", lw=1.2, color=_COLORS[name])
        area.set_xscale("log")
        area.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        area.set(xlabel="lesion area (% of image, log scale)", ylabel="% of the class", title="Area")
        area.legend()
        numbers = sorted({p.lesions for p in found.pictures if p.lesions})
        for index, name in enumerate(labels):
            counts = [sum(p.lesions == number for p in found.of(name)) for number in numbers]
            x = np.arange(len(numbers)) + (index - (len(labels) - 1) / 2) * 0.4
            bars = count.bar(x, counts, 0.38, color=_COLORS[name])
            count.bar_label(bars, fontsize=8)
        count.set_yscale("log")
        count.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        count.set_xticks(range(len(numbers)), [str(number) for number in numbers])
        count.set(
            xlabel="connected regions in the mask", ylabel="images (log scale)", title="Lesions per image"
        )
        count.grid(axis="x", visible=False)
        taller = [100 * np.mean([p.taller_than_wide for p in found.of(name) if p.lesions]) for name in labels]
        bars = shape.bar(labels, taller, 0.6, color=[_COLORS[name] for name in labels])
        shape.bar_label(bars, fmt="%.0f %%")
        shape.set(ylabel="% of the class", title="Taller than wide")
        shape.grid(axis="x", visible=False)

    return _plot(
        draw, "Lesion area by class, lesions per image, share of lesions taller than wide", (9.6, 3.6)
    )


def _plot_places(found: _Exploration) -> str:
    labels = [name for name in CLASS_NAMES if found.heat[name].any()]

    def draw(figure: Figure) -> None:
        for axes, name in zip(np.atleast_1d(figure.subplots(1, len(labels))), labels, strict=True):
            share = found.heat[name] / sum(p.lesions > 0 for p in found.of(name)) * 100
            shown = axes.imshow(share, cmap="magma", vmin=0, extent=(0, 100, 100, 0), aspect=0.72)
            axes.set(title=name, xlabel="% of the width", ylabel="% of the depth")
            axes.grid(visible=False)
            figure.colorbar(shown, ax=axes, label="% of images", shrink=0.85)

    return _plot(draw, "Heat maps of where lesions lie in the frame, by class", (9.6, 3.3))


def _plot_copies(found: _Exploration) -> str:
    def draw(figure: Figure) -> None:
        sizes, leak = figure.subplots(1, 2, width_ratios=(1.3, 1))
        lengths = [len(ids) for ids in found.groups.values()]
        values = list(range(1, max(lengths) + 1))
        bars = sizes.bar(values, [lengths.count(value) for value in values], 0.7, color="#7d70b5")
        sizes.bar_label(
            bars, labels=[str(lengths.count(v)) if v in lengths else "" for v in values], fontsize=9
        )
        sizes.set_yscale("log")
        sizes.set_ylim(0.7, None)
        sizes.set_xticks(values)
        sizes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        sizes.set(xlabel="images in the group", ylabel="groups (log scale)", title="Size of the groups")
        sizes.grid(axis="x", visible=False)
        expected = found.summary["random_split_leak"] * 100
        bars = leak.barh(
            ["this split", "random split"], [0, expected], 0.5, color=[_COLORS["normal"], "#c0392b"]
        )
        leak.bar_label(bars, fmt="%.1f %%", padding=4)
        leak.set(
            xlim=(0, max(expected * 1.3, 10)), xlabel="% of test images", title="With a copy in training"
        )
        leak.grid(axis="y", visible=False)

    return _plot(draw, "Bars: how many groups have how many images; leak of a random split", (9.6, 3.2))


def _histogram(
    axes: Axes, found: _Exploration, value: Callable[[_Picture], float], xlabel: str, title: str
) -> None:
    every = [value(picture) for picture in found.pictures]
    bins = np.linspace(min(every), max(every) + 1e-6, 30)
    for name in CLASS_NAMES:
        values = [value(picture) for picture in found.of(name)]
        weights = np.full(len(values), 100 / len(values))
        axes.hist(values, bins, weights=weights, alpha=0.18, color=_COLORS[name])
        axes.hist(values, bins, weights=weights, histtype="step", lw=1.8, color=_COLORS[name], label=name)
    axes.set(xlabel=xlabel, ylabel="% of the class", title=title)
    axes.legend()


# --- The page ------------------------------------------------------------------------------------


def _page(found: _Exploration, record: Mapping[str, Any]) -> str:
    sections = [
        ("counts", "Classes and folds", _counts(found, record)),
        ("samples", "Sample images", _samples(found)),
        ("sizes", "Sizes and brightness", _sizes(found)),
        ("lesions", "Lesions", _lesions(found, record)),
        ("resize", "From native size to network input", _resizing(found)),
        ("copies", "Copies", _copies(found)),
        ("conflicts", "Copies filed under different classes", _conflicts(found)),
    ]
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _ in sections)
    body = "".join(
        f'<section id="{anchor}"><h2>{title}</h2>{text}</section>' for anchor, title, text in sections
    )
    source = html.escape(str(record.get("source", "")))
    origin = f" Read from <code>{source}</code>." if source else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Data report</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>Data report</h1>
<p>What the prepared data set holds, before anything is trained on it.{origin}</p>
<p class="notice"><strong>Not for publication.</strong> This page shows pictures of the data set. Keep it as
private as the data; do not commit it to a repository or put it on a web site.</p>
{_tiles(found)}
<nav>{links}</nav>
</header>
<main>{body}</main>
</body>
</html>
"""


def _tiles(found: _Exploration) -> str:
    summary = found.summary
    leak = summary["random_split_leak"]
    tiles = [
        (summary["images"], "images"),
        *((summary["classes"][name], name) for name in CLASS_NAMES),
        (summary["groups"], "groups (views or lesions)"),
        (summary["images_in_copy_groups"], "images with a copy"),
        (f"{leak:.0%}", "of test images leak in a random split"),
        (len(summary["cross_class_groups"]), "groups across classes"),
    ]
    return (
        '<div class="tiles">'
        + "".join(f"<div><b>{v}</b><span>{text}</span></div>" for v, text in tiles)
        + "</div>"
    )


def _counts(found: _Exploration, record: Mapping[str, Any]) -> str:
    summary = found.summary
    rows = [
        (
            name,
            ", ".join(_folds_of(found, record, name)),
            part["images"],
            part["groups"],
            *(part[n] for n in CLASS_NAMES),
        )
        for name, part in summary["splits"].items()
    ]
    rows.append(("all", "", summary["images"], summary["groups"], *summary["classes"].values()))
    most, least = max(summary["classes"].values()), max(1, min(summary["classes"].values()))
    text = (
        f"<p>The largest class has {most / least:.1f} times the images of the smallest, so accuracy alone "
        "would flatter a model that favours it. Folds are balanced by class as far as whole groups allow.</p>"
    )
    header = ("split", "folds", "images", "groups", *CLASS_NAMES)
    caption = "No group has images in two folds: copies of one view never meet across training and test."
    return text + _table(header, rows) + _figure(_plot_folds(found), caption)


def _folds_of(found: _Exploration, record: Mapping[str, Any], split: str) -> Iterable[str]:
    folds, test = list(found.summary["folds"]), record.get("test_fold")
    if test is None:
        return []
    place = {str(test): "test", str((test + 1) % len(folds)): "validation"}
    return [fold for fold in folds if place.get(fold, "train") == split]


def _samples(found: _Exploration) -> str:
    text = "<p>Drawn at random. The orange line outlines the mask, which is empty in normal images.</p>"
    for name in CLASS_NAMES:
        text += f'<h3><i style="background:{_COLORS[name]}"></i>{name}</h3>' + _gallery(
            found, found.samples[name]
        )
    return text


def _sizes(found: _Exploration) -> str:
    widths, heights = ([getattr(p, side) for p in found.pictures] for side in ("width", "height"))
    wide = np.mean([p.width > p.height for p in found.pictures])
    sizes = (
        f"Images are {min(widths)} to {max(widths)} pixels wide and {min(heights)} to {max(heights)} high "
        f"(medians {np.median(widths):.0f} and {np.median(heights):.0f}); {wide:.0%} are wider than high."
    )
    greys = ", ".join(
        f"{name} {np.median([p.mean_grey for p in found.of(name)]):.0f}" for name in CLASS_NAMES
    )
    brightness = (
        f"Median brightness by class: {greys}. Near black (below 5) is left out at the right. A class that "
        "differs in size or brightness invites a network to learn the scanner's settings, not the tissue."
    )
    return _figure(_plot_sizes(found), sizes) + _figure(_plot_intensity(found), brightness)


def _lesions(found: _Exploration, record: Mapping[str, Any]) -> str:
    labels = [name for name in CLASS_NAMES if any(p.lesions for p in found.of(name))]
    if not labels:
        return "<p>No mask has any foreground.</p>"
    medians = ", ".join(
        f"{name} {np.median([p.lesion_share for p in found.of(name) if p.lesions]):.1%}" for name in labels
    )
    several = sum(p.lesions > 1 for p in found.pictures)
    area = f"Dashed lines are medians: {medians} of the image. {several} masks have several connected regions"
    if files := record.get("mask_files"):
        area += f"; {sum(count for n, count in files.items() if int(n) > 1)} are the union of several files"
    area += ". Right: the box of the largest region is higher than wide, a sign of malignancy (BI-RADS)."
    places = (
        "Share of a class's lesion images whose mask covers a place; every frame is stretched to one size, "
        "skin at the top."
    )
    return _figure(_plot_lesions(found), area) + _figure(_plot_places(found), places)


def _resizing(found: _Exploration) -> str:
    shown = found.resized
    name = html.escape(shown["image_id"])

    def figure(form: str, caption: str) -> str:
        details = f"{shown[f'{form}_size']} pixels, lesion {shown[f'{form}_share']} of them"
        picture = f'<img src="{shown[form]}" alt="{name}, {caption}">'
        return f"<figure>{picture}<figcaption>{caption}: {details}</figcaption></figure>"

    return (
        "<p>The network sees a square. Training and serving stretch every frame to it with the same code, "
        "and stretch the predicted probabilities back over the frame, so masks are judged at native size. "
        f"Of the images with a lesion, {name} is the widest for its height: the square changes it most.</p>"
        f'<div class="pair">{figure("native", "Native size")}{figure("input", "Network input")}</div>'
    )


def _copies(found: _Exploration) -> str:
    summary = found.summary
    if not summary["groups_with_copies"]:
        return "<p>No image has a copy; a random split would leak nothing.</p>"
    leak = summary["random_split_leak"]
    text = (
        f"<p>{summary['images_in_copy_groups']} of {summary['images']} images show the same view or lesion "
        "as another: saved twice, cropped, mirrored or annotated. Split at random, image by image, "
        f"{leak:.0%} of the test images would have a copy in the training set, and the test would measure "
        "memory. Here a group stays in one fold.</p>"
    )
    caption = "Left: sizes of the groups. Right: a random split, in expectation, against the one used here."
    text += _figure(_plot_copies(found), caption)
    conflicts = {conflict["group"] for conflict in summary["cross_class_groups"]}
    largest = sorted(found.groups, key=lambda group: -len(found.groups[group]))[:LARGEST_GROUPS]
    sample = [group for group in found.shown_groups if group not in largest and group not in conflicts]
    text += "<h3>The largest groups</h3>" + "".join(
        _group(found, group) for group in largest if group in found.shown_groups
    )
    return text + (
        "<h3>A sample of the others</h3>" + "".join(_group(found, g) for g in sample) if sample else ""
    )


def _conflicts(found: _Exploration) -> str:
    conflicts = [conflict["group"] for conflict in found.summary["cross_class_groups"]]
    if not conflicts:
        return "<p>No group crosses classes.</p>"
    images = sum(len(found.groups[group]) for group in conflicts)
    text = (
        f"<p>{len(conflicts)} groups ({images} images) hold copies that are filed under different classes. "
        "Where they show the same lesion, only one of the labels can be right, and the pixels do not say "
        "which. They stay in the data, each group in one fold, and put a ceiling on any accuracy measured "
        "here.</p>"
    )
    text += "".join(_group(found, group) for group in conflicts[:MAX_CONFLICTS])
    hidden = len(conflicts) - MAX_CONFLICTS
    return text + (f"<p>{hidden} more are not shown.</p>" if hidden > 0 else "")


def _group(found: _Exploration, group: str) -> str:
    ids = found.groups[group]
    hidden = len(ids) - MAX_GROUP_PICTURES
    more = f", {hidden} not shown" if hidden > 0 else ""
    title = f"Group {html.escape(group)}: {len(ids)} images, fold {found.fold_of[group]}{more}"
    return f"<h4>{title}</h4>" + _gallery(found, ids[:MAX_GROUP_PICTURES])


def _gallery(found: _Exploration, ids: Sequence[str]) -> str:
    def item(image_id: str) -> str:
        name, color = html.escape(image_id), _COLORS[found.label_of[image_id]]
        picture = f'<img loading="lazy" src="{found.thumbnails[image_id]}" alt="{name}">'
        return f'<figure style="border-color:{color}">{picture}<figcaption>{name}</figcaption></figure>'

    return '<div class="gallery">' + "".join(item(image_id) for image_id in ids) + "</div>"


def _figure(plot: str, caption: str) -> str:
    return f"<figure>{plot}<figcaption>{caption}</figcaption></figure>"


def _table(header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


_STYLE = """
:root { color-scheme: light dark; --text: #1f2328; --soft: #59636e; --line: #d0d7de; --paper: #fff;
  --page: #f6f8fa;
  --notice: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --text: #d6dbe1; --soft: #9aa4af; --line: #3d444d;
  --paper: #161b22;
  --page: #0d1117; --notice: #3a2d05; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
header, main { max-width: 1080px; margin: 0 auto; padding: 0 20px; }
h1 { margin: 32px 0 4px; font-size: 2rem; }
h2 { margin: 0 0 8px; font-size: 1.35rem; }
h3 { margin: 24px 0 8px; font-size: 1.05rem; }
h3 i { display: inline-block; width: 12px; height: 12px; margin-right: 8px; border-radius: 3px; }
h4 { margin: 18px 0 6px; font-size: .9rem; color: var(--soft); font-weight: 600; }
p { max-width: 78ch; margin: 8px 0; }
code { overflow-wrap: anywhere; }
.notice { max-width: none; padding: 10px 14px; border-radius: 8px; background: var(--notice); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(115px, 1fr)); gap: 10px;
  margin: 20px 0; }
.tiles div { padding: 10px 12px; border: 1px solid var(--line); border-radius: 8px;
  background: var(--paper); }
.tiles b { display: block; font-size: 1.5rem; line-height: 1.2; }
.tiles span { font-size: .8rem; line-height: 1.25; display: block; color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: .9rem; }
a { color: inherit; text-underline-offset: 3px; }
section { margin: 24px 0; padding: 20px 24px; border: 1px solid var(--line); border-radius: 10px;
  background: var(--paper); }
figure { margin: 14px 0; }
figcaption { font-size: .88rem; color: var(--soft); }
.plot { display: block; width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 12px 0; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 16px 5px 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
th { font-size: .85rem; color: var(--soft); }
tbody tr:last-child { font-weight: 600; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 10px;
  align-items: start; }
.gallery figure { margin: 0; border: 1px solid; border-top-width: 4px; border-radius: 6px; overflow: hidden;
  background: #000; }
.gallery img { display: block; width: 100%; height: 130px; object-fit: contain; }
.gallery figcaption { padding: 3px 8px; font-size: .78rem; background: var(--paper);
  overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: minmax(0, max-content) max-content; gap: 20px; }
.pair figure { margin: 8px 0; }
.pair img { display: block; max-width: 100%; height: auto; border-radius: 6px; }
@media (max-width: 640px) { .pair { grid-template-columns: minmax(0, 1fr); } section { padding: 16px; } }
@media print { section { break-inside: avoid; } }
"""
