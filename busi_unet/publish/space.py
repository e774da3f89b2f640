"""The Space: the app's own files and nothing else, with the front matter that the Hub reads.

https://huggingface.co/docs/hub/spaces-config-reference
"""

from __future__ import annotations

import ast
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import SpaceCard

from busi_unet.errors import UsageError
from busi_unet.hub import (
    PushResult,
    check_push,
    checked_id,
    fetch_model,
    is_private,
    page_of,
    push_folder,
)
from busi_unet.models.pretrained import CONFIG_NAME, EVALUATION_NAME, WEIGHTS_NAME, load_model
from busi_unet.publish.folder import repository_folder
from busi_unet.publish.resume import resumable
from busi_unet.publish.wording import NOT_A_DEVICE

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "busi_unet"
MODEL_VARIABLE = "BUSI_UNET_MODEL"
_MAX_DESCRIPTION = 60
_READ_BY_THE_APP = (CONFIG_NAME, WEIGHTS_NAME, EVALUATION_NAME)
_TAGS = ["breast-ultrasound", "ultrasound", "medical", "image-segmentation", "unet"]


def build_space_folder(
    output: str | os.PathLike,
    *,
    model: str | None = None,
    preload: Sequence[str] = (CONFIG_NAME, WEIGHTS_NAME),
    root: Path = ROOT,
) -> Path:
    """Lays out what `deploy_space` sends.

    Args:
        output: folder to write; it appears whole or not at all.
        model: Hub id USER/NAME that the Space runs on; None for the embedded weights, which are always
            sent: the app falls back to them.
        preload: files of the model that are fetched when the Space is built; the model must hold them all.
        root: a clone of this repository.

    Returns:
        The output: app.py, requirements.txt, LICENSE, README.md, the modules of the package that app.py
        imports, and the embedded weights.

    Raises:
        UsageError: `model` is no Hub id, `root` is no clone, its README.md has no fit front matter, or
            `output` holds what no earlier call wrote.
        BusiUNetError: the disk refuses.
    """
    missing = [
        name for name in ("app.py", "requirements.txt", "README.md", "LICENSE") if not (root / name).is_file()
    ]
    if missing:
        raise UsageError(f"{root} has no {', '.join(missing)}.", "Deploy from a clone of the repository.")
    readme = space_readme(root, model and checked_id(model), preload)
    with repository_folder(output) as folder:
        weights = (root / PACKAGE / "weights").iterdir()
        for source in (
            root / "app.py",
            root / "requirements.txt",
            root / "LICENSE",
            *serving_modules(root),
            *(path for path in weights if path.name in _READ_BY_THE_APP),
        ):
            target = folder / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        (folder / "README.md").write_text(readme, encoding="utf-8")
    return Path(output)


def deploy_space(repo_id: str, *, model: str | None = None, private: bool = False) -> PushResult:
    """Creates or updates the Space: its variables, then its files in one commit; those gone here vanish.

    Args:
        repo_id: USER/SPACE.
        model: as for `build_space_folder`. That a private one needs a token in the Space is logged.
        private: as for `push_folder`.

    Raises:
        UsageError: as for `build_space_folder` and `push_folder`.
        HubAccessError: the Hub refuses or cannot be reached, or has no such model; ends with the command that
            resumes.
        IncompatibleModelError: the model cannot be used with this version of the package.
    """
    command = ["busi-unet", "deploy", repo_id]
    command += ["--model", model] if model else []
    command += ["--private"] * private
    with (
        resumable(command),
        tempfile.TemporaryDirectory(prefix="busi-unet-", ignore_cleanup_errors=True) as scratch,
    ):
        check_push(repo_id, repo_type="space", private=private)
        folder, needs_token = Path(scratch) / "space", False
        if model:
            # The app would fall back to the embedded weights, which is not what was asked for.
            fetched = fetch_model(model)
            load_model(fetched)
            preload = [name for name in _READ_BY_THE_APP if (fetched / name).is_file()]
            build_space_folder(folder, model=model, preload=preload)
            needs_token = is_private(model)
        else:
            build_space_folder(folder)
        result = push_folder(
            folder,
            repo_id,
            repo_type="space",
            private=private or None,
            message="Deploy the app",
            delete_patterns=["*"],
            space_sdk="gradio",
            space_variables=space_variables(model),
        )
    if needs_token:
        logging.getLogger(__name__).warning(
            "The model %s is private: the Space runs on the embedded weights until a token that may read the "
            "model is its secret HF_TOKEN. Add it at %s/settings.",
            model,
            page_of(repo_id, "space"),
        )
    return result


