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
from typing import TYPE_CHECKING, Any

from busi_unet.app.model import ModelInUse
from busi_unet.evaluation.bootstrap import Estimate
from busi_unet.evaluation.metrics import Metric, shown_in
from busi_unet.version import __version__

if TYPE_CHECKING:
    from busi_unet.config import Calibration, ModelConfig

CITATION = (
    "Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Dataset of breast ultrasound images. "
    "Data in Brief 28:104863 (2020)."
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


def own_evaluation(folder: Path | None) -> dict[str, Any] | None:
    """The summary of an evaluation of exactly the model in a folder: its weights, thresholds and calibration.

    Returns:
        None where there is no such file, it cannot be read, or it is about another model.
    """
    # torch takes seconds to import; the page appears without waiting for it.
    from busi_unet.config import EVALUATION_NAME
    from busi_unet.models.folder import model_hash

    if folder is None:
        return None
    try:
        evaluation = json.loads((folder / EVALUATION_NAME).read_text(encoding="utf-8"))
        return evaluation if evaluation["provenance"]["model_sha256"] == model_hash(folder) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def origin(model: ModelInUse) -> dict[str, str]:
    """Where the weights came from, by name of the fact: origin, commit, SHA-256, version of the code.

    And, where it is so, that their probabilities are not calibrated.
    """
    kinds = {"embedded": "embedded in the app", "hub": "Hub model", "folder": "folder"}
    source = model.predictor.source
    facts = {"Weights": kinds[model.kind] if model.kind == "embedded" else f"{kinds[model.kind]} {source}"}
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
    """`origin` on one line of plain text."""
    return "; ".join(f"{name}: {value}" for name, value in origin(model).items())


def about_model(model: ModelInUse) -> str:
    """The whole tab as HTML that loads nothing from elsewhere; every text from outside is escaped."""
    evaluation = own_evaluation(model.predictor.folder)
    notice = f'<p class="about-notice">{escape(model.notice)}</p>' if model.notice else ""
    return (
        f'<div class="about">{notice}<h2>Results</h2>{_results(evaluation)}'
        f"<h2>Weights</h2>{_weights(model)}"
        f"<h2>Data</h2>{_BUSI if model.kind == 'embedded' else _OTHER_DATA}{_CLOSING}</div>"
    )


def _results(evaluation: dict[str, Any] | None) -> str:
    from busi_unet.config import EVALUATION_NAME

    if evaluation is None:
        return (
            "<p>No evaluation of these weights came with them, so no figures are shown: those of other "
            f"weights say nothing about these. A model folder with an <code>{EVALUATION_NAME}</code> of "
            "<code>busi-unet evaluate</code> shows its own.</p>"
        )
    try:
        return _measured(evaluation)
    except (KeyError, TypeError, ValueError):
        return f"<p>The {EVALUATION_NAME} of these weights is from another version and cannot be shown.</p>"


def _measured(evaluation: Mapping[str, Any]) -> str:
    provenance, images = evaluation["provenance"], evaluation["images"]
    listed = ", ".join(f"{int(images[name])} {escape(name)}" for name in evaluation["class_names"])
    level = f"{provenance['bootstrap']['level']:.0%}"
    measured = evaluation["estimates"]
    rows = [
        _row(metric, Estimate(**measured[metric.name]))
        for metric in shown_in("card")
        if metric.name in measured
    ]
    return f"""
<p>Measured on the {escape(provenance["split"])} split: {sum(images.values())} pictures ({listed}) in
{int(evaluation["groups"])} groups of copies, at native resolution. Bars show the {level} interval of a
bootstrap over groups. A missed lesion counts as Dice 0, and as the picture's diagonal in HD95.</p>
<div class="about-columns">
<table class="about-results">
<thead><tr><th scope="col">Metric</th><th scope="col">Value</th><th scope="col">Interval</th>
<th scope="col"><span class="about-axis"><span>0</span><span>1</span></span></th></tr></thead>
<tbody>{"".join(rows)}</tbody></table>
{_confusion(evaluation["class_names"], evaluation["confusion_matrix"])}
</div>"""


def _row(metric: Metric, estimate: Estimate) -> str:
    head = f'<th scope="row">{escape(metric.title)}</th>'
    if estimate.value is None:
        return f"<tr>{head}<td>–</td><td>not defined</td><td></td></tr>"
    shown = metric.text(estimate.value), metric.interval(estimate)
    drawn = ""
    if not metric.unit and estimate.ci_low is not None and estimate.ci_high is not None:
        drawn = _interval_plot(estimate.value, estimate.ci_low, estimate.ci_high)
    return f"<tr>{head}<td>{shown[0]}</td><td>{shown[1]}</td><td>{drawn}</td></tr>"


def _interval_plot(value: float, low: float, high: float) -> str:
    """A bar from low to high with a mark at the value, on a scale from 0 to 1; the table says it in words."""

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
        '<table class="about-confusion"><caption>Class said by the model (across) for each true class '
        f"(down)</caption><thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _calibration(calibration: Calibration) -> str:
    sets, band, limit = calibration.prediction_sets, calibration.boundary_band, calibration.ood_threshold
    parts = ["logistic regression on class head and mask"]
    if not calibration.fitted:
        parts = ["none: the probabilities may be far too sure"]
    if sets:
        parts.append(f"prediction sets of {sets.coverage:.0%} coverage")
    if band:
        parts.append(f"a range for {band.coverage:.0%} of the edge")
    parts.append("no guard against other pictures" if limit is None else "a guard against other pictures")
    return "; ".join(parts)


def _weights(model: ModelInUse) -> str:
    facts = {**origin(model), **_configured(model.predictor.config)}
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f'<dl class="about-facts">{rows}</dl>'


def _configured(config: ModelConfig) -> dict[str, str]:
    thresholds = config.thresholds
    facts = {
        "Network": f"U-Net, encoder {config.architecture.encoder}, {config.preprocess.size} × "
        f"{config.preprocess.size} pixels",
        "Thresholds": f"mask {thresholds.mask:g} per pixel; an outline is drawn where the probability of any "
        f"lesion is at least {thresholds.lesion:g}"
        + (
            f"; regions below {thresholds.min_area:.1%} of the picture are dropped"
            if thresholds.min_area
            else ""
        )
        + f"; malignancy is suspected from a probability of {thresholds.malignant:.3g} on",
        "Calibration": _calibration(config.calibration),
    }
    training = config.training or {}
    images = (training.get("data") or {}).get("images") or {}
    if images:
        facts["Images"] = ", ".join(f"{count} {name}" for name, count in images.items())
        if "validation" in (training["data"].get("trained_on") or ()):
            facts["Images"] += "; those of validation were added at the end of training"
    return facts


_BUSI = """
<p>BUSI: 780 breast ultrasound pictures (133 normal, 437 benign, 210 malignant) from one hospital in Cairo,
2018, two scanners of one maker, women aged 25 to 75. Many pictures are copies of each other; copies never
cross from training to test. There are no patient ids, so patients may, and all figures are optimistic.</p>"""
_OTHER_DATA = "<p>Whoever published these weights can tell what pictures they learned from.</p>"
_CLOSING = f"""
<h2>Limits</h2>
<ul>
<li><strong>Not a medical device.</strong> For research and teaching, not for diagnosis or treatment.</li>
<li>Expect worse on other scanners, hospitals and patients than those it learned from.</li>
<li>A picture that is no breast ultrasound may be analysed all the same: look at what you upload.</li>
<li>The outline is left empty where the model believes the picture normal.</li>
</ul>
<h2>Citation and licence</h2>
<p>If you publish figures on BUSI, cite: {CITATION}</p>
<p>The code and the embedded weights are under the MIT licence.</p>
"""
