"""The tab about the model."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from busi_unet.app import text
from busi_unet.app.about_handlers import about_model
from busi_unet.app.model import ModelInUse
from busi_unet.app.shown_errors import shown_errors

_CSS = """
.about { line-height: 1.5; }
.about h2 { font-size: var(--text-xl); margin: 1.4rem 0 .4rem; }
.about h2:first-child { margin-top: .3rem; }
.about p { margin: .3rem 0 .8rem; }
.about ul { list-style: disc; padding-left: 1.2rem; }
.about code { font-family: var(--font-mono); }
.about-notice { border-left: 4px solid #e69f00; padding: .5rem .75rem; }
.about-columns { display: flex; flex-wrap: wrap; gap: 1.5rem 3rem; align-items: flex-start; }
.about table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.about table, .about thead, .about tbody, .about tr { border: 0; }
.about table th, .about table td { border: 0; text-align: left; font-weight: 400; }
.about thead th { font-size: var(--text-sm); }
.about-results { flex: 1 1 30rem; }
.about table.about-results th, .about table.about-results td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--border-color-primary); }
.about-results td { white-space: nowrap; }
.about table.about-results th:last-child, .about table.about-results td:last-child { width: 34%; min-width: 6rem; padding-right: 0; }
.about-axis { display: flex; justify-content: space-between; }
.about svg { display: block; width: 100%; overflow: visible; }
.about .rail { stroke: var(--border-color-primary); }
.about .range { stroke: #e69f00; stroke-width: 4px; }
.about .value { stroke: var(--body-text-color); stroke-width: 3px; }
.about-confusion caption { max-width: 19rem; text-align: left; padding-bottom: .4rem; font-size: var(--text-sm); }
.about-confusion th { padding: .2rem .7rem .2rem 0; }
.about table.about-confusion thead th { text-align: center; padding: .2rem; }
.about table.about-confusion tbody td {
    width: 4.6rem; height: 2.9rem; text-align: center; border: 2px solid var(--body-background-fill);
    background: rgb(230 159 0 / calc(var(--share) * .55 + .06));
}
.about-facts { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; }
.about-facts dt { font-weight: 600; }
.about-facts dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 640px) {
    .about-results td:nth-child(3), .about-results th:nth-child(3) { display: none; }
    .about-facts { grid-template-columns: 1fr; }
    .about-facts dd { margin-bottom: .5rem; }
}
"""  # noqa: E501


def build_about_tab(model: Callable[[], ModelInUse], tab: gr.Tab) -> None:
    """Build the tab inside the caller's `gr.Tab`; it has no public event.

    Args:
        model: gives the weights in use; called when the tab is first opened, not before.
        tab: the tab that it stands in.
    """

    def show() -> str:
        with shown_errors():
            return about_model(model())

    shown = gr.HTML(f"<p>{text.WAIT}</p>", label=text.ABOUT, elem_id="about", css_template=_CSS)
    tab.select(show, outputs=shown, api_visibility="private", show_progress_on=shown, concurrency_limit=4)
