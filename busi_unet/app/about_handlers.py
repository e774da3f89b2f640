"""What the page says about the model in use: its figures, data, limits and origin, as HTML.

Figures are shown only where they were measured with exactly these weights: `evaluation.json` beside them
is the summary of `busi-unet evaluate`, and has to name their SHA-256.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from busi_unet.app import text
from busi_unet.app.model import ModelInUse
from busi_unet.config import EVALUATION_NAME
from busi_unet.data.published import citation_of
from busi_unet.evaluation.metrics import Metric, shown_in
from busi_unet.evaluation.statistics import Estimate
from busi_unet.version import __version__

_COMMIT = re.compile(r"[0-9a-f]{40}")


def own_evaluation(folder: Path | None) -> dict[str, Any] | None:
    """Return the summary of an evaluation of exactly the model in a folder.

    Returns:
        None where there is no such file, it cannot be read, or it is about another model.
    """
    # torch takes seconds to import; the page appears without waiting for it.
    from busi_unet.models.folder import model_hash

    if folder is None:
        return None
    try:
        evaluation = json.loads((folder / EVALUATION_NAME).read_text(encoding="utf-8"))
        return evaluation if evaluation["provenance"]["model_sha256"] == model_hash(folder) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def origin(model: ModelInUse) -> dict[str, str]:
    """Return where the weights came from, by name of the fact: origin, commit, SHA-256, version of the code.

    And, where it is so, that their probabilities are not calibrated.
    """
    kind = text.WEIGHTS_KINDS[model.kind]
    facts = {"Weights": kind if model.kind == "embedded" else f"{kind} {model.predictor.source}"}
    folder = model.predictor.folder
    if folder is not None:
        # The Hub's cache names a snapshot's folder by its commit.
        if model.kind == "hub" and _COMMIT.fullmatch(folder.name):
            facts["Commit"] = folder.name
        facts["SHA-256"] = model.sha256
    if not model.predictor.config.calibration.fitted:
        facts["Calibration"] = "none"
    return {**facts, "Version of busi_unet": __version__}


def describe_origin(model: ModelInUse) -> str:
    """Return `origin` on one line of plain text."""
    return "; ".join(f"{name}: {value}" for name, value in origin(model).items())


def about_model(model: ModelInUse) -> str:
    """Return the whole tab as HTML that loads nothing from elsewhere; every text from outside is escaped."""
    evaluation = own_evaluation(model.predictor.folder)
    notice = f'<p class="about-notice">{escape(model.notice)}</p>' if model.notice else ""
    sections = {
        text.RESULTS: _results(evaluation),
        text.WEIGHTS: _weights(model),
        text.DATA: _data(model),
        text.LIMITS: "<ul>" + "".join(f"<li>{limit}</li>" for limit in text.LIMITS_LIST) + "</ul>",
        text.LICENCE: f"<p>{text.LICENCE_OF_CODE}</p>",
    }
    shown = "".join(f"<h2>{title}</h2>{section}" for title, section in sections.items())
    return f'<div class="about">{notice}{shown}</div>'


def _results(evaluation: dict[str, Any] | None) -> str:
    if evaluation is None:
        return text.no_evaluation(EVALUATION_NAME)
    try:
        return _measured(evaluation)
    except (KeyError, TypeError, ValueError):
        return text.evaluation_of_another_version(EVALUATION_NAME)


def _measured(evaluation: Mapping[str, Any]) -> str:
    provenance, images = evaluation["provenance"], evaluation["images"]
    listed = ", ".join(f"{int(images[name])} {escape(name)}" for name in evaluation["class_names"])
    split, level = escape(provenance["split"]), float(provenance["bootstrap"]["level"])
    measured = evaluation["estimates"]
    rows = [
        _row(metric, Estimate(**measured[metric.name]))
        for metric in shown_in("card")
        if metric.name in measured
    ]
    return f"""
<p>{text.measured_on(split, listed, sum(images.values()), int(evaluation["groups"]), level)}</p>
<div class="about-columns">
<table class="about-results">
<thead><tr>{"".join(f'<th scope="col">{name}</th>' for name in text.METRIC_HEADERS)}
<th scope="col"><span class="about-axis"><span>0</span><span>1</span></span></th></tr></thead>
<tbody>{"".join(rows)}</tbody></table>
{_confusion(evaluation["class_names"], evaluation["confusion_matrix"])}
</div>"""


def _row(metric: Metric, estimate: Estimate) -> str:
    head = f'<th scope="row">{escape(metric.title)}</th>'
    if estimate.value is None:
        return f"<tr>{head}<td>–</td><td>{text.NOT_DEFINED}</td><td></td></tr>"
    shown = metric.text(estimate.value), metric.interval(estimate)
    drawn = ""
    if not metric.unit and estimate.ci_low is not None and estimate.ci_high is not None:
        drawn = _interval_plot(estimate.value, estimate.ci_low, estimate.ci_high)
    return f"<tr>{head}<td>{shown[0]}</td><td>{shown[1]}</td><td>{drawn}</td></tr>"


def _interval_plot(value: float, low: float, high: float) -> str:
    """Return a bar from low to high with a mark at the value, on a scale from 0 to 1."""

    def line(kind: str, left: float, right: float, top: int = 5, bottom: int = 5) -> str:
        return f'<line class="{kind}" x1="{left:.1%}" x2="{right:.1%}" y1="{top}" y2="{bottom}"/>'

    lines = line("rail", 0, 1) + line("range", low, high) + line("value", value, value, 0, 10)
    return f'<svg height="10" aria-hidden="true">{lines}</svg>'


def _confusion(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> str:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = []
    for name, counts in zip(names, matrix, strict=True):
        total = sum(counts) or 1
        cells = "".join(
            f'<td style="--share:{count / total:.3f}"><span>{int(count)}</span></td>' for count in counts
        )
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return (
        f'<table class="about-confusion"><caption>{text.CONFUSION}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _weights(model: ModelInUse) -> str:
    facts = {**origin(model), **text.describe_config(model.predictor.config)}
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f'<dl class="about-facts">{rows}</dl>'


def _data(model: ModelInUse) -> str:
    """Return the sources that the weights were trained on, with licence, citation and limits."""
    data = (model.predictor.config.training or {}).get("data") or {}
    sources = (data.get("sources") or {}).get("train") or (["busi"] if model.kind == "embedded" else [])
    if not sources:
        return f"<p>{text.UNKNOWN_DATA}</p>"
    rows = []
    for citation in map(citation_of, sources):
        parts = (citation.licence, citation.citation, *citation.limits)
        rows.append(f"<li><strong>{escape(citation.title)}</strong>. {escape(' '.join(parts))}</li>")
    return f"<ul>{''.join(rows)}</ul>"
