"""README, docs/results.md, the card of the embedded weights and the files behind them say one and the same.

Tables are taken apart here and compared with the files, whatever wrote them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from busi_unet.evaluation.summary import read_rows, summarise
from busi_unet.inference.predictor import EMBEDDED
from busi_unet.models.pretrained import EVALUATION_NAME, bundle_hash, load_config
from busi_unet.publish.card import model_card
from busi_unet.publish.figures import FIGURES
from busi_unet.publish.results import read_result
from research import results_page
from research.results_page import CROSS_VALIDATION, README_MARKS

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "research" / "results"
HEADINGS = {source.name: source.heading for source in (CROSS_VALIDATION, results_page.EMBEDDED)}

Shown = dict[str, tuple[str, str | None]]


def stored(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def expected(name: str) -> Shown:
    """Value and interval of each figure by its title, as the file has them."""
    figures = {}
    for figure, estimate in stored(name)["estimates"].items():
        if figure in FIGURES:
            digits = 1 if figure.endswith("_px") else 3
            value, low, high = (
                None if estimate[key] is None else f"{estimate[key]:.{digits}f}"
                for key in ("value", "ci_low", "ci_high")
            )
            figures[FIGURES[figure]] = (value, None if low is None else f"{low} to {high}")
    return figures


def cells(text: str, header: str) -> list[list[str]]:
    """The rows below a table's header, which begins as given but for blanks."""
    rows = iter(re.sub(r" +", " ", text).splitlines())
    for row in rows:
        if row.startswith(header):
            break
    table = []
    for row in rows:
        if not row.startswith("|"):
            break
        table.append([cell.strip() for cell in row.strip("|").split("|")])
    return table[1:]


def in_readme(name: str) -> Shown:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition(README_MARKS[0])[2].partition(README_MARKS[1])[0]
    (header,) = (line for line in table.splitlines() if HEADINGS[name] in line)
    column = next(index for index, cell in enumerate(header.strip("|").split("|")) if HEADINGS[name] in cell)
    shown = {}
    for title, *columns in cells(table, "| | "):
        match = re.fullmatch(r"\*\*([\d.]+)\*\* \(([\d.]+ to [\d.]+|–)\)", columns[column - 1])
        assert match, (title, columns)
        shown[title] = (match[1], None if match[2] == "–" else match[2])
    return shown


def in_results_page(name: str) -> Shown:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    section = page.partition(f"## {HEADINGS[name]}\n")[2].partition("\n## ")[0]
    return {
        title: (value.partition(" ")[0], None if interval == "–" else interval)
        for title, value, interval in cells(section, "| figure | value |")
    }


@pytest.fixture(scope="module")
def card() -> ModelCard:
    """Of the embedded weights; made only where the file measures exactly these."""
    return ModelCard(
        model_card(
            load_config(EMBEDDED),
            repo_id="someone/busi",
            bundle_sha256=bundle_hash(EMBEDDED),
            results=[read_result(RESULTS / "embedded_test.json")],
        )
    )


@pytest.mark.parametrize("name", HEADINGS)
@pytest.mark.parametrize("place", [in_readme, in_results_page])
def test_the_pages_show_what_the_files_hold(name, place):
    shown, figures = place(name), expected(name)
    assert len(shown) >= 10 and shown.keys() <= figures.keys()
    assert shown == {title: figures[title] for title in shown}


def test_the_card_shows_what_the_file_holds(card):
    shown = {
        title: (value.partition(" ")[0], None if interval == "–" else interval)
        for title, value, interval, _ in cells(card.text, "| figure | value |")
    }
    assert shown == expected("embedded_test")


def test_what_the_hub_reads_from_the_card_is_what_people_read(card):
    figures = expected("embedded_test")
    for item in card.data.eval_results:
        digits = 1 if item.metric_name.endswith("px") else 3
        assert f"{item.metric_value:.{digits}f}" == figures[item.metric_name][0], item.metric_name
        assert item.dataset_split == "test"


def test_the_file_measures_the_embedded_weights():
    assert stored("embedded_test")["provenance"]["bundle_sha256"] == bundle_hash(EMBEDDED)
    assert stored("embedded_test")["provenance"]["split_is_the_models_own"] is True
    beside = json.loads((EMBEDDED / EVALUATION_NAME).read_text(encoding="utf-8"))
    assert beside == stored("embedded_test"), "the app shows this copy"


@pytest.mark.parametrize("name", HEADINGS)
def test_the_figures_follow_from_the_rows_of_the_images(name):
    rows = read_rows(RESULTS / f"{name}_per_image.csv")
    found, kept = summarise(rows, resamples=1), stored(name)
    assert len(rows) == sum(kept["images"].values())
    for figure, estimate in kept["estimates"].items():
        assert found[figure].value == pytest.approx(estimate["value"], abs=1e-9), figure
        assert (found[figure].n, found[figure].count) == (estimate["n"], estimate["count"]), figure


def networks(result: dict) -> set[str]:
    """Hashes of the models that a file is about."""
    provenance = result["provenance"]
    return {part["bundle_sha256"] for part in provenance.get("parts", [provenance])}


@pytest.mark.parametrize(
    ("audit", "shown"), [("audit", ("cross_validation", "embedded_test")), ("audit_mild", ("mild",))]
)
def test_the_audit_is_of_networks_whose_figures_are_shown(audit, shown):
    if not (RESULTS / f"{audit}.json").is_file():
        pytest.skip("no audit is kept")
    judged = set().union(*(networks(stored(name)) for name in shown))
    assert networks(stored(audit)) <= judged, f"audit them, and run: research/write_results.py --{audit}"
