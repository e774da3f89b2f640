"""Which modules may import which, checked in fresh interpreters."""

import subprocess
import sys

import pytest

TRAINING_ONLY = {"datasets", "accelerate", "matplotlib", "cv2", "sklearn", "tensorboard", "kagglehub"}


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def submodules_imported_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(' '.join(n for n in sys.modules if n.startswith('busi_unet.')))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_the_package_itself_is_quick_to_import():
    assert not imported_by("import busi_unet") & (TRAINING_ONLY | {"torch", "gradio", "numpy"})


def test_predicting_needs_neither_training_nor_web_libraries():
    assert not imported_by("from busi_unet import Predictor") & (TRAINING_ONLY | {"gradio"})


def test_a_model_folder_needs_no_hub_client():
    assert not imported_by("import busi_unet.predictor") & {"huggingface_hub", "httpx2"}


def test_the_page_needs_no_training_libraries():
    assert not imported_by("import busi_unet.interface.page") & TRAINING_ONLY - {"matplotlib"}


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("imaging.decode", ("data", "model", "learning", "bundle", "hub", "predictor", "interface")),
        ("imaging.preprocess", ("data", "model", "learning", "bundle", "hub", "predictor", "interface")),
        ("imaging.overlay", ("data", "model", "learning", "bundle", "hub", "predictor", "interface")),
        ("data.duplicates", ("model", "learning", "trust", "bundle", "hub", "predictor", "interface")),
        ("data.folds", ("model", "learning", "trust", "bundle", "hub", "predictor", "interface")),
        ("data.prepare", ("model", "learning", "trust", "bundle", "hub", "predictor", "interface")),
        ("model.unet", ("data", "learning", "trust", "bundle", "hub", "predictor", "interface")),
        ("learning.losses", ("interface",)),
        ("bundle", ("data", "learning", "hub", "predictor", "interface")),
        ("hub", ("data", "learning", "predictor", "publish", "interface")),
        ("predictor", ("data", "learning", "publish", "interface")),
        ("learning.training", ("publish", "interface")),
        ("publish.model", ("interface",)),
        ("publish.dataset", ("interface",)),
        ("archives", ("imaging", "data", "model", "learning", "hub", "predictor", "interface")),
        ("picture_files", ("data", "model", "learning", "hub", "predictor", "interface")),
        ("prediction_files", ("data", "learning", "publish", "interface")),
        ("interface.model", ("data", "learning", "publish")),
        ("interface.batch", ("data", "learning", "publish")),
        ("interface.about", ("data", "learning", "publish")),
    ],
)
def test_lower_layers_do_not_know_higher_ones(module, forbidden):
    found = {name.split(".")[1] for name in submodules_imported_by(f"busi_unet.{module}")}
    assert not found & set(forbidden)
