"""Ways to damage a file, by its format or byte by byte, for `fuzz`."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from research.fuzz_files import png_chunk, zipped

EDGES = (0, 1, 2, 3, 7, 8, 15, 16, 31, 255, 256, 4095, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1)
# Elements of DICOM files and what is put there; None removes the element.
_ELEMENTS: dict[str, tuple[Any, ...]] = {
    "Rows": (0, 1, 47, 49, 96, 65535, None),
    "Columns": (0, 1, 63, 65, 128, 65535, None),
    "BitsAllocated": (1, 8, 12, 16, 32, 64, None),
    "BitsStored": (0, 1, 7, 8, 10, 12, 14, 16, 17, None),
    "HighBit": (0, 6, 7, 9, 11, 15, 31, None),
    "PixelRepresentation": (0, 1, 2, None),
    "SamplesPerPixel": (0, 1, 2, 3, 4, None),
    "PhotometricInterpretation": (
        *("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR", "YBR_RCT"),
        *("ARGB", "", "rgb", None),
    ),
    "PlanarConfiguration": (0, 1, 2, None),
    "NumberOfFrames": ("0", "1", "2", "3", "4", "-1", "99999", None),
    "WindowCenter": ("0", "40", "128", "-600", "2048", "1e9", "nan", "abc", ["100", "50"], None),
    "WindowWidth": ("0", "-5", "1", "2", "256", "4096", "1e9", "inf", ["80", "60"], None),
    "RescaleSlope": ("0", "1", "-1", "0.5", "1e-9", "nan", None),
    "RescaleIntercept": ("0", "-1024", "100", "1e9", None),
    "VOILUTFunction": ("LINEAR", "LINEAR_EXACT", "SIGMOID", "odd", None),
    "PixelSpacing": (["0.1", "0.1"], ["0", "0"], ["-1", "2"], ["9", "9"], "0.1", None),
    "PixelAspectRatio": (["1", "2"], ["0", "1"], ["1", "99"], None),
    "TransferSyntaxUID": tuple(
        f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99", ".4.50", ".4.51", ".4.90", ".5", ".9")
    ),
}
# What people and programs put into names, cells and JSON.
_NAMES = (
    *("../up.png", "/abs.png", "C:\\c.png", "a/../b.png", " ", "a//b.png", "\0.png", "a.png/", "💾.png"),
    *("\u202egnp.a", "con", "a:b.png", "in.zip", "ü" * 120 + ".png", "deep/" * 60 + "d.png"),
)
_CELLS = (
    *('"', '""', '"a', 'a"b', "\0", "\r", '"a\nb"', "=1+1", "../../etc/passwd", " ", "", "nan", "1e5", "é"),
    *("e\u0301", "NORMAL", "-1", "5", "/", "\ud7ff", "'", ",", ";", "a" * 300, "x" * 200_000),
)
_VALUES = (
    *(None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", "a\0", "../x.png", "0" * 999, "ü"),
    *([], {}, [[]], [None], [-1e9] * 8, [1e18] * 6, {"counts": "PPP", "size": [48, 64]}, {"counts": [5, -5]}),
)


def damage(kind: str, content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Return a changed file: by a change that its format knows, or of bytes."""
    own = next((change for start, change in _OWN.items() if kind.startswith(start)), None)
    if own and rng.random() < 0.65:
        # What cannot be parsed or written again is changed by its bytes.
        with contextlib.suppress(Exception):
            changed = own(content, rng)
            return changed if rng.random() < 0.8 else _bytes(changed, others, rng)
    return _bytes(content, others, rng)


def _bytes(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        # Headers are at the start, directories of zips and TIFF at the end.
        size = max(1, len(data))
        ends = rng.randrange(min(size, 160)), size - 1 - rng.randrange(min(size, 160))
        place, length = rng.choice((rng.randrange(size), *ends)), rng.choice((1, 2, 4, 64, 512))
        width, other = rng.choice((1, 2, 4, 8)), rng.choice(others)
        number = rng.choice((*EDGES, rng.randrange(256))) % 256**width
        match rng.randrange(5):
            case 0 | 1:
                data[place : place + width] = number.to_bytes(width, rng.choice(("little", "big")))
            case 2:
                del data[place : place + rng.choice((length, size))]
            case 3:
                data[place:place] = data[place : place + length] * rng.choice((1, 1, 2, 50))
            case 4:
                start = rng.randrange(len(other))
                data[place : place + rng.choice((0, length))] = other[start : start + length]
    return bytes(data)


def _png(content: bytes, rng: random.Random) -> bytes:
    """Change a chunk; the checksums hold."""
    chunks, place = [], 8
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    index = rng.randrange(len(chunks))
    kind, data = chunks[index]
    extra = [(b"tRNS", rng.randbytes(rng.choice((1, 2, 6, 64)))), (b"eXIf", rng.randbytes(40))]
    extra += [(b"gAMA", bytes(4)), (b"zTXt", b"a\0\0x"), (b"PLTE", rng.randbytes(48)), chunks[-2]]
    match rng.randrange(4):
        case 0:
            header = bytearray(chunks[0][1])
            header[rng.choice((3, 7, 8, 9, 10, 11, 12))] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 47, 65, 255))
            chunks[0] = (b"IHDR", bytes(header))
        case 1:
            chunks.insert(index, rng.choice(extra))
        case 2:
            del chunks[index]
        case 3:
            packed = kind == b"IDAT"
            changed = _bytes(zlib.decompress(data) if packed else data, [b"x"], rng)
            chunks[index] = kind, zlib.compress(changed) if packed else changed
    return content[:8] + b"".join(png_chunk(*chunk) for chunk in chunks)


