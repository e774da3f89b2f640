"""Predictions of picture files, written to a folder: what `scripts/predict.py` does."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from busi_unet.errors import BusiUNetError, UnreadableImageError, UsageError
from busi_unet.imaging.decode import EXTENSIONS, decode_frame
from busi_unet.imaging.overlay import draw_overlay, side_by_side
from busi_unet.predictor import Prediction, Predictor

JSON_LINES_NAME = "predictions.jsonl"
_RESULT = re.compile(r"_(mask(_\d+)?|overlay)$")


@dataclass(frozen=True)
class FileResult:
    """One picture file and what became of it.

    Attributes:
        record: JSON-ready; `image`, and either `error` or the figures of `Prediction.to_dict` with
            the paths of `mask` and `overlay`.
    """

    record: dict[str, Any]

    def json_line(self) -> str:
        """The record on one line."""
        return json.dumps(self.record, ensure_ascii=False)

    def summary(self) -> str:
        """One line for people."""
        record = self.record
        if "error" in record:
            # Most errors name the file already.
            return (
                record["error"]
                if record["image"] in record["error"]
                else f"{record['image']}: {record['error']}"
            )
        if record["refused"]:
            return f"{record['image']}: not analysed. {' '.join(record['reasons'])}"
        classes = ", ".join(f"{name} {value:.1%}" for name, value in record["probabilities"].items())
        lesions = len(record["measurements"])
        found = f"{lesions} lesion{'s' if lesions != 1 else ''}, {record['lesion_area_px']} px"
        return f"{record['image']}: {record['label']} ({classes}); {found}"


def predict_files(
    predictor: Predictor, paths: Iterable[Path], output: Path, *, progress: bool = True
) -> Iterator[FileResult]:
    """Predicts picture files one by one and writes a mask, an overlay and a JSON line for each.

    A file that cannot be read is reported and never stops the rest.

    Args:
        predictor: loaded.
        paths: picture files, or folders whose picture files are taken, subfolders included, but for those
            named like masks or overlays (`…_mask`, `…_mask_1`, `…_overlay`).
        output: folder for `NAME_mask.png` (0 or 255, the picture's size), `NAME_overlay.png`
            (original beside overlay) and `predictions.jsonl`; made where missing. Files of one name get
            -2, -3, … behind it.
        progress: shows a bar on stderr.

    Yields:
        A result per file, in order.

    Raises:
        UsageError: a folder without any picture.
        UnreadableImageError: at the end, if some files could not be read.
    """
    files = _collect(paths)
    output.mkdir(parents=True, exist_ok=True)
    failures = 0
    with (output / JSON_LINES_NAME).open("w", encoding="utf-8") as lines:
        for path, name in tqdm(files, desc="predict", unit="image", file=sys.stderr, disable=not progress):
            try:
                frame = decode_frame(path)
                prediction = predictor.predict(frame.pixels, spacing_mm=frame.spacing_mm)
                record = _write(output, name, frame.pixels, prediction)
            except BusiUNetError as error:
                failures += 1
                record = {"error": str(error)}
            result = FileResult({"image": str(path), **record})
            lines.write(result.json_line() + "\n")
            yield result
    if failures:
        raise UnreadableImageError(
            f"{failures} of {len(files)} pictures could not be used.", f"See {output / JSON_LINES_NAME}."
        )


def _collect(paths: Iterable[Path]) -> Sequence[tuple[Path, str]]:
    files: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            found = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in EXTENSIONS and not _RESULT.search(file.stem)
            )
            if not found:
                raise UsageError(
                    f"{path} holds no picture.", f"Pictures end in {', '.join(sorted(EXTENSIONS))}."
                )
            # A folder keeps its structure in the names: two subfolders may hold files of one name.
            files += [(file, "__".join(file.relative_to(path).with_suffix("").parts)) for file in found]
        else:
            files.append((path, path.stem))
    # Case does not count: some file systems take A.png and a.png for one file.
    taken: set[str] = set()
    unique = []
    for path, name in files:
        numbered = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
        free = next(candidate for candidate in numbered if candidate.casefold() not in taken)
        taken.add(free.casefold())
        unique.append((path, free))
    return unique


def _write(output: Path, name: str, frame: np.ndarray, prediction: Prediction) -> dict[str, Any]:
    mask_path, overlay_path = output / f"{name}_mask.png", output / f"{name}_overlay.png"
    Image.fromarray(prediction.mask.astype(np.uint8) * 255).save(mask_path)
    side_by_side(frame, draw_overlay(frame, prediction.mask)).save(overlay_path)
    return {**prediction.to_dict(), "mask": str(mask_path), "overlay": str(overlay_path)}
