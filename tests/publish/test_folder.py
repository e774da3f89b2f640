import pytest

from busi_unet.errors import UsageError
from busi_unet.publish import repository_folder


@pytest.mark.parametrize("output", [".", "thesis.tex"])
def test_what_is_there_is_never_replaced(tmp_path, output):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="is not an empty folder"), repository_folder(tmp_path / output):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
