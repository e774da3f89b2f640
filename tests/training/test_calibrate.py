import shutil
from dataclasses import replace

import numpy as np
import pytest

from busi_unet.config import Calibration, ClassCalibration, Preprocess, Thresholds
from busi_unet.data.prepared import load_prepared, resplit
from busi_unet.errors import UsageError
from busi_unet.inference.calibration import calibrated_probabilities, map_peak
from busi_unet.inference.predictor import Predictor
from busi_unet.models.folder import save_config
from busi_unet.training.calibrate import HeldOut, calibrate, fit_local_threshold, recalibrate
from busi_unet.training.options import TrainOptions
from busi_unet.training.setup import record_of


def case(
    label: int, *, inside: float, outside: float, logits: tuple[float, ...], source: str = "here"
) -> HeldOut:
    mask = np.zeros((40, 40), dtype=bool)
    if label:
        mask[10:30, 10:30] = True
    probability = np.full((40, 40), outside, dtype=np.float32)
    probability[10:30, 10:30] = inside
    return HeldOut(np.array(logits, dtype=float), 0, probability, mask, label, "", source)


def calibrated(cases: list[HeldOut]) -> tuple[Calibration, Thresholds]:
    """Calibrate by images that are a group each."""
    return calibrate(
        [each._replace(peak=map_peak(each.map), group=str(number)) for number, each in enumerate(cases)]
    )


def test_thresholds_separate_what_can_be_separated():
    lesions = [case(1 + i % 2, inside=0.4, outside=0.28, logits=(0, 2, 2)) for i in range(4)]
    normals = [case(0, inside=0.9, outside=0.1, logits=(1.5, 0, 0)) for _ in range(4)]
    calibration, thresholds = calibrated(lesions + normals)
    assert 0.28 < thresholds.mask <= 0.4
    # Every normal would get a mask; only the class head tells them apart.
    peaks = np.array([map_peak(each.map) for each in (normals[0], lesions[0])])
    probabilities = calibrated_probabilities([[1.5, 0, 0], [0, 2, 2]], peaks, calibration.classes)
    normal, lesion = 1 - probabilities[:, 0]
    assert normal < thresholds.lesion == pytest.approx(lesion, abs=1e-3)


def test_specks_are_dropped_where_that_costs_no_lesion():
    cases = [case(1, inside=0.9, outside=0.1, logits=(0, 2, 0)) for _ in range(3)]
    for each in cases:
        each.map[0, :2] = 0.9
    assert calibrated(cases)[1].min_area > 2 / 1600


def test_a_small_lesion_is_never_taken_for_a_speck():
    cases = [case(1, inside=0.9, outside=0.1, logits=(0, 2, 0)) for _ in range(200)]
    # A fifth of a lesion is found, in 4 of 1600 pixels: to drop it costs less Dice than the tolerance.
    cases.append(case(1, inside=0.1, outside=0.1, logits=(0, 2, 0)))
    cases[-1].map[10:12, 10:12] = 0.9
    assert 0 < calibrated(cases)[1].min_area <= 4 / 1600


def test_without_lesions_or_without_normals_the_defaults_stay():
    normals = [case(0, inside=0.2, outside=0.1, logits=(2, 0, 0)) for _ in range(3)]
    assert calibrated(normals)[1] == Thresholds()
    lesions = [case(1, inside=0.9, outside=0.1, logits=(0, 2, 0)) for _ in range(3)]
    assert calibrated(lesions)[1].lesion == Thresholds().lesion


def test_few_of_the_lesions_found_lose_their_outline():
    lesions = [case(1, inside=0.9, outside=0.1, logits=(0, 0.01 * i, 0)) for i in range(100)]
    calibration, thresholds = calibrated(
        [*lesions, *[case(0, inside=0.9, outside=0.1, logits=(3, 0, 0))] * 9]
    )
    peaks = np.array([map_peak(each.map) for each in lesions])
    logits = [each.class_logits for each in lesions]
    lesion_probability = 1 - calibrated_probabilities(logits, peaks, calibration.classes)[:, 0]
    assert 0 < (lesion_probability < thresholds.lesion).mean() <= 0.02


def test_sets_and_band_are_fitted_where_there_are_enough_cases():
    sure = [case(1, inside=0.9, outside=0.1, logits=(0, 4, 0)) for _ in range(60)]
    calibration = calibrated(sure)[0]
    assert calibration.prediction_sets.coverage == calibration.boundary_band.coverage == 0.9
    assert calibration.prediction_sets.threshold > 0.5
    # Each outline is the reference itself.
    assert calibration.boundary_band.inner < 0.2
    assert calibration.boundary_band.outer < 0.2

    few = calibrated(sure[:5])[0]
    assert few.prediction_sets.threshold == 0
    assert few.boundary_band is None


