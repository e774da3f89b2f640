from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from busi_unet.app.downloads import as_file, result_name, write_training_pair
from busi_unet.errors import UsageError


def test_an_image_becomes_a_file_that_gradio_serves_and_deletes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)

    path = Path(as_file(Image.fromarray(pixels), "overlay"))

    assert path.name == "overlay.png" and path.is_relative_to(tmp_path)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels)


def test_a_training_pair_needs_a_class(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not chosen"):
        write_training_pair(
            tmp_path, "a", frame=np.zeros((4, 4), np.uint8), mask=np.zeros((4, 4), bool), label="cyst"
        )


@pytest.mark.parametrize(
    ("upload", "name"),
    [
        ("/tmp/cache/case 7 (left).PNG", "case_7_left"),
        ("benign (1).png", "benign_1"),
        ("1.2.840.7", "1.2.840.7"),
        ("größe.tif", "größe"),
        ("...png", "image"),
        ("a" * 300 + ".png", "a" * 80),
    ],
)
def test_results_are_named_like_the_upload(upload: str, name: str) -> None:
    assert result_name(upload) == name
