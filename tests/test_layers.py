"""Which modules may import which: what loads is checked in fresh interpreters, the layers in the source."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import busi_unet

TRAINING_ONLY = {
    *("datasets", "accelerate", "matplotlib", "cv2", "sklearn", "tensorboard", "kagglehub", "onnx"),
    "openpyxl",
}
PACKAGE = Path(busi_unet.__file__).parent
EXAMPLES = PACKAGE / "app" / "examples"
# From the top down; a module imports from its own part and from lower layers only.
SPINE = (
    {"__main__"},
    {"cli"},
    {"publish"},
    {"app", "training"},
    {"evaluation"},
    {"data"},
    {"inference"},
    {"hub", "imaging"},
    {"models"},
    {"io"},
    {"config"},
    {"errors", "version"},
)
LAYER = {part: depth for depth, parts in enumerate(SPINE) for part in parts}


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def named_in_imports(path: Path) -> set[str]:
    """Return what a file imports, with the module that it is from; imports in functions too."""
    named = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            named |= {f"{node.module}.{alias.name}" for alias in node.names}
    return named


TORCH_USERS = {"models", "training", "inference/torch_runtime.py", "data/torch_dataset.py"}


def test_torch_is_imported_by_models_training_and_one_module_of_inference_and_data_each():
    users = set()
    for path in PACKAGE.rglob("*.py"):
        relative = path.relative_to(PACKAGE)
        if any(name.partition(".")[0] == "torch" for name in named_in_imports(path)):
            users.add(relative.parts[0] if relative.parts[0] in TORCH_USERS else relative.as_posix())
    assert users == TORCH_USERS


WITHOUT_EXTRAS = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split()))
from busi_unet import Predictor
from busi_unet.cli import main
from busi_unet.inference.correct import Click, correct_mask
assert main(["predict", sys.argv[2]]) == 0
prediction = Predictor.from_pretrained().predict(sys.argv[2])
arrays = (prediction.image, prediction.probability, prediction.mask)
print(prediction, correct_mask(*arrays, [Click(9, 9)]).any())
sys.exit(main(["predict", sys.argv[2], "--model", sys.argv[3]]))
"""


def test_predicting_works_where_nothing_of_the_extras_is_installed(tiny_model, tmp_path):
    extras = "torch gradio mcp reportlab pydicom highdicom nibabel tqdm"
    arguments = (" ".join([extras, *TRAINING_ONLY]), str(next(EXAMPLES.glob("*benign*"))), str(tiny_model))
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
    )
    assert "<Prediction" in result.stdout and "True" in result.stdout, result.stderr
    # A model without model.onnx says in one line what it needs.
    assert result.returncode == 1 and "busi-unet[torch]" in result.stderr.splitlines()[-1], result.stderr


@pytest.mark.parametrize(
    ("statement", "later"),
    [
        ("import busi_unet", "torch gradio numpy"),
        ("from busi_unet import Predictor", "torch huggingface_hub httpx2 gradio mcp reportlab pydicom"),
        ("import busi_unet.cli.train", "torch"),
    ],
)
def test_what_is_slow_to_import_waits_until_it_is_used(statement, later):
    assert not imported_by(statement) & (TRAINING_ONLY | set(later.split()))


def test_imports_run_downwards_only():
    upward = []
    for path in PACKAGE.rglob("*.py"):
        here = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if here == "__init__":
            continue
        parts = {name.split(".")[1] for name in named_in_imports(path) if name.startswith("busi_unet.")}
        for other in parts:
            if other != here and LAYER[other] <= LAYER[here]:
                upward.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert upward == []
