from busi_unet.cli import main


def test_a_folder_that_exists_is_left_alone(tmp_path, capsys):
    assert main(["demo-data", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
