from busi_unet.cli import main


def test_without_npm_one_sentence_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["export", "embedded", "--web", str(tmp_path / "page")]) == 1
    assert "npm" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
