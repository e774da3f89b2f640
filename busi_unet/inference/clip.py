"""All frames of a clip: a row each, the key frame, a clip of the overlays."""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import AppendingTiffWriter
from scipy import ndimage

from busi_unet.imaging.measure import percent
from busi_unet.imaging.overlay import draw_caption
from busi_unet.inference.batch import Found, predict_file
from busi_unet.inference.prediction import Prediction
from busi_unet.inference.predictor import Predictor
from busi_unet.inference.run import Run
from busi_unet.inference.summary import COLUMNS, RECORD, table_row
from busi_unet.io.decode import milliseconds_per_frame
from busi_unet.io.find_images import ImageFile
from busi_unet.io.tables import table_lines

FRAME_COLUMNS = (
    "frame",
    "frames",
    "key_frame",
    *(name for name in COLUMNS if name not in ("image", "frame", "frames", "mask", "overlay", "text_boxes")),
)
_LARGE = 0.8
_SIDE = 640
# Where a file does not say how fast its frames follow.
_MILLISECONDS = 100


class Clip:
    """What the frames of a clip show, gathered one after the other; it keeps no pixels.

    Attributes:
        rows: of the frames so far, `FRAME_COLUMNS` each but for `key_frame`.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, prediction: Prediction) -> None:
        """Add the next frame."""
        empty = {**dict.fromkeys(RECORD), "image": "", "warnings": [], "not_written": []}
        self.rows.append(table_row({**empty, **prediction.to_dict()}))

    @property
    def unit(self) -> str:
        """The unit of areas: "mm2" if that of every lesion is known, else "px"."""
        outlined = [row for row in self.rows if row["lesions"]]
        return "mm2" if outlined and all(row["lesion_area_mm2"] is not None for row in outlined) else "px"

    @property
    def areas(self) -> list[float | None]:
        """Area of all lesions of each frame, in `unit`; None where a frame was not analysed."""
        name = f"lesion_area_{self.unit}"
        return [None if row["label"] is None else row[name] or 0 for row in self.rows]

    @property
    def malignant(self) -> list[float | None]:
        """Malignant probability of each frame; None where it was not analysed."""
        return [row["p_malignant"] for row in self.rows]

    @property
    def key_frame(self) -> int | None:
        """Number of the frame that stands for the clip; None where no frame was analysed.

        The one of the highest lesion probability among those whose outlined area is 80 to 125 % of the
        largest, which is the largest median of three frames in a row: a single false outline is none.
        """
        analysed = [row for row in self.rows if row["label"] is not None]
        if not analysed:
            return None
        areas = np.array([row["lesion_area_px"] for row in analysed], dtype=float)
        largest = ndimage.median_filter(areas, 3, mode="nearest").max() or areas.max()
        # The largest is the area of some frame, so there is always one.
        large = (_LARGE * largest <= areas) & (areas <= largest / _LARGE)
        return min(itertools.compress(analysed, large), key=lambda row: row["p_normal"])["frame"]

    def to_dict(self) -> dict[str, Any]:
        """Return a summary, JSON-ready; None where no frame was analysed."""
        analysed = [row for row in self.rows if row["label"] is not None]
        areas = self.areas
        most = max(analysed, key=lambda row: row["p_malignant"], default=None)
        largest = max(range(len(areas)), key=lambda index: areas[index] or 0) if any(areas) else None
        return {
            "frames": self.rows[0]["frames"] if self.rows else 0,
            "analysed": len(analysed),
            "with_lesion": sum(bool(row["lesions"]) for row in analysed),
            "flagged": sum(row["flagged"] for row in analysed),
            "key_frame": self.key_frame,
            "highest_p_malignant": most and most["p_malignant"],
            "highest_p_malignant_frame": most and most["frame"],
            "largest_area": None if largest is None else areas[largest],
            "largest_area_unit": None if largest is None else self.unit,
            "largest_area_frame": None if largest is None else largest + 1,
        }

    def to_csv(self) -> bytes:
        """Return a table of `FRAME_COLUMNS`, a row per frame, as spreadsheets read it."""
        key = self.key_frame
        rows = ({**row, "key_frame": row["frame"] == key} for row in self.rows)
        return b"".join(table_lines(rows, FRAME_COLUMNS))


@contextlib.contextmanager
def overlay_clip(file: IO[bytes], source: Path | bytes) -> Iterator[Callable[[Prediction], None]]:
    """Write a WebP of the overlays of a clip, each with its number, at most 640 pixels a side.

    It is as fast as the clip's file says, else 10 frames a second.

    Yields:
        What adds the overlay of a frame. They wait on the disk, so that a long clip takes no more memory.
    """
    size: tuple[int, int] | None = None
    duration = milliseconds_per_frame(source) or _MILLISECONDS

    def add(prediction: Prediction) -> None:
        nonlocal size
        shown = prediction.overlay()
        shown.thumbnail((_SIDE, _SIDE))
        size = size or shown.size
        if shown.size != size:
            shown = ImageOps.pad(shown, size)
        told = f"Frame {prediction.frame} of {prediction.frames}"
        if prediction.label is not None:
            other = "" if prediction.label == "malignant" else f"{prediction.label}, "
            told += f": {other}malignant {percent(prediction.probabilities['malignant'])}"
        draw_caption(shown, told).save(frames, "TIFF", compression="tiff_lzw")
        frames.newFrame()

    with tempfile.TemporaryFile() as waiting:
        with AppendingTiffWriter(waiting) as frames:
            yield add
        with Image.open(waiting) as overlays:
            overlays.save(file, "WEBP", save_all=True, duration=duration, quality=80)


def predict_all_frames(predictor: Predictor, file: ImageFile, run: Run, anyway: bool) -> Found:
    """Predict all frames of a clip, for which its key frame stands, as `batch.predict_file` does.

    Beside the files of the key frame there are `NAME_overlay.webp` and `NAME_frames.csv`, and the record has
    an entry `clip`: `Clip.to_dict` with the names of both.
    """
    clip, names = Clip(), (f"{file.name}_overlay.webp", f"{file.name}_frames.csv")
    overlays = io.BytesIO()
    with overlay_clip(overlays, file.content()) as add:
        for prediction in predictor.predict_clip(file.content(), name=file.shown, anyway=anyway):
            clip.add(prediction)
            add(prediction)
            if sys.stderr.isatty():
                told = f"{file.shown}: frame {prediction.frame} of {prediction.frames}"
                print(told, end="\r", file=sys.stderr, flush=True)
    run.save(names[0], overlays.getvalue())
    run.save(names[1], clip.to_csv())
    record, entries = predict_file(predictor, file, run, anyway, index=(clip.key_frame or 1) - 1)
    told, remarks = clip.to_dict(), [f"The key frame of {len(clip.rows)}, all analysed."]
    if told["flagged"]:
        share, frame = percent(told["highest_p_malignant"]), told["highest_p_malignant_frame"]
        remarks.append(f"Flagged frames: {told['flagged']}; frame {frame} is {share} malignant, the highest.")
        # Whoever looks for flags must not miss a frame that is not the key frame.
        record["flagged"] = True
    record["remarks"] = [*remarks, *record["remarks"]]
    return {**record, "clip": {**told, "overlay": names[0], "table": names[1]}}, entries