def test_a_lesion_that_is_barely_touched_does_not_widen_the_boundary_band():
    sure = [case(1, inside=0.9, outside=0.1, logits=(0, 4, 0)) for _ in range(60)]
    touched = [case(1, inside=0.1, outside=0.1, logits=(0, 4, 0)) for _ in range(20)]
    for each in touched:
        each.map[10, 10:13] = 0.9
    assert calibrated(sure + touched)[0].boundary_band == calibrated(sure)[0].boundary_band


def test_the_coverage_at_a_hospital_is_that_of_sets_fitted_to_the_others():
    generator = np.random.default_rng(0)

    def cases(sure: float, source: str = "here") -> list[HeldOut]:
        """Images of three classes whose logits are more or less sure of the right one."""
        labels = generator.integers(0, 3, 300)
        logits = sure * np.eye(3)[labels] + generator.normal(size=(300, 3))
        return [
            case(y, inside=0.9, outside=0.1, logits=tuple(z), source=source)
            for y, z in zip(labels, logits, strict=True)
        ]

    calibration, _ = calibrated(cases(3, "a") + cases(3, "b") + cases(-1, "unlike"))
    elsewhere = calibration.prediction_sets.elsewhere
    assert set(elsewhere) == {"a", "b", "unlike"}
    assert elsewhere["unlike"] < 0.6 < 0.85 < elsewhere["a"]
    assert calibrated(cases(3))[0].prediction_sets.elsewhere == {}


def again(folder, data, **options):
    return recalibrate(Predictor.from_pretrained(folder), data, **options)[0]


def test_a_model_can_be_calibrated_again(trained, prepared, tmp_path):
    data = load_prepared(prepared)
    config = again(trained, data)
    assert config.calibration.fitted
    save_config(
        trained,
        replace(config, calibration=Calibration(ClassCalibration(3.0)), thresholds=Thresholds(mask=0.9)),
    )
    assert again(trained, resplit(data, 2)) == config, "the split is the model's own"

    whole = shutil.copytree(trained, tmp_path / "whole")
    record = {**config.training["data"], "trained_on": ["train", "validation"]}
    save_config(whole, replace(config, calibration=Calibration(), training={"data": record}))
    with pytest.raises(UsageError, match="validation images too"):
        again(whole, data)
    sibling = shutil.copytree(trained, tmp_path / "sibling")
    unseen = {"data": record_of(TrainOptions(data=prepared), resplit(data, 1))}
    save_config(sibling, replace(config, calibration=Calibration(), training=unseen))
    by_sibling = again(whole, data, left_out=[sibling])
    assert by_sibling.calibration.fitted
    assert by_sibling.training["data"] == record

    broken = replace(config, calibration=Calibration())
    save_config(whole, replace(broken, training={"data": {**record, "split_sha256": "other"}}))
    with pytest.raises(UsageError, match="on another split"):
        again(whole, data)
    save_config(whole, replace(broken, preprocess=Preprocess(size=96)))
    with pytest.raises(UsageError, match="has another preprocess than"):
        again(trained, data, left_out=[whole])
    with pytest.raises(UsageError, match="has seen all images but the test images of"):
        again(trained, data, left_out=[trained])


# --- One's own hospital ---


def hospital(count: int, *, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Malignant probabilities of images, a third of them malignant; a shift moves all of them."""
    generator = np.random.default_rng(seed)
    malignant = np.arange(count) % 3 == 0
    score = generator.normal(size=count) + 2.5 * malignant - 2 + shift
    return 1 / (1 + np.exp(-score)), malignant, [str(i) for i in range(count)]


def test_the_threshold_follows_the_hospital_and_keeps_the_sensitivity():
    for shift in (-1.0, 0.0, 1.0):
        found = fit_local_threshold(*hospital(150, shift=shift), 0.95)
        probability, malignant, _ = hospital(6000, seed=1, shift=shift)
        flagged = probability >= found.threshold
        assert flagged[malignant].mean() == pytest.approx(0.95, abs=0.04)
        assert found.sensitivity[1] <= flagged[malignant].mean() <= found.sensitivity[2]
        assert found.specificity[1] <= 1 - flagged[~malignant].mean() <= found.specificity[2]


def test_fewer_images_are_less_reliable():
    few, many = (fit_local_threshold(*hospital(count), 0.95) for count in (30, 300))
    assert (few.malignant, few.other) == (10, 20)
    assert np.ptp(few.threshold_range) > np.ptp(many.threshold_range)
    assert np.ptp(few.specificity) > np.ptp(many.specificity)


def test_copies_do_not_make_it_look_more_reliable():
    probability, malignant, groups = hospital(40)
    once = fit_local_threshold(probability, malignant, groups, 0.95)
    copied = fit_local_threshold(*(np.repeat(part, 3) for part in (probability, malignant, groups)), 0.95)
    assert np.ptp(copied.specificity) == pytest.approx(np.ptp(once.specificity), abs=0.05)
