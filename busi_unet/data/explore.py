"""The exploration of a prepared data set as one self-contained HTML page."""

from __future__ import annotations

import contextlib
import html
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from busi_unet.data.exploration import LARGEST_GROUPS, MAX_CONFLICTS, Exploration, explore
from busi_unet.data.explore_plots import (
    COLORS,
    plot_copies,
    plot_folds,
    plot_intensity,
    plot_lesions,
    plot_places,
    plot_sizes,
)
from busi_unet.data.prepared import split_of_fold
from busi_unet.errors import BusiUNetError, MissingDependencyError

if TYPE_CHECKING:
    from datasets import Dataset

MAX_GROUP_IMAGES = 14


def write_report(
    dataset: Mapping[str, Dataset],
    path: str | os.PathLike,
    *,
    record: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> None:
    """Writes one HTML page, with every plot and picture inside it, that needs neither network nor scripts.

    The page shows images of the data set, so it must be shared no more widely than the data.

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
            "The data report needs the package matplotlib.", 'Run: pip install "busi-unet[train]"'
        ) from error
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(_page(explore(dataset, seed, progress), record or {}), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise BusiUNetError(
            f"{path} could not be written ({error.strerror}).", "Choose another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _page(found: Exploration, record: Mapping[str, Any]) -> str:
    sections = [
        ("counts", "Classes and folds", _counts(found, record)),
        ("samples", "Sample images", _samples(found)),
        ("sizes", "Sizes and brightness", _sizes(found)),
        ("lesions", "Lesions", _lesions(found, record)),
        ("copies", "Patients and copies", _copies(found)),
        ("conflicts", "Groups with several classes", _conflicts(found)),
    ]
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _ in sections)
    body = "".join(
        f'<section id="{anchor}"><h2>{title}</h2>{text}</section>' for anchor, title, text in sections
    )
    source = html.escape(", ".join(part["given"] for part in record.get("sources", [])))
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
<p class="notice"><strong>Not for publication.</strong> This page shows images of the data set. Keep it as
private as the data; do not commit it to a repository or put it on a web site.</p>
{_tiles(found)}
<nav>{links}</nav>
</header>
<main>{body}</main>
</body>
</html>
"""


def _tiles(found: Exploration) -> str:
    summary = found.summary
    leak = summary["random_split_leak"]
    tiles = [
        (summary["images"], "images"),
        *((summary["classes"][name], name) for name in found.classes),
        (summary["groups"], "groups (views or lesions)"),
        (summary["images_in_copy_groups"], "images that share a group"),
        (f"{leak:.0%}", "of test images would leak in a random split"),
        (len(summary["cross_class_groups"]), "groups across classes"),
    ]
    return (
        '<div class="tiles">'
        + "".join(f"<div><b>{v}</b><span>{text}</span></div>" for v, text in tiles)
        + "</div>"
    )


def _counts(found: Exploration, record: Mapping[str, Any]) -> str:
    summary = found.summary
    rows = [
        (
            name,
            ", ".join(_folds_of(found, record, name)),
            part["images"],
            part["groups"],
            *(part[n] for n in summary["classes"]),
        )
        for name, part in summary["splits"].items()
    ]
    rows.append(("all", "", summary["images"], summary["groups"], *summary["classes"].values()))
    most, least = (extreme(summary["classes"][name] for name in found.classes) for extreme in (max, min))
    text = (
        f"<p>The largest class has {most / least:.1f} times the images of the smallest, so accuracy alone "
        "would flatter a model that favours it. Folds are balanced by class as far as whole groups allow.</p>"
    )
    sources = [
        (name, part["images"], part["without_mask"], *(part[n] for n in summary["classes"]))
        for name, part in summary["by_source"].items()
    ]
    sources.append(("all", summary["images"], summary["without_mask"], *summary["classes"].values()))
    header = ("split", "folds", "images", "groups", *summary["classes"])
    caption = "No group has images in two folds: copies of one view never meet across training and test."
    by_source = _table(("source", "images", "without mask", *summary["classes"]), sources)
    return text + _table(header, rows) + by_source + _figure(plot_folds(found), caption)


def _folds_of(found: Exploration, record: Mapping[str, Any], split: str) -> Iterable[str]:
    test = record.get("test_fold")
    if test is None:
        return []
    split_of = split_of_fold(test)
    return [fold for fold in found.summary["folds"] if split_of[int(fold)] == split]


def _samples(found: Exploration) -> str:
    text = "<p>Drawn at random. The orange line outlines the mask, which is empty in normal images.</p>"
    for name in found.classes:
        text += f'<h3><i style="background:{COLORS[name]}"></i>{name}</h3>' + _gallery(
            found, found.samples[name]
        )
    return text


def _sizes(found: Exploration) -> str:
    widths, heights = ([getattr(p, side) for p in found.images] for side in ("width", "height"))
    wide = np.mean([p.width > p.height for p in found.images])
    sizes = (
        f"Images are {min(widths)} to {max(widths)} pixels wide and {min(heights)} to {max(heights)} high "
        f"(medians {np.median(widths):.0f} and {np.median(heights):.0f}); {wide:.0%} are wider than high."
    )
    greys = ", ".join(
        f"{name} {np.median([p.mean_grey for p in found.of(name)]):.0f}" for name in found.classes
    )
    brightness = (
        f"Median brightness by class: {greys}. Near black (below 5) is left out at the right. A class that "
        "differs in size or brightness invites a network to learn the scanner's settings, not the tissue."
    )
    return _figure(plot_sizes(found), sizes) + _figure(plot_intensity(found), brightness)


def _lesions(found: Exploration, record: Mapping[str, Any]) -> str:
    labels = [name for name in found.classes if any(p.lesions for p in found.of(name))]
    if not labels:
        return "<p>No mask has any foreground.</p>"
    medians = ", ".join(
        f"{name} {np.median([p.lesion_share for p in found.of(name) if p.lesions]):.1%}" for name in labels
    )
    several = sum(p.lesions > 1 for p in found.images)
    area = f"Dashed lines are medians: {medians} of the image. {several} masks have several connected regions"
    if files := record.get("mask_files"):
        area += f"; {sum(count for n, count in files.items() if int(n) > 1)} are the union of several files"
    area += ". Right: the box of the largest region is higher than wide, a sign of malignancy (BI-RADS)."
    places = (
        "Share of a class's lesion images whose mask covers a place; every frame is stretched to one size, "
        "skin at the top."
    )
    return _figure(plot_lesions(found), area) + _figure(plot_places(found), places)


def _copies(found: Exploration) -> str:
    summary = found.summary
    if not summary["groups_with_copies"]:
        return "<p>Every image is a group of its own; a random split would leak nothing.</p>"
    leak = summary["random_split_leak"]
    text = (
        f"<p>{summary['images_in_copy_groups']} of {summary['images']} images are of one patient with "
        "another, or show the same view: saved twice, cropped, mirrored or annotated. Split at random, image "
        f"by image, {leak:.0%} of the test images would have one of their group in the training set, and the "
        "test would measure memory. Here a group stays in one fold.</p>"
    )
    caption = "Left: sizes of the groups. Right: a random split, in expectation, against the one used here."
    text += _figure(plot_copies(found), caption)
    conflicts = {conflict["group"] for conflict in summary["cross_class_groups"]}
    largest = sorted(found.groups, key=lambda group: -len(found.groups[group]))[:LARGEST_GROUPS]
    sample = [group for group in found.shown_groups if group not in largest and group not in conflicts]
    text += "<h3>The largest groups</h3>" + "".join(
        _group(found, group) for group in largest if group in found.shown_groups
    )
    return text + (
        "<h3>A sample of the others</h3>" + "".join(_group(found, g) for g in sample) if sample else ""
    )


def _conflicts(found: Exploration) -> str:
    conflicts = [conflict["group"] for conflict in found.summary["cross_class_groups"]]
    if not conflicts:
        return "<p>No group crosses classes.</p>"
    images = sum(len(found.groups[group]) for group in conflicts)
    text = (
        f"<p>{len(conflicts)} groups ({images} images) hold images of different classes. "
        "Where they show the same lesion, only one of the labels can be right, and the pixels do not say "
        "which. They stay in the data, each group in one fold, and put a ceiling on any accuracy measured "
        "here.</p>"
    )
    text += "".join(_group(found, group) for group in conflicts[:MAX_CONFLICTS])
    hidden = len(conflicts) - MAX_CONFLICTS
    return text + (f"<p>{hidden} more are not shown.</p>" if hidden > 0 else "")


def _group(found: Exploration, group: str) -> str:
    ids = found.groups[group]
    hidden = len(ids) - MAX_GROUP_IMAGES
    more = f", {hidden} not shown" if hidden > 0 else ""
    title = f"Group {html.escape(group)}: {len(ids)} images, fold {found.fold_of[group]}{more}"
    return f"<h4>{title}</h4>" + _gallery(found, ids[:MAX_GROUP_IMAGES])


def _gallery(found: Exploration, ids: Sequence[str]) -> str:
    def item(image_id: str) -> str:
        name, color = html.escape(image_id), COLORS[found.label_of[image_id]]
        image = f'<img loading="lazy" src="{found.thumbnails[image_id]}" alt="{name}">'
        return f'<figure style="border-color:{color}">{image}<figcaption>{name}</figcaption></figure>'

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
