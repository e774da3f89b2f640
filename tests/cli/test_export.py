from PIL import Image

from busi_unet.cli import add_twin, main
from busi_unet.inference import twin
from busi_unet.models.folder import load_config


def test_a_model_gets_a_twin_compared_on_the_images_of_a_folder_too(tiny_model, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    Image.linear_gradient("L").save(tmp_path / "images" / "a.png")
    assert main(["export", str(tiny_model), "--images", str(tmp_path / "images")]) == 0
    assert load_config(tiny_model).onnx.images == 3 + 1
    assert f"{tiny_model / 'model.onnx'}: " in capsys.readouterr().out


def test_what_is_no_folder_is_wrong_usage(capsys):
    assert main(["export", "me/busi"]) == 2
    assert "me/busi is not a folder" in capsys.readouterr().err


def test_a_training_whose_model_cannot_have_a_twin_ends_with_a_warning(tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(twin, "LARGEST_DIFFERENCE", -1.0)
    add_twin(tiny_model)
    assert capsys.readouterr().err.startswith("warning: ") and load_config(tiny_model).onnx is None
