import dataclasses
import json
import socket

import numpy as np
import pytest
from fakes.dicom_files import dicom, region
from fakes.made_up import CASES, PIXELS, make_split

from busi_unet.config import CONFIG_NAME, BoundaryBand, Calibration, Thresholds
from busi_unet.data.phantom import make_phantom
from busi_unet.data.torch_dataset import LesionDataset
from busi_unet.errors import HubAccessError, IncompatibleModelError, UsageError
from busi_unet.inference.predictor import BLANK, OUT_OF_DISTRIBUTION, Predictor
from busi_unet.models.ood import fit_ood


@pytest.fixture
def predictor(tiny_model) -> Predictor:
    return Predictor.from_pretrained(tiny_model, device="cpu")


@pytest.mark.parametrize("shape", [(64, 64), (50, 211), (190, 70)])
def test_every_array_has_the_size_of_the_image(predictor, shape):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    prediction = predictor.predict(image)
    assert prediction.mask.shape == prediction.probability.shape == shape
    assert (prediction.mask.dtype, prediction.probability.dtype) == (bool, np.float32)
    assert 0 <= prediction.probability.min() <= prediction.probability.max() <= 1
    assert list(prediction.probabilities) == ["normal", "benign", "malignant"]
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert prediction.probabilities[prediction.label] == max(prediction.probabilities.values())
    assert not prediction.refused
    summary = json.loads(json.dumps(prediction.to_dict()))
    assert sum(lesion["area_px"] for lesion in summary["measurements"]) == prediction.mask.sum()


def test_a_batch_equals_its_images_one_by_one(predictor):
    images = [make_phantom("benign", seed=seed, size=(64, 80 + seed)).image for seed in range(5)]
    together = predictor.predict_batch(images, batch_size=2)
    for image, prediction in zip(images, together, strict=True):
        alone = predictor.predict(image)
        np.testing.assert_allclose(prediction.probability, alone.probability, atol=1e-5)
        assert prediction.label == alone.label
    assert predictor.predict_batch([]) == []


def test_lesions_are_measured_in_millimetres_where_the_pixel_size_is_known(predictor):
    # A mask wherever the network, untrained as it is, sees anything at all.
    everywhere = dataclasses.replace(predictor.config, thresholds=Thresholds(0.0, 0.0, 0.0))
    predictor = Predictor(predictor.runtime, everywhere)
    image = make_phantom("benign", seed=0, size=(64, 80)).image
    (unknown,) = predictor.predict(image).measurements
    (given,) = predictor.predict(image, spacing_mm=(0.1, 0.2)).measurements
    assert (unknown.unit, unknown.area_mm2) == ("px", None)
    assert (given.unit, given.area_mm2) == ("mm", pytest.approx(64 * 80 * 0.02))

    content = dicom(image, SequenceOfUltrasoundRegions=[region((0, 0, 79, 63), delta=(0.01, 0.01))])
    (measured,) = predictor.predict(content).measurements
    assert measured.area_mm2 == pytest.approx(64 * 80 * 0.01)
    (overruled,) = predictor.predict(content, spacing_mm=(0.1, 0.2)).measurements
    assert overruled.area_mm2 == given.area_mm2

    halves = [region((0, 0, 39, 63)), region((40, 0, 79, 63), delta=(0.02, 0.02))]
    split = predictor.predict(dicom(image, SequenceOfUltrasoundRegions=halves))
    assert split.measurements[0].unit == "px" and "No millimetres" in split.to_dict()["remarks"][0]


def test_other_thresholds_have_no_boundary_band_and_their_own_malignant_threshold(predictor):
    config = dataclasses.replace(
        predictor.config, calibration=Calibration(boundary_band=BoundaryBand(0.9, 0.2, 0.4))
    )
    predictor = Predictor(predictor.runtime, config)
    image = make_phantom("benign", seed=0, size=(64, 80)).image
    (raw,) = predictor.run([image])
    assert predictor.interpret(image, raw).boundary_band == config.calibration.boundary_band
    stricter = dataclasses.replace(config.thresholds, malignant=1.0)
    told = predictor.interpret(image, raw, thresholds=stricter)
    assert told.boundary_band == config.calibration.boundary_band and not told.flagged
    moved = predictor.interpret(image, raw, thresholds=dataclasses.replace(config.thresholds, mask=0.1))
    assert moved.boundary_band is None and moved.inner is None


