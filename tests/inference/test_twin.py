import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from busi_unet.config import ONNX_NAME, WEIGHTS_NAME
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import IncompatibleModelError
from busi_unet.inference import twin
from busi_unet.inference.prediction import RawOutput
from busi_unet.inference.predictor import EMBEDDED, Predictor
from busi_unet.inference.runtime import OnnxRuntime
from busi_unet.inference.torch_runtime import TorchRuntime
from busi_unet.models.folder import load_config, load_model, model_hash, save_config, save_model

IMAGES = [make_phantom(label, seed=5, size=(300, 400)).image for label in ("normal", "benign", "malignant")]


@pytest.fixture
def embedded(tmp_path) -> Path:
    """A copy of the embedded model, which comes with its twin."""
    return Path(shutil.copytree(EMBEDDED, tmp_path / "embedded"))


def assert_same(found: RawOutput, expected: RawOutput) -> None:
    for name, values in vars(expected).items():
        assert_allclose(vars(found)[name], values, atol=1e-3, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize("count", [1, 3])
def test_all_that_the_network_says_is_the_same_from_both_runtimes(count):
    onnx, torch = (Predictor.from_pretrained(runtime=runtime, device="cpu") for runtime in ("onnx", "torch"))
    assert type(Predictor.from_pretrained(device="cpu").runtime) is OnnxRuntime is type(onnx.runtime)
    for found, expected in zip(onnx.run(IMAGES[:count]), torch.run(IMAGES[:count]), strict=True):
        assert_same(found, expected)
    distances = [predictor.ood.distance(predictor.run(IMAGES)[0].features) for predictor in (onnx, torch)]
    assert distances[0] == pytest.approx(distances[1], rel=1e-3)


def test_a_twin_is_compared_written_and_stated(tiny_model, monkeypatch):
    before, ours = load_config(tiny_model), model_hash(tiny_model)
    monkeypatch.setattr(twin, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(IncompatibleModelError, match="differ"):
        twin.write_twin(tiny_model)
    assert load_config(tiny_model) == before and not (tiny_model / ONNX_NAME).exists()
    assert type(Predictor.from_pretrained(tiny_model).runtime) is TorchRuntime

    monkeypatch.undo()
    found = twin.write_twin(tiny_model, IMAGES)
    assert load_config(tiny_model) == replace(before, onnx=found)
    assert found.images == 6 and found.difference < 1e-5
    assert model_hash(tiny_model) == ours, "evaluations of the model stay its own"
    onnx, torch = (Predictor.from_pretrained(tiny_model, runtime=runtime) for runtime in ("auto", "torch"))
    assert type(onnx.runtime) is OnnxRuntime
    for raw, expected in zip(onnx.run(IMAGES), torch.run(IMAGES), strict=True):
        assert_same(raw, expected)

    save_model(tiny_model, *load_model(tiny_model))
    assert load_config(tiny_model) == before and not (tiny_model / ONNX_NAME).exists()


@pytest.mark.parametrize("changed", [WEIGHTS_NAME, ONNX_NAME, "config.json"])
def test_a_stale_twin_is_refused_and_says_what_to_run(embedded, changed):
    if changed == "config.json":
        save_config(embedded, replace(load_config(embedded), onnx=None))
    else:
        with (embedded / changed).open("ab") as file:
            file.write(b" ")
    for runtime in ("auto", "onnx"):
        with pytest.raises(IncompatibleModelError, match=re.escape(f"Run: busi-unet export {embedded}")):
            Predictor.from_pretrained(embedded, device="cpu", runtime=runtime)


def test_threads_share_a_network():
    predictor = Predictor.from_pretrained(runtime="onnx")
    expected = [predictor.run([image])[0].probability for image in IMAGES]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: predictor.run([image])[0].probability, IMAGES * 4))
    for index, probability in enumerate(found):
        np.testing.assert_array_equal(probability, expected[index % 3])
