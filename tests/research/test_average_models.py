from research.average_models import main


def test_what_cannot_be_averaged_is_told_in_one_line(tiny_bundle, prepared, tmp_path, capsys):
    arguments = [str(tiny_bundle), str(tiny_bundle), "--data", str(prepared)]
    assert main([*arguments, "--output", str(tmp_path / "mean")]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert not (tmp_path / "mean").exists()
