from dataclasses import replace

from busi_unet.cli import main
from busi_unet.models.folder import load_config, save_config


def test_a_model_is_calibrated_again_and_what_was_fitted_printed(trained, prepared, capsys):
    before = load_config(trained)

    assert main(["calibrate", str(trained), "--data", str(prepared)]) == 0

    config = load_config(trained)
    assert config.calibration.fitted
    assert config.training == before.training
    assert f"{config.thresholds.mask:g}" in capsys.readouterr().out


def test_at_another_hospital_only_the_threshold_for_flagging_is_set(tiny_model, prepared, tmp_path, capsys):
    before = load_config(tiny_model)
    made_on = {"sources": {"train": {"elsewhere": 9}}, "split_sha256": "1" * 64}
    save_config(tiny_model, replace(before, training={"data": made_on}))
    words = ["calibrate", str(tiny_model), "--data", str(prepared), "--output", str(tmp_path / "local")]

    assert main(words) == 0

    local, shown = load_config(tmp_path / "local"), capsys.readouterr().out
    assert local.calibration == before.calibration
    assert replace(local.thresholds, malignant=before.thresholds.malignant) == before.thresholds
    assert f"{local.thresholds.malignant:.3f}" in shown and "Specificity" in shown
    # What would have no effect there is not passed over in silence.
    assert main([*words, "--left-out", str(tiny_model)]) == 2
