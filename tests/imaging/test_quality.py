import csv

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from busi_unet.data.phantom import make_phantom
from busi_unet.imaging.quality import has_burnt_in_marks, image_warnings
from busi_unet.io.decode import DecodedImage, read_image


def speckle(shape=(300, 400), low=20, high=220) -> np.ndarray:
    """Noise as wide as a beam: 9 columns, 3 rows."""
    coarse = np.random.default_rng(0).uniform(low, high, (shape[0] // 3, shape[1] // 9)).astype(np.float32)
    smooth = Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC)
    return np.clip(np.asarray(smooth), 0, 255).astype(np.uint8)


def drawn(frame: np.ndarray, draw) -> np.ndarray:
    image = Image.fromarray(frame)
    draw(ImageDraw.Draw(image))
    return np.asarray(image)


def caliper(draw):
    draw.line((200, 150, 200, 160), fill=255)
    draw.line((195, 155, 205, 155), fill=255)


def text(draw):
    draw.text((250, 200), "RT 12", fill=255, font=ImageFont.load_default(14))


def test_a_clean_image_has_no_warnings():
    assert image_warnings(DecodedImage(speckle())) == ()


@pytest.mark.parametrize("label", ["normal", "benign", "malignant"])
def test_synthetic_images_have_no_marks(label):
    assert not has_burnt_in_marks(make_phantom(label, seed=1, size=(200, 260)).image)


@pytest.mark.parametrize("draw", [caliper, text])
def test_marks(draw):
    frame = drawn(np.full((300, 400), 90, np.uint8), draw)
    assert has_burnt_in_marks(frame)
    (warning,) = image_warnings(DecodedImage(np.where(frame == 90, speckle(high=150), frame)))
    assert "burnt into" in warning


def test_marks_in_a_large_image():
    frame = drawn(speckle((1200, 1600), 20, 120), lambda d: d.rectangle((800, 600, 805, 640), fill=255))
    assert has_burnt_in_marks(frame)


def test_the_makers_mark_is_let_pass():
    frame = drawn(np.full((300, 400), 60, np.uint8), lambda d: d.text((5, 2), "MAKER", fill=255))
    assert not has_burnt_in_marks(frame)


def test_a_bright_interface_is_no_mark():
    frame = np.full((300, 400), 60, np.uint8)
    frame[150:153, 50:350] = 255
    assert not has_burnt_in_marks(frame)


@pytest.mark.parametrize("shape", [(16, 16), (16, 900), (900, 16)])
def test_any_shape(shape):
    assert not has_burnt_in_marks(np.zeros(shape, np.uint8))


def test_small():
    (warning,) = image_warnings(DecodedImage(speckle((120, 180))))
    assert "180 × 120" in warning


@pytest.mark.parametrize(("high", "word"), [(23, "nearly blank"), (45, "low contrast")])
def test_flat(high, word):
    (warning,) = image_warnings(DecodedImage(speckle(low=20, high=high)))
    assert word in warning


def test_colour():
    image = np.repeat(speckle()[:, :, None], 3, axis=2)
    assert image_warnings(read_image(image)) == ()
    image[100:105, 100:110] = (200, 40, 10)
    assert any("colour" in warning for warning in image_warnings(read_image(image)))


@pytest.mark.slow
@pytest.mark.busi
def test_against_the_published_list(busi_root):
    """Prints how the detector of marks does on BUSI, and that no other warning is common there."""
    listed = busi_root.parent / "groups.csv"
    if not listed.is_file():
        pytest.skip(f"no list of burnt-in marks at {listed}")
    found, others = {True: [], False: []}, 0
    with listed.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            frame = read_image(busi_root / row["label"] / f"{row['image']}.png")
            marked = has_burnt_in_marks(frame.pixels)
            found[bool(row["burnt_in"])].append(marked)
            others += any("small" in w or "contrast" in w or "blank" in w for w in image_warnings(frame))
    hits, alarms = sum(found[True]), sum(found[False])
    print(f"\nfound {hits} of {len(found[True])} with marks, {alarms} of {len(found[False])} without")
    print(f"images with another warning: {others}")
    assert hits >= 0.97 * len(found[True])
    assert alarms <= 0.04 * len(found[False])
    assert others <= 0.01 * 780