def test_training_and_serving_see_the_same_input(predictor):
    trained_on = LesionDataset(make_split(CASES[4:5]), predictor._preprocess, progress=False)[0]
    assert trained_on.image.numpy().tobytes() == predictor._preprocess(PIXELS[CASES[4][0]]).tobytes()


def test_an_image_unlike_those_learned_is_refused(predictor):
    usual = [make_phantom("benign", seed=seed, size=(64, 80)).image for seed in range(100)]
    features = np.stack([raw.features for raw in predictor.run(usual)])
    ood, limit = fit_ood(features, [str(number) for number in range(100)])
    calibration = dataclasses.replace(predictor.config.calibration, ood_threshold=limit)
    with_ood = Predictor(
        predictor.runtime, dataclasses.replace(predictor.config, calibration=calibration), ood
    )

    assert not with_ood.predict(make_phantom("malignant", seed=200, size=(64, 80)).image).refused
    noise = np.random.default_rng(0).integers(0, 256, (64, 80), dtype=np.uint8)
    prediction = with_ood.predict(noise)
    assert prediction.refused and prediction.reasons == (OUT_OF_DISTRIBUTION,)


def test_a_refused_image_has_no_class_no_probabilities_and_no_mask(predictor):
    everything = dataclasses.replace(predictor.config, thresholds=Thresholds(0.0, 0.0, 0.0))
    predictor = Predictor(predictor.runtime, everything)
    blank = np.full((64, 80), 90, dtype=np.uint8)
    prediction = predictor.predict(blank)
    assert prediction.refused and prediction.reasons == (BLANK,)
    assert (prediction.label, prediction.probabilities, prediction.prediction_set) == (None, None, None)
    assert not prediction.mask.any() and not prediction.probability.any() and not prediction.flagged
    assert prediction.measurements == () and prediction.boundary_band is None

    anyway = predictor.predict(blank, anyway=True)
    assert anyway.refused and anyway.reasons == (BLANK,)
    assert anyway.label in anyway.probabilities and anyway.mask.all()


def test_local_weights_never_touch_the_network(tiny_model, monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("a socket was opened"))
    Predictor.from_pretrained(tiny_model).predict(np.zeros((64, 64), np.uint8))
    Predictor.from_pretrained()


def test_sources_that_are_no_model(tmp_path):
    with pytest.raises(IncompatibleModelError, match=CONFIG_NAME):
        Predictor.from_pretrained(tmp_path)
    for source in (tmp_path / "absent", "no-slash", "./not/here"):
        with pytest.raises(UsageError, match="not a model folder"):
            Predictor.from_pretrained(source)
    with pytest.raises(UsageError, match="revision"):
        Predictor.from_pretrained(revision="main")
    with pytest.raises(UsageError, match="'tpu9'"):
        Predictor.from_pretrained(device="tpu9")


def test_a_path_that_reads_like_a_hub_id_is_said_to_be_no_folder(tmp_path, monkeypatch):
    def unreachable(source, *, revision):
        raise HubAccessError("The Hub cannot be reached.", "Try again.")

    monkeypatch.setattr("busi_unet.hub.fetch_model", unreachable)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HubAccessError, match=r"^The Hub cannot be reached\. Try again\.$"):
        Predictor.from_pretrained("runs/nix")
    (tmp_path / "runs").mkdir()
    with pytest.raises(
        HubAccessError, match=r"^There is no folder runs/nix, and as a model of the Hub: The Hub"
    ):
        Predictor.from_pretrained("runs/nix")


@pytest.mark.parametrize("label", ["normal", "benign", "malignant"])
def test_the_embedded_network_labels_phantoms(label):
    """Weights trained on real images only must carry over to synthetic ones."""
    phantom = make_phantom(label, seed=3, size=(360, 480))
    prediction = Predictor.from_pretrained().predict(phantom.image)
    assert prediction.label == label
    if label == "normal":
        assert not prediction.mask.any()
    else:
        overlap = (prediction.mask & phantom.mask).sum()
        assert 2 * overlap / (prediction.mask.sum() + phantom.mask.sum()) > 0.6
