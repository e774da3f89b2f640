"""Sound files of every format that is read, for `fuzz`."""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from fakes.dicom_files import dataset, region
from fakes.dicom_files import encoded as dicom_bytes
from fakes.image_files import encoded
from PIL import Image

from busi_unet.data.phantom import make_phantom

Seed = tuple[str, bytes]  # file name and content
SIZE = (48, 64)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rasters(grey: np.ndarray) -> dict[str, list[bytes]]:
    image, bits16, bits12 = Image.fromarray(grey), grey.astype(np.uint16) * 257, grey.astype(np.uint16) * 16
    rgb = Image.fromarray(np.dstack([grey, np.roll(grey, 5, 1), 255 - grey]))
    alpha, palette, bit, cmyk = image.transpose(1), rgb.quantize(64), image.convert("1"), rgb.convert("CMYK")
    la, rgba = Image.merge("LA", (image, alpha)), Image.merge("RGBA", (*rgb.split(), alpha))
    sixteen, twelve = Image.fromarray(bits16), Image.fromarray(bits12)
    turned = Image.Exif()
    turned[0x0112] = 6
    rows = b"".join(b"\0" + row.tobytes() for row in np.dstack([bits12] * 3).astype(">u2"))
    header = struct.pack(">IIBBBBB", *SIZE[::-1], 16, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    several = {"save_all": True, "append_images": [image.transpose(0), image]}
    white_is_zero = {"tiffinfo": {262: 0}}
    options: dict[str, list[tuple[Image.Image, dict[str, Any]]]] = {
        "PNG": [
            *((each, {}) for each in (image, rgb, palette, bit, la, rgba, sixteen, twelve)),
            (palette, {"transparency": 3}),
            (image, {"transparency": 7, "exif": turned}),
        ],
        "JPEG": [
            *((each, {"quality": 95}) for each in (image, rgb, cmyk)),
            (rgb, {"subsampling": 0, "progressive": True}),
            (rgb, {"keep_rgb": True}),
            (image, {"exif": turned, "restart_marker_rows": 1}),
        ],
        "TIFF": [
            *((each, {}) for each in (image, rgb, palette, bit, la, rgba, cmyk, sixteen, twelve)),
            *((rgb, {"compression": how}) for how in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
            *((each, white_is_zero) for each in (image, twelve, bit)),
            (Image.fromarray(grey.astype(np.float32) / 255), {}),
            (image, several),
            (image.resize((24, 18)), {"save_all": True, "append_images": [image]}),
            (bit, {"compression": "group4"}),
            (image, {"big_tiff": True, "exif": turned}),
        ],
        "BMP": [(each, {}) for each in (image, rgb, palette, bit, rgba)],
        "WEBP": [
            *((rgb, {"quality": 95}), (rgb, several)),
            *((each, {"lossless": True}) for each in (image, rgba)),
        ],
        "GIF": [(image, {}), (palette, {"transparency": 5, "interlace": 1}), (image, several)],
    }  # fmt: skip
    made = {kind: [encoded(each, kind, **given) for each, given in list_] for kind, list_ in options.items()}
    made["PNG"].append(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*each) for each in chunks))
    return made


def _dicoms(grey: np.ndarray) -> dict[str, list[bytes]]:
    from pydicom.encaps import encapsulate
    from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

    rgb = np.dstack([grey, np.roll(grey, 5, 1), 255 - grey])
    ybr, twelve = np.asarray(Image.fromarray(rgb).convert("YCbCr")), grey.astype(np.uint16) * 16
    clip, bits12 = np.stack([grey, grey[::-1], grey[:, ::-1]]), {"BitsStored": 12, "HighBit": 11}
    entries = (np.arange(256)[::-1] * 257).astype(np.uint16).tobytes()
    palette = {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour in ("Red", "Green", "Blue")
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", entries))
    }
    window = {"WindowCenter": "128", "WindowWidth": "200", "RescaleSlope": "1", "RescaleIntercept": "0"}
    signed = {**bits12, "WindowCenter": "0", "WindowWidth": "3000"}
    plain = [
        *(dataset(grey, **window), dataset(grey, "MONOCHROME1"), dataset(twelve, **bits12), dataset(twelve)),
        *(dataset(clip, frames=3), dataset(twelve.astype(np.int16) - 2048, **signed), dataset(rgb, "RGB")),
        *(dataset(ybr, "YBR_FULL"), dataset(grey, "PALETTE COLOR", **palette)),
        dataset(grey, SequenceOfUltrasoundRegions=[region((0, 0, 63, 47))], PixelSpacing=["0.1", "0.1"]),
        dataset(rgb, "RGB", PlanarConfiguration=1, PixelData=np.moveaxis(rgb, 2, 0).tobytes()),
    ]
    plain[-2].file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    packed = []
    for made, frames, options in (
        (dataset(grey), [grey], {}),
        (dataset(rgb, "YBR_FULL_422"), [rgb], {"quality": 95}),
        (dataset(rgb, "RGB"), [rgb], {"keep_rgb": True}),
        (dataset(clip, frames=3), clip, {}),
    ):
        made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        made.PixelData = encapsulate([encoded(Image.fromarray(each), "JPEG", **options) for each in frames])
        packed.append(made)
    for made in (plain[0], plain[2], plain[4], plain[6], plain[8]):
        packed.append(copy.deepcopy(made))
        packed[-1].compress(RLELossless)
    return {
        "DICOM": [dicom_bytes(each) for each in plain],
        "DICOM, packed": [dicom_bytes(each) for each in packed],
    }


