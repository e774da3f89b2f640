from busi_unet.cli import main


def test_the_demo_data_can_be_prepared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo-data", "demo", "--per-class", "5"]) == 0
    next_command = capsys.readouterr().out.strip().removeprefix("Next: busi-unet ")
    assert main([*next_command.split(), "--no-report"]) == 0
    assert "15 images written to demo-prepared" in capsys.readouterr().out


def test_a_folder_that_exists_is_left_alone(tmp_path, capsys):
    assert main(["demo-data", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