def space_variables(model: str | None) -> dict[str, str]:
    """The variables of the Space; never absent, so that an earlier model ends with the next deployment."""
    return {MODEL_VARIABLE: model or "embedded"}


def serving_modules(root: Path = ROOT) -> list[Path]:
    """The files of the package that app.py needs: whatever it imports, at once or later, and so on.

    Imports are read from the source, so that those inside functions count too.
    """
    found: dict[Path, None] = {}
    waiting = [root / "app.py"]
    while waiting:
        for module in _imported(waiting.pop()):
            for path in _files_of(module, root):
                if path not in found:
                    found[path] = None
                    waiting.append(path)
    return sorted(found)


def _imported(path: Path) -> list[str]:
    """The dotted names of this package that a file imports; what is imported from one may be one too."""
    modules = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [module for module in modules if module.partition(".")[0] == PACKAGE]


def _files_of(module: str, root: Path) -> list[Path]:
    """The file of a module and the __init__.py of every package above it; none where it is no module."""
    parts = module.split(".")
    candidates = [root.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    candidates.append(root.joinpath(*parts).with_suffix(".py"))
    return [path for path in candidates if path.is_file()]


def space_readme(root: Path, model: str | None, preload: Sequence[str]) -> str:
    """README.md of the Space: the front matter of this repository's own, brought up to date, and a few lines.

    Args:
        root, model, preload: as for `build_space_folder`.

    Raises:
        UsageError: no such front matter, a description too long for the Hub, or gradio is not pinned.
    """
    card = SpaceCard.load(root / "README.md", ignore_metadata_errors=True)
    missing = [
        key
        for key in ("title", "python_version", "app_file", "short_description", "license")
        if not card.data.get(key)
    ]
    if missing:
        raise UsageError(f"The front matter of README.md has no {', '.join(missing)}.", "Add it.")
    description = card.data["short_description"]
    if len(description) > _MAX_DESCRIPTION:
        raise UsageError(
            f"short_description in README.md is {len(description)} characters; the Hub takes "
            f"{_MAX_DESCRIPTION}.",
            "Shorten it.",
        )
    front_matter: dict[str, Any] = {
        "sdk": "gradio",
        "sdk_version": _pinned_gradio(root / "requirements.txt"),
        "tags": _TAGS,
        "startup_duration_timeout": "1h",
    }
    if model:
        front_matter["models"] = [model]
        front_matter["preload_from_hub"] = [f"{model} {','.join(preload)}"]
    for key, value in front_matter.items():
        card.data[key] = value
    runs_on = f"the model [{model}]({page_of(model)})" if model else "the embedded weights"
    return f"""\
---
{card.data.to_yaml()}
---

# {card.data["title"]}

A U-Net outlines lesions in breast ultrasound pictures and weighs three classes: normal, benign, malignant.
It runs on {runs_on}.

{NOT_A_DEVICE}

Uploaded pictures are deleted within two hours. To try the app without one, take an example below the upload.
"""


def _pinned_gradio(requirements: Path) -> str:
    pinned = re.search(r"^gradio==(\S+)", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    if not pinned:
        raise UsageError(f"{requirements.name} does not pin gradio.", "Add a line gradio==VERSION.")
    return pinned[1]
