"""The repository of a model: weights, config, training record, evaluations, examples and card."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from busi_unet.config import CLASS_NAMES, CONFIG_NAME, EVALUATION_NAME, WEIGHTS_NAME
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import UsageError
from busi_unet.hub import PushResult, checked_id, push_folder
from busi_unet.imaging.overlay import draw_overlay, side_by_side
from busi_unet.inference.predictor import Predictor
from busi_unet.models.folder import model_hash, weights_hash
from busi_unet.publish.card import model_card, results_of
from busi_unet.publish.folder import repository_folder, resumable, scratch_folder
from busi_unet.training.run_folder import CURVES_NAME, HISTORY_NAME, MANIFEST_NAME

EXAMPLE_SEED = 11
EXAMPLE_SIZE = (360, 480)
# A push replaces these, also by nothing. What people add on the Hub by hand stays.
_REPLACED = [EVALUATION_NAME, "evaluation/*", "examples/*", MANIFEST_NAME, CURVES_NAME, HISTORY_NAME]


def build_model_folder(
    run: str | os.PathLike,
    output: str | os.PathLike,
    *,
    repo_id: str,
    evaluations: Sequence[str | os.PathLike] = (),
) -> Path:
    """Lay out what `push_model` sends.

    Args:
        run: the folder of a finished run, or a model folder.
        output: new or empty folder to write; it appears whole or not at all.
        repo_id: USER/NAME that the card names.
        evaluations: metrics.json files of this model; without any, reports/ is searched for them.

    Returns:
        The output: model.safetensors, config.json, README.md, examples/ (an overlay for each class on a
        synthetic image), and where there are any manifest.json, curves.png, history.csv, evaluation/, and
        evaluation.json: that of the model's own test split, which the app shows.

    Raises:
        UsageError: not a Hub id, no such run, an evaluation of other weights, `output` is not empty.
        IncompatibleModelError: the model cannot be loaded.
        BusiUNetError: the disk refuses.
    """
    checked_id(repo_id)
    model = _model_folder_of(run)
    results = results_of(model_hash(model), evaluations)
    # Loaded before anything is written: what cannot be used is not published.
    predictor = Predictor.from_pretrained(model, device="cpu")
    record = (Path(run) / name for name in (MANIFEST_NAME, CURVES_NAME, HISTORY_NAME))
    with repository_folder(output) as folder:
        for path in (model / WEIGHTS_NAME, model / CONFIG_NAME, *filter(Path.is_file, record)):
            shutil.copyfile(path, folder / path.name)
        for result in results:
            (folder / "evaluation").mkdir(exist_ok=True)
            shutil.copyfile(result.path, folder / "evaluation" / result.file_name)
            # Another test split may have been trained on.
            if result.split == "test" and result.provenance.get("split_is_the_models_own") is True:
                shutil.copyfile(result.path, folder / EVALUATION_NAME)
        card = model_card(
            predictor.config,
            repo_id=repo_id,
            results=results,
            examples=_draw_examples(predictor, folder),
            curves=(folder / CURVES_NAME).exists(),
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
    return Path(output)


def push_model(
    run: str | os.PathLike,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    evaluations: Sequence[str | os.PathLike] = (),
) -> PushResult:
    """Push a run, or a model folder, in one commit.

    Args:
        run: as for `build_model_folder`; it is only read.
        repo_id: USER/NAME of the model repository; created where missing.
        private: as for `push_folder`.
        revision: branch to commit to.
        evaluations: as for `build_model_folder`.

    Raises:
        UsageError, IncompatibleModelError: as from `build_model_folder` and `push_folder`.
        HubAccessError: the push failed; says where the weights are and how to resume.
    """
    model = _model_folder_of(run)
    command = ["busi-unet", "push", str(run), repo_id]
    command += ["--private"] * private
    command += ["--revision", revision] if revision else []
    for path in evaluations:
        command += ["--evaluation", str(path)]
    with resumable(command, intact=f"The weights are intact in {model}."), scratch_folder() as scratch:
        return push_folder(
            build_model_folder(run, scratch / "repository", repo_id=repo_id, evaluations=evaluations),
            repo_id,
            private=private or None,
            revision=revision,
            message=f"Model {weights_hash(model)[:12]}",
            delete_patterns=_REPLACED,
        )


def _model_folder_of(run: str | os.PathLike) -> Path:
    """Return the model folder of a run folder, or the folder itself where it is one."""
    for folder in (Path(run) / "model", Path(run)):
        if (folder / CONFIG_NAME).is_file() and (folder / WEIGHTS_NAME).is_file():
            return folder
    raise UsageError(
        f"{run} is not a model folder ({CONFIG_NAME} and {WEIGHTS_NAME} not found).",
        "Name a model folder, or the folder of a finished run.",
    )


def _draw_examples(predictor: Predictor, folder: Path) -> list[str]:
    """Draw an overlay for each class on a synthetic image; return the paths in the repository."""
    (folder / "examples").mkdir()
    paths = [f"examples/{label}.png" for label in CLASS_NAMES]
    for label, path in zip(CLASS_NAMES, paths, strict=True):
        image = make_phantom(label, seed=EXAMPLE_SEED, size=EXAMPLE_SIZE).image
        side_by_side(image, draw_overlay(image, predictor.predict(image).mask)).save(folder / path)
    return paths
