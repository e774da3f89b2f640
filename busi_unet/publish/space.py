"""The Space: the app's files, with the front matter that the Hub reads.

https://huggingface.co/docs/hub/spaces-config-reference
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from huggingface_hub import SpaceCardData

from busi_unet.config import CONFIG_NAME, WEIGHTS_NAME
from busi_unet.errors import UsageError
from busi_unet.hub import PushResult, check_push, checked_id, fetch_model, page_of
from busi_unet.inference.runtime import load_runtime
from busi_unet.io.html import render
from busi_unet.publish import NOT_A_DEVICE, push_built, repository_folder

ROOT = Path(__file__).resolve().parents[2]
_ROOT_FILES = ("app.py", "requirements.txt", "LICENSE")
# Parts of the package above the app, which therefore never imports them.
_NOT_SENT = {"cli", "publish", "training"}
_TITLE = "Breast ultrasound U-Net"


def build_space_folder(output: str | os.PathLike, *, model: str | None = None) -> Path:
    """Lay out what `deploy_space` sends, in a new or empty folder; it appears whole or not at all.

    Args:
        output: returned; app.py, requirements.txt, LICENSE, README.md and the package without `_NOT_SENT`.
        model: Hub id USER/NAME that the Space runs on; None for the embedded weights, which are always
            sent: the app falls back to them.

    Raises:
        UsageError: `model` is not a Hub id, the package is not in a clone, or `output` is not empty.
    """
    missing = [name for name in _ROOT_FILES if not (ROOT / name).is_file()]
    if missing:
        raise UsageError(f"{ROOT} has no {', '.join(missing)}.", "Deploy from a clone of the repository.")
    readme = _readme(model and checked_id(model))
    with repository_folder(output) as folder:
        for name in _ROOT_FILES:
            shutil.copyfile(ROOT / name, folder / name)
        left_out = shutil.ignore_patterns("__pycache__", ".*", *_NOT_SENT)
        shutil.copytree(ROOT / "busi_unet", folder / "busi_unet", ignore=left_out)
        (folder / "README.md").write_text(readme, encoding="utf-8")
    return Path(output)


def deploy_space(repo_id: str, *, model: str | None = None, private: bool = False) -> PushResult:
    """Create or update the Space: its variables, then its files in one commit; those gone here are deleted.

    The arguments are those of `build_space_folder` and `push_folder`.

    Raises:
        UsageError, HubAccessError: as from `build_space_folder` and `push_built`, or there is no such model.
        IncompatibleModelError: the model cannot be used with this version of the package.
    """
    options = (["--model", model] if model else []) + ["--private"] * private

    def build(folder: Path) -> Path:
        check_push(repo_id, repo_type="space", private=private)
        if model:
            # The app would fall back to the embedded weights, which is not what was asked for.
            load_runtime(fetch_model(model))
        return build_space_folder(folder, model=model)

    return push_built(
        build,
        repo_id,
        command=["busi-unet", "deploy", repo_id, *options],
        repo_type="space",
        private=private or None,
        message="Deploy the app",
        delete_patterns=["*"],
        space_variables=space_variables(model),
    )


def space_variables(model: str | None) -> dict[str, str]:
    """Return the variables of the Space; never absent, so that the next deployment ends an earlier model."""
    return {"BUSI_UNET_MODEL": model or "embedded"}


def _readme(model: str | None) -> str:
    """Return README.md of the Space: front matter and a few lines."""
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    data = SpaceCardData(
        title=_TITLE,
        emoji="🩺",
        colorFrom="yellow",
        colorTo="blue",
        sdk="gradio",
        sdk_version=re.search(r"^gradio==(\S+)", requirements, re.MULTILINE)[1],
        python_version="3.11",
        app_file="app.py",
        # At most 60 characters.
        short_description="Outlines and classifies lesions in breast ultrasound",
        license="mit",
        tags=["breast-ultrasound", "ultrasound", "medical", "image-segmentation", "unet", "mcp-server"],
        startup_duration_timeout="1h",
        models=[model] if model else None,
        preload_from_hub=[f"{model} {CONFIG_NAME},{WEIGHTS_NAME}"] if model else None,
    )
    body = render(
        "space.md", not_a_device=NOT_A_DEVICE, title=_TITLE, model=model, page=model and page_of(model)
    )
    return f"---\n{data.to_yaml()}\n---\n\n{body}"
