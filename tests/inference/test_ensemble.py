import dataclasses

import numpy as np
import pytest
import torch

from busi_unet.config import Architecture, ModelConfig, Preprocess
from busi_unet.data.phantom import make_phantom
from busi_unet.inference.ensemble import Ensemble
from busi_unet.inference.predictor import Predictor
from busi_unet.models.unet import UNet


def member(seed: int) -> Predictor:
    torch.manual_seed(seed)
    architecture = Architecture("plain", 4)
    return Predictor(UNet(architecture), ModelConfig(architecture, Preprocess(size=32)), device="cpu")


@pytest.fixture
def frame() -> np.ndarray:
    return make_phantom("benign", seed=3, size=(48, 60)).image


def shares(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def test_probabilities_are_the_mean_of_those_of_the_members(frame):
    members = [member(seed) for seed in range(3)]
    raws = [one.run([frame])[0] for one in members]
    (mean,) = Ensemble(members).run([frame])
    np.testing.assert_allclose(
        mean.probability, np.mean([raw.probability for raw in raws], axis=0), rtol=1e-5
    )
    expected = np.mean([shares(raw.class_logits) for raw in raws], axis=0)
    np.testing.assert_allclose(shares(mean.class_logits), expected, rtol=1e-5)
    assert not np.allclose(mean.probability, raws[0].probability)


def test_with_mirror_images_a_mirrored_image_gets_the_mirrored_answer(frame):
    one = member(0)
    mirrored = np.ascontiguousarray(frame[:, ::-1])
    plain = one.run([frame, mirrored])
    assert not np.allclose(plain[0].probability, plain[1].probability[:, ::-1], atol=1e-4)
    first, second = Ensemble([one], mirror=True).run([frame, mirrored])
    np.testing.assert_allclose(first.probability, second.probability[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(
        first.class_activation_maps, second.class_activation_maps[:, :, ::-1], atol=1e-5
    )
    np.testing.assert_allclose(shares(first.class_logits), shares(second.class_logits), rtol=1e-5)


def test_it_predicts_by_its_own_thresholds(frame):
    ensemble = Ensemble([member(0), member(1)])
    for threshold, everything in ((0.0, True), (1.0, False)):
        thresholds = dataclasses.replace(ensemble.config.thresholds, mask=threshold, lesion=0.0)
        ensemble.config = dataclasses.replace(ensemble.config, thresholds=thresholds)
        assert ensemble.predict(frame).mask.all() == everything
