import shutil
from dataclasses import replace

import numpy as np
import pytest

from busi_unet.config import Calibration, Thresholds
from busi_unet.data.busi import load_prepared, resplit, split_hash
from busi_unet.errors import UsageError
from busi_unet.inference.calibration import calibrated_probabilities
from busi_unet.inference.predictor import RawOutput
from busi_unet.models.pretrained import load_config, save_config
from busi_unet.training.calibrate import calibrate, nearest_half, recalibrate


class Scripted:
    """Answers each image, known by its first pixel, with a prepared output."""

    def __init__(self, outputs: dict[int, RawOutput]) -> None:
        self.outputs = outputs

    def run(self, images):
        return [self.outputs[int(image[0, 0])] for image in images]

    def restore(self, raw, shape):
        assert raw.probability.shape == shape
        return raw.probability


def case(number: int, label: int, *, inside: float, outside: float, logits: tuple[float, float, float]):
    target = np.zeros((40, 40), dtype=bool)
    if label:
        target[10:30, 10:30] = True
    probability = np.full((40, 40), outside, dtype=np.float32)
    probability[10:30, 10:30] = inside
    image = np.full((40, 40), number, dtype=np.uint8)
    activation = np.zeros((3, 1, 1), dtype=np.float32)
    features = np.zeros(4, dtype=np.float32)
    return (
        image,
        target,
        label,
        RawOutput(probability, np.array(logits, dtype=np.float32), activation, features),
    )


def calibrated(cases) -> tuple[Calibration, Thresholds]:
    images, targets, labels, outputs = zip(*cases, strict=True)
    groups = [str(number) for number in range(len(cases))]
    return calibrate(Scripted(dict(enumerate(outputs))), images, targets, labels, groups, progress=False)


def test_thresholds_separate_what_can_be_separated():
    lesions = [case(i, 1 + i % 2, inside=0.4, outside=0.28, logits=(0, 2, 2)) for i in range(4)]
    normals = [case(4 + i, 0, inside=0.9, outside=0.1, logits=(1.5, 0, 0)) for i in range(4)]
    calibration, thresholds = calibrated(lesions + normals)
    assert 0.28 < thresholds.mask <= 0.4
    # Every normal would get a mask; only the class head tells them apart.
    logits = np.array([[1.5, 0, 0], [0, 2, 2]])
    normal, lesion = 1 - calibrated_probabilities(logits, calibration.temperature)[:, 0]
    assert normal < thresholds.lesion <= lesion


def test_specks_are_dropped_where_that_costs_no_lesion():
    cases = [case(i, 1, inside=0.9, outside=0.1, logits=(0, 2, 0)) for i in range(3)]
    for _, _, _, output in cases:
        output.probability[0, :2] = 0.9
    assert calibrated(cases)[1].min_area > 2 / 1600


def test_a_small_lesion_is_never_taken_for_a_speck():
    cases = [case(i, 1, inside=0.9, outside=0.1, logits=(0, 2, 0)) for i in range(200)]
    # A fifth of a lesion is found, in 4 of 1600 pixels: to drop it costs less Dice than the tolerance.
    cases.append(case(200, 1, inside=0.1, outside=0.1, logits=(0, 2, 0)))
    cases[-1][3].probability[10:12, 10:12] = 0.9
    assert 0 < calibrated(cases)[1].min_area <= 4 / 1600


def test_without_lesions_or_without_normals_the_defaults_stay():
    normals = [case(i, 0, inside=0.2, outside=0.1, logits=(2, 0, 0)) for i in range(3)]
    assert calibrated(normals)[1] == Thresholds()
    lesions = [case(i, 1, inside=0.9, outside=0.1, logits=(0, 2, 0)) for i in range(3)]
    assert calibrated(lesions)[1].lesion == Thresholds().lesion


def test_overconfident_logits_get_a_temperature_above_one():
    half_wrong = [case(i, i % 2, inside=0.9, outside=0.1, logits=(9, 0, 0)) for i in range(20)]
    assert calibrated(half_wrong)[0].temperature > 3


def test_of_thresholds_that_are_as_good_the_one_nearest_to_a_half_is_taken():
    grid = np.array([0.2, 0.4, 0.6, 0.8])
    assert nearest_half(grid, [0.7, 0.75, 0.795, 0.8], 0.01) == 0.6
    assert nearest_half(grid, [0.7, 0.75, 0.78, 0.8], 0.01) == 0.8
    assert nearest_half(grid, [0.8, 0.7, 0.7, 0.799], 0) == 0.2


def test_the_malignant_threshold_is_not_fitted():
    logits = {1: (0, 2, 0), 2: (0, 0, 2)}
    cases = [case(i, 1 + i % 2, inside=0.9, outside=0.1, logits=logits[1 + i % 2]) for i in range(40)]
    assert calibrated(cases)[1].malignant == Thresholds().malignant


def test_sets_and_band_are_fitted_where_there_are_enough_cases():
    sure = [case(i, 1, inside=0.9, outside=0.1, logits=(0, 4, 0)) for i in range(60)]
    calibration = calibrated(sure)[0]
    assert calibration.prediction_sets.coverage == calibration.boundary_band.coverage == 0.9
    assert calibration.prediction_sets.threshold > 0.5
    # Each outline is the reference itself.
    assert calibration.boundary_band.inner < 0.2
    assert calibration.boundary_band.outer < 0.2

    few = calibrated(sure[:5])[0]
    assert few.prediction_sets.threshold == 0
    assert few.boundary_band is None


def test_a_lesion_that_is_barely_touched_has_no_edge_to_be_sure_of():
    sure = [case(i, 1, inside=0.9, outside=0.1, logits=(0, 4, 0)) for i in range(60)]
    touched = []
    for number in range(60, 80):
        image, target, label, raw = case(number, 1, inside=0.1, outside=0.1, logits=(0, 4, 0))
        raw.probability[10, 10:13] = 0.9
        touched.append((image, target, label, raw))
    assert calibrated(sure + touched)[0].boundary_band == calibrated(sure)[0].boundary_band


@pytest.fixture
def trained(tiny_model, prepared):
    """A model folder whose record says that it was trained on the prepared split."""
    data = load_prepared(prepared)
    folds = {name: sorted(set(data[name]["fold"])) for name in data}
    training = {"data": {"split_sha256": split_hash(data), "folds": folds}}
    save_config(tiny_model, replace(load_config(tiny_model), training=training))
    return tiny_model


def test_a_model_folder_can_be_calibrated_again(trained, prepared, tmp_path):
    data = load_prepared(prepared)
    config = recalibrate(trained, data)
    assert config == load_config(trained)
    assert config.calibration.fitted
    save_config(trained, replace(config, calibration=Calibration(3.0), thresholds=Thresholds(mask=0.9)))
    assert recalibrate(trained, resplit(data, 2)) == config, "the split is the model's own"

    refit = shutil.copytree(trained, tmp_path / "refit")
    record = {**config.training["data"], "trained_on": ["train", "validation"]}
    save_config(refit, replace(config, calibration=Calibration(3.0), training={"data": record}))
    with pytest.raises(UsageError, match="validation images too"):
        recalibrate(refit, data)
    again = recalibrate(refit, data, other=trained)
    assert (again.calibration, again.thresholds) == (config.calibration, config.thresholds)

    record = {**config.training["data"], "split_sha256": "other"}
    save_config(refit, replace(config, training={"data": record}))
    with pytest.raises(UsageError, match="on another split"):
        recalibrate(refit, data)
    with pytest.raises(UsageError, match="has another split than"):
        recalibrate(trained, data, other=refit)
