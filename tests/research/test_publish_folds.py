"""The folds of BUSI come out of its pixels again as they were published."""

from importlib import resources

import pytest

from research.publish_folds import main


@pytest.mark.slow
@pytest.mark.busi
def test_the_published_table_comes_out_again(busi_root, tmp_path):
    assert main([str(busi_root), "--output", str(tmp_path / "folds.csv")]) == 0
    published = resources.files("busi_unet.data").joinpath("busi_folds.csv").read_bytes()
    assert (tmp_path / "folds.csv").read_bytes() == published
