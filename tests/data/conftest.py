import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from busi_unet.data.prepare import prepare
from busi_unet.data.readers import Scan, recognise


@pytest.fixture
def broken(phantom_root, tmp_path) -> Path:
    """A fresh copy of the phantoms to spoil."""
    return shutil.copytree(phantom_root, tmp_path / "broken")


@pytest.fixture
def write_image() -> Callable[..., np.ndarray]:
    """Writes noise, unlike any other image written, as grey PNG of 40 rows and 50 columns."""
    generator = np.random.default_rng(0)

    def write(path: Path, mode: str = "L") -> np.ndarray:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (40, 50), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)
        return pixels

    return write


@pytest.fixture
def write_mask() -> Callable[..., np.ndarray]:
    """Writes a mask of one square lesion, or of none."""

    def write(
        path: Path, colour: object = 255, *, mode: str = "L", size: tuple[int, int] = (40, 50)
    ) -> np.ndarray:
        path.parent.mkdir(parents=True, exist_ok=True)
        lesion = np.zeros(size, bool)
        if colour:
            lesion[10:20, 15:30] = True
        canvas = Image.new(mode, size[::-1], 0)
        canvas.paste(colour or 0, mask=Image.fromarray(lesion))
        canvas.save(path)
        return lesion

    return write


@pytest.fixture
def scan() -> Callable[[Path], Scan]:
    """Lists what a folder of a known layout holds."""

    def listed(root: Path) -> Scan:
        layout, base = recognise(root)
        return layout.scan(base)

    return listed


@pytest.fixture
def prepared_rows(tmp_path) -> Callable[..., dict[str, dict]]:
    """Prepares sources and returns the rows by image id, each with the split that it is in."""

    def rows(*sources: object, **options: object) -> dict[str, dict]:
        data = prepare(list(sources), tmp_path / "prepared", **options)
        return {row["image_id"]: {**row, "split": split} for split, part in data.items() for row in part}

    return rows
