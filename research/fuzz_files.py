"""Sound files of every format that is read, for `fuzz`."""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
from fakes.dicom_files import dataset, region
from fakes.dicom_files import encoded as dicom_bytes
from fakes.image_files import encoded
from PIL import Image

from busi_unet.data.phantom import make_phantom

Seed = tuple[str, bytes]  # file name and content
SIZE = (48, 64)
_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


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
            *((each, white_is_zero) for each in (image, sixteen, twelve, bit)),
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
    image, smooth = (
        Image.fromarray(mask),
        np.asarray(Image.fromarray(mask).resize((32, 24)).resize((64, 48), 2)),
    )
    two = np.dstack([mask, np.roll(mask, 15, 1), np.zeros_like(mask)])
    made = [
        (image, "PNG"),
        (image.convert("1"), "PNG"),
        (image, "JPEG"),
        (image.convert("1"), "TIFF"),
        (image, "GIF"),
    ]
    made += [
        (Image.fromarray(each), "PNG") for each in (smooth, two, mask // 255, (mask // 255).astype(np.uint16))
    ]
    return [(f"mask.{kind.lower()}", encoded(each, kind)) for each, kind in made]


def _xlsx(rows: list[list[str]]) -> bytes:
    cells = "".join(
        f'<row r="{y}">'
        + "".join(
            f'<c r="{chr(65 + x)}{y}" t="inlineStr"><is><t>{text}</t></is></c>' for x, text in enumerate(row)
        )
        + "</row>"
        for y, row in enumerate(rows, start=1)
    )
    sheet = f'<worksheet xmlns="{_SHEET}"><sheetData>{cells}</sheetData></worksheet>'
    return zipped({"xl/worksheets/sheet1.xml": sheet.encode()})


def zipped(files: dict[str, bytes] | list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return the bytes of a zip."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return stream.getvalue()


def layouts() -> dict[str, dict[str, bytes]]:
    """Return small data sets: their files by path, by the name of the table or list that is damaged."""
    drawn = [make_phantom("benign", seed=number, size=SIZE) for number in range(4)]
    images = [encoded(Image.fromarray(each.image)) for each in drawn]
    masks = [encoded(Image.fromarray(each.mask.astype(np.uint8) * 255)) for each in drawn]
    green = [
        encoded(Image.fromarray(np.dstack([0 * each.mask, 255 * each.mask, 0 * each.mask]).astype(np.uint8)))
        for each in drawn
    ]
    y, x = np.nonzero(drawn[0].mask)
    box = [float(each) for each in (x[0], y[0], x[-1], y[0], x[-1], y[-1], x[0], y[-1])]
    runs = [int(each) for each in (10 * SIZE[0] + 5, 20, SIZE[0] * SIZE[1] - 10 * SIZE[0] - 25)]
    coco = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": SIZE[0], "width": SIZE[1]} for n in range(4)],
        "categories": [{"id": 1, "name": "benign"}, {"id": 2, "name": "malignant"}],
        "annotations": [
            {
                "id": n,
                "image_id": n,
                "category_id": 1 + n % 2,
                "segmentation": [box] if n else {"counts": runs, "size": list(SIZE)},
            }
            for n in range(3)
        ],
    }

    def named(pattern: str, contents: list[bytes]) -> dict[str, bytes]:
        return {pattern.format(number): content for number, content in enumerate(contents)}

    def table(header: str, pattern: str) -> bytes:
        return (header + "\n" + "".join(pattern.format(n) + "\n" for n in range(4))).encode()

    busbra = {**named("Images/bus_{}.png", images), **named("Masks/mask_{}.png", masks)}
    cells = [["Image_filename", "Mask_tumor_filename", "Classification"]]
    cells += [[f"case{n}.png", f"case{n}_tumor.png", "benign"] for n in range(4)]
    bus_data, folds = table("ID,Case,Pathology", "bus_{0},{0},benign"), table("ID,kFold", "bus_{0},1")
    return {
        "labels.csv": {
            **named("{}.png", images), **named("{}_mask.png", masks),
            "labels.csv": table("image,mask,label,patient,fold", "{0}.png,{0}_mask.png,benign,p {0},{0}"),
        },
        "bus_data.csv": {**busbra, "5-fold-cv.csv": folds, "bus_data.csv": bus_data},
        "5-fold-cv.csv": {**busbra, "bus_data.csv": bus_data, "5-fold-cv.csv": folds},
        "INFO.csv": {
            **named("images/ABCD_{}.png", images), **named("masks/ABCD_{}.png", green),
            "INFO.csv": table("Image;Label", "ABCD_{}.png;Benign"),
        },
        "BrEaST.xlsx": {
            **named("case{}.png", images), **named("case{}_tumor.png", masks), "BrEaST.xlsx": _xlsx(cells)
        },
        "coco.json": {**named("{}.png", images), "coco.json": json.dumps(coco).encode()},
    }  # fmt: skip


def _zips(rasters: dict[str, list[bytes]], dicoms: dict[str, list[bytes]]) -> list[Seed]:
    images = {
        f"{kind}/a {n}.{kind.lower()}": each
        for kind in ("PNG", "JPEG", "TIFF")
        for n, each in enumerate(rasters[kind][:2])
    }
    odd = [
        "é.png",
        "a\\b.png",
        "x" * 250 + ".png",
        ".hidden.png",
        "__MACOSX/._a.png",
        "a_mask.png",
        "n.txt",
        "CON.png",
    ]
    names = {name: rasters["PNG"][0] for name in odd}
    inner = {
        "in.zip": zipped(images),
        "IM1": dicoms["DICOM"][0],
        "b.gif": rasters["GIF"][2],
        "again/IM1.2": dicoms["DICOM"][4],
    }
    return [("a.zip", zipped(each, method)) for each in (images, names, inner) for method in (0, 8)]


def seeds() -> dict[str, list[Seed]]:
    """Return the sound files of every format."""
    phantom = make_phantom("malignant", seed=1, size=SIZE)
    levels = phantom.image.astype(float)
    # All grey levels, so that no depth is guessed from the highest of them.
    grey = np.round(255 * (levels - levels.min()) / np.ptp(levels)).astype(np.uint8)
    rasters, dicoms = _rasters(grey), _dicoms(grey)
    sets = layouts()
    found = {
        kind: [(f"a.{kind.split(',')[0].lower()}", each) for each in made]
        for kind, made in {**rasters, **dicoms}.items()
    }
    found["zip of images"] = _zips(rasters, dicoms)
    found["zip of a data set"] = [
        ("a.zip", zipped({f"top/{path}": content for path, content in each.items()}))
        for each in sets.values()
    ]
    found["table"] = [(name, each[name]) for name, each in sets.items() if name != "coco.json"]
    found["COCO JSON"] = [("coco.json", sets["coco.json"]["coco.json"])]
    found["mask"] = _masks(phantom.mask.astype(np.uint8) * 255)
    return found
