from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from busi_unet.app.downloads import as_files, result_name, write_training_pair
from busi_unet.errors import UsageError


class _Answer(NamedTuple):
    overlay: Image.Image | None
    pair: tuple[Image.Image, Image.Image] | None
    findings: str


def test_images_become_files_and_the_rest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(pixels)

    overlay, pair, findings = as_files(lambda text: _Answer(image, (image, image), text))("Found.")

    assert Path(overlay).name == "overlay.png"
    assert Path(overlay).is_relative_to(tmp_path), "where Gradio deletes files when their time is up"
    assert [type(path) for path in pair] == [str, str]
    np.testing.assert_array_equal(np.asarray(Image.open(overlay)), pixels)
    assert findings == "Found."
    assert as_files(lambda: _Answer(None, None, ""))() == (None, None, "")
    assert as_files(lambda: {"legend": "Found."})() == {"legend": "Found."}


def test_the_wrapped_handler_keeps_its_words() -> None:
    def predict(image: bytes) -> _Answer:
        """Outlines."""

    assert as_files(predict).__doc__ == "Outlines."
    assert as_files(predict).__name__ == "predict"


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
