from __future__ import annotations

import base64
import io

from PIL import Image

from busi_unet.app.examples import examples, thumbnails


def test_thumbnails_show_the_examples_in_order() -> None:
    for place, (example, small) in enumerate(zip(examples(), thumbnails(), strict=True)):
        encoded = base64.b64decode(small["source"].partition(",")[2])
        with Image.open(example.path) as image, Image.open(io.BytesIO(encoded)) as shown:
            assert abs(shown.width / shown.height - image.width / image.height) < 0.02
            assert max(shown.size) <= 160
        assert (small["key"], small["name"]) == (str(place), example.label)
