"""Many image files: overlays, masks in any format, and a JSON line each; several at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from busi_unet.errors import BusiUNetError, first_line
from busi_unet.imaging.formats import Result, check_formats
from busi_unet.imaging.quality import image_warnings, text_boxes, text_remark
from busi_unet.inference.prediction import Prediction
from busi_unet.inference.predictor import Predictor
from busi_unet.inference.run import WHOLE, Run, Share
from busi_unet.inference.summary import RECORD
from busi_unet.io.decode import DecodedImage, read_image
from busi_unet.io.files import image_bytes
from busi_unet.io.find_images import ImageFile
from busi_unet.models.folder import model_hash

# Pixels a side that a JPEG may have.
_MOST_JPEG = 65_500
Answer = TypeVar("Answer")
# A record of `predict_files` without what all have, and what `Run.add` takes.
Found = tuple[dict[str, Any], dict[str, Any]]


def predict_files(
    predictor: Predictor,
    files: Iterable[ImageFile],
    output: Path,
    *,
    anyway: bool = False,
    clips: Callable[[Predictor, ImageFile, Run, bool], Found] | None = None,
    formats: Sequence[str] = ("png",),
    model: str = "",
    resume: bool | None = None,
    share: Share = WHOLE,
    workers: int = 1,
    batch_size: int = 1,
    begin: Callable[[int], Any] = lambda images: None,
) -> Iterator[dict[str, Any]]:
    """Predict image files in their order; write an overlay, the formats asked for and a JSON line for each.

    A file that cannot be used gives a record with its error and never stops the rest. No more images are in
    memory than the workers have in hand.

    Args:
        predictor: loaded.
        files: as `find_images` lists them.
        output: folder for `NAME_overlay.jpg` (original beside overlay), the files of the formats,
            `resume.jsonl`, where each image is noted as soon as it is done, and `written.sha256`, by which
            later runs know what they may replace; created where missing. `predictions.jsonl` and what a
            format has one file for are written when the run ends or is stopped.
        anyway: analyse images that are refused, too; they stay marked.
        clips: what is done with a file of several frames: `clip.predict_all_frames`; None takes the first.
        formats: names of `FORMATS`; `png` writes `NAME_mask.png` (0 or 255, the image's size).
        model: what the formats say of the weights.
        resume: go on with an earlier run in the folder, if there is one: images that failed are done again,
            and at most two batches of each worker; see `Run.begin`. False starts anew, and None a run that
            cannot be resumed.
        share: of the images, where several processes share them. The first waits for the others in the end.
        workers: threads; one is the caller's own.
        batch_size: how many images a worker takes at a time, and the network at once.
        begin: called before the first image, with the number of images that are to be done.

    Yields:
        A record per file, JSON-ready, always with the same keys: `image`, `error` or None, the entries of
        `Prediction.to_dict`, `warnings` about the image, the `text_boxes` of `imaging.quality`, the names of
        `mask`, `overlay` and all `files` of the formats in the output folder, why it was `not_written` in one
        of them, and `clip` where all frames were analysed. What there is not is None; a refused image has no
        file of a format. Images that an earlier run could use are left out.

    Raises:
        UsageError: no such format; or it would replace a file that no earlier run wrote, or go on with a run
            of another model, of other images or settings. Nothing is written.
        MissingDependencyError: a format needs a package that is not installed.
    """
    check_formats(formats)
    settings = None if resume is None else _settings(predictor, anyway, clips is not None, formats)
    files = list(files)
    run = Run(output, files, formats, model, settings, share)
    left = run.begin(resume=bool(resume))
    begin(len(left))

    def work(places: Sequence[int]) -> list[Found]:
        return _predict_batch(predictor, [files[place] for place in places], run, anyway, clips)

    finished = False
    try:
        batches = (left[start : start + batch_size] for start in range(0, len(left), batch_size))
        for place, (found, entries) in zip(left, _in_order(work, batches, workers), strict=True):
            record = {**dict.fromkeys(RECORD), "image": files[place].shown, **found}
            run.add(place, record, entries)
            yield record
        finished = True
    finally:
        run.end(finished=finished)


def _settings(predictor: Predictor, anyway: bool, clips: bool, formats: Sequence[str]) -> dict[str, Any]:
    """Return what decides the rows beside the images, as errors name it."""
    return {
        "model": predictor.folder and model_hash(predictor.folder),
        "--anyway": anyway,
        "--frames": "all" if clips else "first",
        "--format": list(formats),
    }


def _in_order(
    work: Callable[[Sequence[int]], list[Found]], batches: Iterator[Sequence[int]], workers: int
) -> Iterator[Found]:
    """Yield what `work` returns of the images of batches, in their order, two batches a worker ahead."""
    if workers == 1:
        for batch in batches:
            yield from work(batch)
        return
    with ThreadPoolExecutor(workers) as pool:
        try:
            waiting = deque(pool.submit(work, batch) for batch in islice(batches, 2 * workers))
            while waiting:
                answers = waiting.popleft().result()
                waiting.extend(pool.submit(work, batch) for batch in islice(batches, 1))
                yield from answers
        finally:
            pool.shutdown(cancel_futures=True)


def _predict_batch(
    predictor: Predictor,
    files: Sequence[ImageFile],
    run: Run,
    anyway: bool,
    clips: Callable[[Predictor, ImageFile, Run, bool], Found] | None,
) -> list[Found]:
    read = [_attempt(file, _read, file) for file in files]
    still = [
        image.pixels
        for image in read
        if isinstance(image, DecodedImage) and (clips is None or image.frames == 1)
    ]
    raw_outputs = iter(predictor.run(still) if still else ())

    def answer(file: ImageFile, image: DecodedImage) -> Found:
        if clips is not None and image.frames > 1:
            return clips(predictor, file, run, anyway)
        prediction = predictor.interpret(image, next(raw_outputs), anyway=anyway)
        return _write_prediction(file, image, prediction, run)

    return [
        _attempt(file, answer, file, image) if isinstance(image, DecodedImage) else image
        for file, image in zip(files, read, strict=True)
    ]


def _attempt(file: ImageFile, call: Callable[..., Answer], *arguments: Any) -> Answer | Found:
    """Return what a call returns, or the error that it raises as a record of its file."""
    try:
        return call(*arguments)
    except BusiUNetError as error:
        told = str(error)
    except OSError as error:
        reason = error.strerror or first_line(error)
        told = f"{file.shown} could not be read or written ({reason})."
    return {"error": told}, {}


def _read(file: ImageFile, index: int = 0) -> DecodedImage:
    if file.problem:
        raise BusiUNetError(file.problem)
    return read_image(file.content(), index=index, name=file.shown)


def predict_file(predictor: Predictor, file: ImageFile, run: Run, anyway: bool, *, index: int = 0) -> Found:
    """Predict a file, of a clip the frame of an index from 0. See `predict_files`."""
    image = _read(file, index)
    return _write_prediction(file, image, predictor.predict(image, anyway=anyway), run)


def _write_prediction(file: ImageFile, image: DecodedImage, prediction: Prediction, run: Run) -> Found:
    """Write the files of a prediction."""
    overlay, mask = f"{file.name}_overlay.jpg", f"{file.name}_mask.png"
    run.save(overlay, _jpeg(prediction.overlay(beside=True)))
    boxes = text_boxes(image.pixels)
    warnings = () if prediction.label is None else image_warnings(image)
    files, not_written, entries = run.write(
        Result(file.name, file.shown, prediction, image, file.content(), run.model)
    )
    found = {
        **prediction.to_dict(),
        # A refused image may be shared, too.
        "warnings": [*warnings, *filter(None, [text_remark(boxes, image.pixels.shape)])],
        "mask": mask if mask in files else None,
        "overlay": overlay,
        "text_boxes": [list(box) for box in boxes],
        "files": files,
        "not_written": not_written,
    }
    return found, entries


def _jpeg(image: Image.Image) -> bytes:
    # To pack it as PNG takes as long as the network.
    image.thumbnail((_MOST_JPEG, _MOST_JPEG))
    return image_bytes(image, "JPEG", quality=90, subsampling=0)
