from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from busi_unet.app.answers import as_file


@pytest.mark.parametrize("shape", [(30, 41), (30, 41, 3), (20, 1), (1, 20, 3)])
def test_files_hold_the_pixels(
    shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(as_file(Image.fromarray(pixels), "name")) as image:
        image.verify()
    with Image.open(as_file(Image.fromarray(pixels), "name")) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
