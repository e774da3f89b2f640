"""The tab about the model in use: its results, data, limits and origin.

Results are shown only where they were measured with exactly these weights: `evaluation.json` beside them is
the summary of `busi-unet evaluate`, and has to name their SHA-256.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from busi_unet.app import text
from busi_unet.app.answers import shown_errors
from busi_unet.app.model import ModelInUse
from busi_unet.config import EVALUATION_NAME
from busi_unet.data.published import citation_of
from busi_unet.evaluation.metrics import shown_in
from busi_unet.evaluation.statistics import Estimate
from busi_unet.io.html import render

_CSS = Path(__file__).with_name("about.css").read_text(encoding="utf-8")


def build_about_tab(model: Callable[[], ModelInUse], tab: gr.Tab) -> None:
    """Build the tab inside the caller's `gr.Tab`; it has no public event.

    Args:
        model: gives the weights in use; called when the tab is first opened, not before.
        tab: the tab that it stands in.
    """

    @shown_errors()
    def show() -> str:
        return about_model(model())

    shown = gr.HTML(f"<p>{text.WAIT}</p>", label=text.ABOUT, elem_id="about", css_template=_CSS)
    tab.select(show, outputs=shown, api_visibility="private", show_progress_on=shown, concurrency_limit=4)


def about_model(model: ModelInUse) -> str:
    """Return the whole tab as HTML that loads nothing from elsewhere; every text from outside is escaped."""
    results = own_results(model.predictor.folder)
    config = model.predictor.config
    data = (config.training or {}).get("data") or {}
    sources = (data.get("sources") or {}).get("train") or (["busi"] if model.kind == "embedded" else [])
    return render(
        "about.html",
        text=text,
        notice=model.notice,
        results=results,
        measured_on=results and text.measured_on(**results["measured_on"]),
        facts={**model.origin(), **text.describe_config(config)},
        sources=[citation_of(source) for source in sources],
    )


def own_results(folder: Path | None) -> dict[str, Any] | None:
    """Return what an evaluation of exactly the model in a folder has measured, as `about.html` takes it.

    Returns:
        None where there is no such evaluation, it cannot be read, or it is from another version.
    """
    # torch takes seconds to import; the page appears without waiting for it.
    from busi_unet.models.folder import model_hash

    if folder is None:
        return None
    try:
        evaluation = json.loads((folder / EVALUATION_NAME).read_text(encoding="utf-8"))
        provenance, images = evaluation["provenance"], evaluation["images"]
        if provenance["model_sha256"] != model_hash(folder):
            return None
        classes, measured = evaluation["class_names"], evaluation["estimates"]
        counts = [[int(count) for count in row] for row in evaluation["confusion_matrix"]]
        return {
            "measured_on": {
                "split": provenance["split"],
                "classes": ", ".join(f"{int(images[name])} {name}" for name in classes),
                "images": sum(images.values()),
                "groups": int(evaluation["groups"]),
                "level": float(provenance["bootstrap"]["level"]),
            },
            "metrics": [
                (metric, Estimate(**measured[metric.name]))
                for metric in shown_in("card")
                if metric.name in measured
            ],
            "classes": classes,
            "confusion": list(zip(classes, counts, strict=True)),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