def _dicom(content: bytes, rng: random.Random) -> bytes:
    import pydicom

    made = pydicom.dcmread(io.BytesIO(content))
    for _ in range(rng.choice((1, 1, 2))):
        keyword = rng.choice(list(_ELEMENTS))
        value = rng.choice(_ELEMENTS[keyword])
        target = made.file_meta if keyword == "TransferSyntaxUID" else made
        if value is None:
            target.pop(keyword, None)
        else:
            setattr(target, keyword, value)
    if rng.random() < 0.1:
        made.PixelData = made.PixelData[: rng.randrange(len(made.PixelData))] * rng.choice((1, 2))
    # Not enforced: what is not right is the point.
    stream = io.BytesIO()
    pydicom.dcmwrite(
        stream,
        made,
        implicit_vr=made.file_meta.get("TransferSyntaxUID") == "1.2.840.10008.1.2",
        little_endian=True,
        force_encoding=True,
    )
    return (b"" if rng.random() < 0.1 else bytes(128) + b"DICM") + stream.getvalue()[132:]


def _zip(content: bytes, rng: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = [(info.filename, archive.read(info)) for info in archive.infolist()]
    index = rng.randrange(len(files))
    name, inner = files[index]
    match rng.randrange(5):
        case 0:  # a field of a header, in the directory or beside the entry
            starts = [found.start() for found in re.finditer(rb"PK\x01\x02|PK\x03\x04|PK\x05\x06", content)]
            place, width = rng.choice(starts) + rng.randrange(4, 46), rng.choice((1, 2, 4))
            number = rng.choice(EDGES) % 256**width
            return content[:place] + number.to_bytes(width, "little") + content[place + width :]
        case 1:
            files[index] = rng.choice(_NAMES), inner
        case 2:
            files.insert(index, (rng.choice((name, name.upper(), *_NAMES)), inner))
        case 3:
            files[index] = name, _bytes(inner, [inner], rng)
        case 4:
            files[index] = name + rng.choice(("", ".zip")), content
    packed = zipped(files, rng.choice((0, 8, 12, 14)))
    # Bit 11 promises UTF-8; without it names are in any code.
    return packed if rng.random() < 0.8 else packed.replace("ü".encode(), b"\xfc\xfc")


def _table(content: bytes, rng: random.Random) -> bytes:
    text = content.decode()
    mark = ";" if text.partition("\n")[0].count(";") else ","
    lines = text.splitlines()
    index, odd = rng.randrange(len(lines)), rng.choice(_CELLS)
    cells = lines[index].split(mark)
    cell = rng.randrange(len(cells))
    match rng.randrange(7):
        case 0 | 1:
            cells[cell] = rng.choice((odd, cells[cell] + odd, odd + cells[cell]))
            lines[index] = mark.join(cells)
        case 2:
            lines[index] = mark.join(rng.choice(([*cells, odd], cells[:-1])))
        case 3:
            lines.insert(index, rng.choice((lines[index], lines[0], "", mark * 9, "# note")))
        case 4:
            del lines[index]
        case 5:
            lines = [line.replace(mark, rng.choice((";", "\t", "|"))) for line in lines]
        case 6:
            lines = [mark.join(f'"{each}"' for each in line.split(mark)) for line in lines]
    changed = rng.choice(("\n", "\n", "\r\n", "\r")).join(lines)
    codes = ("utf-16", "utf-8-sig", "utf-16-le", "utf-32")
    return changed.encode(rng.choice(codes) if rng.random() < 0.1 else "utf-8", errors="surrogatepass")


def _json(content: bytes, rng: random.Random) -> bytes:
    tree = json.loads(content)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, child in list(node.items() if isinstance(node, dict) else enumerate(node)):
            places.append((node, key))
            if isinstance(child, (dict, list)):
                walk(child)

    walk(tree)
    node, key = rng.choice(places)
    match rng.randrange(4):
        case 0 | 1:
            node[key] = rng.choice(_VALUES)
        case 2:
            del node[key]
        case 3:
            other, place = rng.choice(places)
            node[key] = copy.deepcopy(other[place])
    return json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode()


_OWN: dict[str, Callable[[bytes, random.Random], bytes]] = {
    **{"PNG": _png, "DICOM": _dicom, "zip": _zip, "table": _table, "COCO": _json},
}
