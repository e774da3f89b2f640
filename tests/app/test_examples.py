from __future__ import annotations

import numpy as np

from busi_unet.app.examples import SIZE, THUMBNAIL_SIZE, example_frame, thumbnails
from busi_unet.config import CLASS_NAMES, Preprocess
from busi_unet.inference.preprocess import Preprocessor


def test_thumbnails_show_the_three_classes_in_order() -> None:
    assert [caption for _, caption in thumbnails()] == list(CLASS_NAMES)
    assert all(frame.shape == THUMBNAIL_SIZE and frame.dtype == np.uint8 for frame, _ in thumbnails())


def test_a_click_gives_the_image_of_the_thumbnail() -> None:
    # Speckle differs with the size; the anatomy, seen coarsely, does not.
    coarse = Preprocessor(Preprocess(size=32)).resize_image
    frames = [example_frame(label) for label in CLASS_NAMES]
    assert {frame.shape for frame in frames} == {SIZE}

    for index, (thumbnail, _) in enumerate(thumbnails()):
        alike = [np.corrcoef(coarse(thumbnail).ravel(), coarse(frame).ravel())[0, 1] for frame in frames]
        assert np.argmax(alike) == index
        assert alike[index] > 0.6
