"""The tab about the model in use: its results, data, limits and origin.

Results are those of `evaluation.json` beside the weights: see `busi_unet.evaluation.report`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from busi_unet.app import text
from busi_unet.app.answers import shown_errors
from busi_unet.app.model import ModelInUse
from busi_unet.data.readers import citation_of
from busi_unet.errors import UsageError
from busi_unet.evaluation.metrics import shown_in
from busi_unet.evaluation.statistics import Estimate
from busi_unet.io.html import render

_CSS = Path(__file__).with_name("about.css").read_text(encoding="utf-8")


def build_about_tab(model: Callable[[], ModelInUse], tab: gr.Tab) -> None:
    """Build the tab inside the caller's `gr.Tab`; the model is loaded when it is opened."""

    @shown_errors()
    def show() -> str:
        return about_model(model())

    shown = gr.HTML(f"<p>{text.WAIT}</p>", label=text.ABOUT, elem_id="about", css_template=_CSS)
    tab.select(show, outputs=shown, api_visibility="private", show_progress_on=shown, concurrency_limit=4)


def about_model(model: ModelInUse) -> str:
    """Return the whole tab as HTML that loads nothing from elsewhere; every text from outside is escaped."""
    results = results_of(model.predictor.folder)
    data = (model.predictor.config.training or {}).get("data") or {}
    sources = (data.get("sources") or {}).get("train") or (["busi"] if model.kind == "embedded" else [])
    return render(
        "about.html",
        text=text,
        notice=model.notice,
        flagged=[result for result in results if result["flagged"]],
        results=[result for result in results if not result["sibling"]],
        facts=model.facts(),
        sources=[citation_of(source) for source in sources],
    )


def results_of(folder: Path) -> list[dict[str, Any]]:
    """Return the evaluations in a model folder for `about.html`; those on its own test images come first.

    Returns:
        An empty list where there are none, they cannot be read, or another version wrote them.
    """
    # torch takes seconds to import; the page appears without waiting for it.
    from busi_unet.evaluation.report import read_evaluations

    try:
        found = [_result(summary) for summary in read_evaluations(folder).values()]
    except (UsageError, ValueError, KeyError, TypeError):
        return []
    return sorted(found, key=lambda result: (result["unseen"], not result["flagged"], result["title"]))


def _result(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return one evaluation: title, what it was measured on, metrics, confusion matrix, shares flagged."""
    provenance = summary["provenance"]
    images = summary["images"]
    classes = summary["class_names"]
    unseen = bool(provenance["unseen_hospital"])
    measured = {name: Estimate(**found) for name, found in summary["estimates"].items()}
    counts = [[int(count) for count in row] for row in summary["confusion_matrix"]]
    sources = ", ".join(citation_of(source).title for source in summary["sources"])
    fair = unseen or (provenance["split"] == "test" and provenance["split_is_the_models_own"] is True)
    return {
        "title": f"{sources}, split {provenance['split']}",
        "sources": sources,
        "unseen": unseen,
        "sibling": "sibling_of" in provenance,
        "warnings": provenance.get("warnings", []),
        "measured_on": text.measured_on(
            split=provenance["split"],
            classes=", ".join(f"{int(count)} {name}" for name, count in images.items()),
            images=sum(images.values()),
            groups=int(summary["groups"]),
            level=float(provenance["bootstrap"]["level"]),
        ),
        "metrics": [
            (metric, measured[metric.name]) for metric in shown_in("card") if metric.name in measured
        ],
        "classes": classes,
        "confusion": list(zip(classes, counts, strict=True)),
        "flagged": _flagged(measured) if fair else {},
    }


def _flagged(measured: Mapping[str, Estimate]) -> dict[str, dict[str, int]]:
    """Return how many of 100 cancers and of 100 benign lesions are flagged, and the counts behind them."""
    cancers, benign = measured.get("malignant_sensitivity"), measured.get("benign_specificity")
    counts = {
        "cancers": cancers and (cancers.count, cancers.n),
        "benign lesions": benign and (benign.n - benign.count, benign.n),
    }
    return {
        name: {"of_100": round(100 * found[0] / found[1]), "count": found[0], "images": found[1]}
        for name, found in counts.items()
        if found
    }
