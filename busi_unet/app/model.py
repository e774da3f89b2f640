"""The weights that the app runs on, and what it says about them."""

from __future__ import annotations

import functools
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from busi_unet.data.readers import citation_of
from busi_unet.errors import BusiUNetError
from busi_unet.imaging.measure import percent
from busi_unet.version import __version__

if TYPE_CHECKING:
    import numpy as np

    from busi_unet.config import Calibration, ModelConfig
    from busi_unet.inference.prediction import RawOutput
    from busi_unet.inference.predictor import Predictor, Runtime

_KINDS = {"embedded": "embedded in the app", "hub": "Hub model", "folder": "folder"}
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class ModelInUse:
    """A loaded model and its origin.

    Attributes:
        predictor: ready to run.
        kind: "embedded", "folder" or "hub".
        notice: why these are not the weights that were asked for; empty when they are.
    """

    predictor: Predictor
    kind: str
    notice: str = ""

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the file of weights."""
        from busi_unet.models.folder import weights_hash

        return weights_hash(self.predictor.folder)

    @functools.cached_property
    def benign_flagged(self) -> int | None:
        """How many of 100 benign lesions are flagged, if an evaluation of these weights says so."""
        from busi_unet.app.about import results_of

        flagged = [result["flagged"] for result in results_of(self.predictor.folder)]
        return next((each["benign lesions"]["of_100"] for each in flagged if "benign lesions" in each), None)

    def describe(self) -> str:
        """Return the origin as one line of Markdown."""
        return f"Weights: {self._named('`')}"

    def origin(self) -> dict[str, str]:
        """Return where the weights are from, by name of the fact, for people."""
        facts = {"Weights": self._named()}
        # The Hub's cache names a snapshot's folder by its commit.
        if self.kind == "hub" and _COMMIT.fullmatch(self.predictor.folder.name):
            facts["Commit"] = self.predictor.folder.name
        facts["SHA-256"] = self.sha256
        if not self.predictor.config.calibration.fitted:
            facts["Calibration"] = "none"
        return {**facts, "Version of busi_unet": __version__}

    def facts(self) -> dict[str, str]:
        """Return the origin, and how the model works, by name of the fact, for people."""
        return {**self.origin(), **describe_config(self.predictor.config)}

    def origin_line(self) -> str:
        """Return `origin` on one line of plain text."""
        return "; ".join(f"{name}: {value}" for name, value in self.origin().items())

    def _named(self, quote: str = "") -> str:
        kind = _KINDS[self.kind]
        return kind if self.kind == "embedded" else f"{kind} {quote}{self.predictor.source}{quote}"

    def to_dict(self) -> dict[str, str | None]:
        """Return the origin, JSON-ready."""
        return {
            "kind": self.kind,
            "source": self.predictor.source,
            "sha256": self.sha256,
            "notice": self.notice or None,
            "busi_unet": __version__,
        }


class OneThread:
    """A `Runtime` that runs another in one thread, in the order in which it is asked.

    Each thread that has run a network keeps threads and memory for it, and Gradio has forty threads.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._thread = ThreadPoolExecutor(1, "network")

    def run(self, batch: np.ndarray) -> list[RawOutput]:
        return self._thread.submit(self._runtime.run, batch).result()


class LazyModel:
    """The weights in use, loaded once, when they are first asked for."""

    def __init__(self, requested: str | None = None) -> None:
        self._requested = requested
        self._model: ModelInUse | None = None
        self._lock = threading.Lock()

    def __call__(self) -> ModelInUse:
        with self._lock:
            if self._model is None:
                self._model = load_predictor(self._requested)
                predictor = self._model.predictor
                predictor.runtime = OneThread(predictor.runtime)
            return self._model


def load_predictor(requested: str | None) -> ModelInUse:
    """Load the requested weights, or the embedded ones if that fails, so that the app always answers.

    Args:
        requested: Hub id or model folder; None, blank or "embedded" for the embedded weights.

    Raises:
        BusiUNetError: the embedded weights themselves cannot be loaded.
    """
    # torch takes seconds to import; the page appears without waiting for it.
    from busi_unet.inference.predictor import Predictor

    requested = (requested or "").strip()
    if requested in ("", "embedded"):
        return ModelInUse(Predictor.from_pretrained(), "embedded")
    try:
        predictor = Predictor.from_pretrained(requested)
    except (BusiUNetError, OSError) as error:
        notice = f"The model {requested} is not in use; the embedded weights are. {error}"
        logging.getLogger(__name__).warning(notice)
        return ModelInUse(Predictor.from_pretrained(), "embedded", notice)
    return ModelInUse(predictor, "folder" if Path(requested).is_dir() else "hub")


def describe_config(config: ModelConfig) -> dict[str, str]:
    """Return how a model works, by name of the fact."""
    thresholds, size = config.thresholds, config.preprocess.size
    facts = {
        "Network": f"U-Net, encoder {config.architecture.encoder}, {size} × {size} pixels",
        "Mask": f"pixels with a lesion probability of {thresholds.mask:g} or more, in images that show a "
        f"lesion with a probability of {thresholds.lesion:.2g} or more"
        + (f", regions from {percent(thresholds.min_area, 2)} of the image" if thresholds.min_area else ""),
        "Alert threshold": f"malignant probability {percent(thresholds.malignant)}",
        "Calibration": _describe_calibration(config.calibration),
    }
    images = ((config.training or {}).get("data") or {}).get("images") or {}
    if images:
        facts["Images"] = ", ".join(f"{count} {name}" for name, count in images.items())
    return facts


def _describe_calibration(calibration: Calibration) -> str:
    sets, band = calibration.prediction_sets, calibration.boundary_band
    fitted = "logistic regression on class head and mask"
    parts = [fitted if calibration.fitted else "none: the probabilities may be overconfident"]
    if sets:
        shares = [
            f"{percent(share)} in {citation_of(source).title}" for source, share in sets.elsewhere.items()
        ]
        measured = f" (at a hospital that they were not fitted to: {', '.join(shares)})" if shares else ""
        parts.append(f"prediction sets of {percent(sets.coverage)} coverage{measured}")
    parts += [f"boundary band of {percent(band.coverage)} coverage"] if band else []
    refuses = "refuses" if calibration.ood_threshold is not None else "does not refuse"
    return "; ".join([*parts, f"{refuses} images out of distribution"])