def _masks(mask: np.ndarray) -> list[Seed]:
    image = Image.fromarray(mask)
    smooth = image.resize((32, 24)).resize((64, 48), Image.Resampling.BILINEAR)
    two = Image.fromarray(np.dstack([mask, np.roll(mask, 15, 1), np.zeros_like(mask)]))
    made = [(each, "PNG") for each in (image, image.convert("1"), smooth, two, Image.fromarray(mask // 255))]
    made += [(image, "JPEG"), (image.convert("1"), "TIFF"), (image, "GIF")]
    return [(f"mask.{kind.lower()}", encoded(each, kind)) for each, kind in made]


def zipped(files: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return the bytes of a zip."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return stream.getvalue()


def layouts() -> dict[str, dict[str, bytes]]:
    """Return small data sets: their files by path, by the name of the table or list that is damaged."""
    images, rows = {}, ["image,mask,label,patient,fold"]
    for number in range(4):
        drawn = make_phantom("benign", seed=number, size=SIZE)
        images[f"{number}.png"] = encoded(Image.fromarray(drawn.image))
        images[f"{number}_mask.png"] = encoded(Image.fromarray(drawn.mask.astype(np.uint8) * 255))
        rows.append(f"{number}.png,{number}_mask.png,benign,p {number},{number}")
    height, width = SIZE
    outlines = [
        {"counts": [500, 20, height * width - 520], "size": [height, width]},
        *([[10.0, 10.0, 30.0, 10.0, 30.0, 25.0, 10.0, 25.0]], [[5.0, 5.0, 9.0, 5.0, 9.0, 9.0]]),
    ]
    coco = {
        "images": [
            {"id": number, "file_name": f"{number}.png", "height": height, "width": width}
            for number in range(4)
        ],
        "categories": [{"id": 1, "name": "benign"}, {"id": 2, "name": "malignant"}],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 1 + number % 2, "segmentation": outline}
            for number, outline in enumerate(outlines)
        ],
    }
    return {
        "labels.csv": {**images, "labels.csv": "\n".join(rows).encode()},
        "coco.json": {**images, "coco.json": json.dumps(coco).encode()},
    }


def _zips(rasters: dict[str, list[bytes]], dicoms: dict[str, list[bytes]]) -> list[Seed]:
    images = [
        (f"{kind}/a {number}.{kind.lower()}", each)
        for kind in ("PNG", "JPEG", "TIFF")
        for number, each in enumerate(rasters[kind][:2])
    ]
    odd = (
        *("é.png", "a\\b.png", "x" * 250 + ".png", ".hidden.png", "__MACOSX/._a.png"),
        *("a_mask.png", "n.txt", "CON.png"),
    )
    names = [(name, rasters["PNG"][0]) for name in odd]
    inner = [("in.zip", zipped(images)), ("IM1", dicoms["DICOM"][0]), ("again/IM1.2", dicoms["DICOM"][4])]
    return [("a.zip", zipped(each, method)) for each in (images, names, inner) for method in (0, 8)]


def seeds() -> dict[str, list[Seed]]:
    """Return the sound files of every format."""
    phantom = make_phantom("malignant", seed=1, size=SIZE)
    levels = phantom.image.astype(float)
    # All grey levels, so that no depth is guessed from the highest of them.
    grey = np.round(255 * (levels - levels.min()) / np.ptp(levels)).astype(np.uint8)
    rasters, dicoms, sets = _rasters(grey), _dicoms(grey), layouts()
    found = {
        kind: [(f"a.{kind.split(',')[0].lower()}", each) for each in made]
        for kind, made in {**rasters, **dicoms}.items()
    }
    return found | {
        "zip of images": _zips(rasters, dicoms),
        "zip of a data set": [("a.zip", zipped(files.items())) for files in sets.values()],
        "table": [("labels.csv", sets["labels.csv"]["labels.csv"])],
        "COCO JSON": [("coco.json", sets["coco.json"]["coco.json"])],
        "mask": _masks(phantom.mask.astype(np.uint8) * 255),
    }
