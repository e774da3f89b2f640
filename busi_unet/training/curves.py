"""The history of a run as a table and as pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from busi_unet.io.files import replace_file

HISTORY_NAME = "history.csv"
CURVES_NAME = "curves.png"


def write_curves(folder: Path, history: Sequence[dict[str, Any]]) -> None:
    """Writes `history.csv` (a row per epoch) and `curves.png` (losses, Dice, accuracy).

    Args:
        folder: exists.
        history: rows with the same keys: epoch, learning_rate, seconds, and train_ and validation_
            loss, dice and accuracy; empty figures are None.
    """
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, fieldnames=list(history[0]))
    writer.writeheader()
    writer.writerows(history)
    replace_file(folder / HISTORY_NAME, lambda file: file.write(table.getvalue().encode()))
    _draw(folder / CURVES_NAME, history)


def _draw(path: Path, history: Sequence[dict[str, Any]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    epochs = [row["epoch"] for row in history]
    panels = (
        ("loss", "Loss"),
        ("dice", "Dice on lesion images"),
        ("accuracy", "Accuracy over three classes"),
    )
    for axes, (key, title) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for part, style, color in (("train", "--", "#0072B2"), ("validation", "-", "#D55E00")):
            values = [
                float("nan") if row[f"{part}_{key}"] is None else row[f"{part}_{key}"] for row in history
            ]
            axes.plot(epochs, values, style, color=color, marker=".", label=part)
        axes.set(title=title, xlabel="epoch")
        if key != "loss":
            axes.set_ylim(0, 1)
        axes.grid(alpha=0.3)
        axes.legend()
    replace_file(path, lambda file: figure.savefig(file, format="png", dpi=110))
