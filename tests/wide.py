"""Sound files of values that most programs do not write: TIFFs of any type and number of bands, 16-bit colour PNGs."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from pseudomask.data.tiff import read_directory

_FORMATS = {"u": 1, "i": 2, "f": 3}
LZW, DEFLATE, PACKBITS, ZSTD = 5, 8, 32773, 50000
_PILLOW = {LZW: "tiff_lzw", PACKBITS: "packbits", ZSTD: "zstd"}


def tiff(
    values: np.ndarray,
    *,
    photometric: int | None = None,
    extras: tuple[int, ...] = (),
    planar: bool = False,
    compression: int = 1,
    predictor: int = 1,
    tile: int = 0,
    rows: int = 0,
    order: str = "<",
    big: bool = False,
    more: dict[int, tuple[int, tuple[int, ...] | bytes]] | None = None,
) -> bytes:
    """A TIFF of `values`, (H, W) or (H, W, n). `more`: further tags, (form, values) by number."""
    values = values.reshape(*values.shape[:2], -1)
    height, width, n = values.shape
    if photometric is None:
        photometric = 2 if n - len(extras) == 3 else 1
    data = values.astype(values.dtype.newbyteorder(order))
    planes = [data[:, :, band : band + 1] for band in range(n)] if planar else [data]
    step = tile or rows or height
    parts = []
    for plane in planes:
        for top in range(0, height, step):
            for left in range(0, width, tile or width):
                part = plane[top : top + step, left : left + (tile or width)]
                if tile:
                    part = np.pad(part, ((0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0)))
                parts.append(_packed(_predicted(part, predictor, order), len(part), compression))
    offsets, body = [], b""
    head = 16 if big else 8
    for part in parts:
        offsets.append(head + len(body))
        body += part + b"\0" * (len(part) % 2)
    bits, form = values.dtype.itemsize * 8, _FORMATS[values.dtype.kind]
    tags: dict[int, tuple[int, tuple[int, ...] | bytes]] = {
        256: (4, (width,)),
        257: (4, (height,)),
        258: (3, (bits,) * n),
        259: (3, (compression,)),
        262: (3, (photometric,)),
        277: (3, (n,)),
        284: (3, (2 if planar else 1,)),
        317: (3, (predictor,)),
        339: (3, (form,) * n),
        (324 if tile else 273): (4, tuple(offsets)),
        (325 if tile else 279): (4, tuple(map(len, parts))),
        **({322: (4, (tile,)), 323: (4, (tile,))} if tile else {278: (4, (step,))}),
        **({338: (3, extras)} if extras else {}),
        **(more or {}),
    }
    return _file(order, big, body, tags)


def _file(order: str, big: bool, body: bytes, tags: dict[int, tuple[int, tuple[int, ...] | bytes]]) -> bytes:
    wide, head, entry = ("Q", 16, 20) if big else ("I", 8, 12)
    start = head + len(body)
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    tail = b""
    base = start + len(count) + entry * len(tags) + struct.calcsize(wide)
    table = b""
    for tag, (form, given) in sorted(tags.items()):
        n = len(given)
        content = (
            given if isinstance(given, bytes) else struct.pack(f"{order}{n}{ {3: 'H', 4: 'I', 1: 'B'}[form] }", *given)
        )
        if len(content) > struct.calcsize(wide):
            place = base + len(tail)
            tail += content + b"\0" * (len(content) % 2)
            content = struct.pack(order + wide, place)
        table += struct.pack(f"{order}HH{wide}", tag, form, n) + content.ljust(struct.calcsize(wide), b"\0")
    mark = b"II" if order == "<" else b"MM"
    first = struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start)
    return mark + first + body + count + table + struct.pack(order + wide, 0) + tail


def _predicted(part: np.ndarray, predictor: int, order: str) -> bytes:
    if predictor == 2:
        whole = part.astype(part.dtype.newbyteorder("=")).view(f"u{part.dtype.itemsize}")
        whole[:, 1:] -= whole[:, :-1].copy()
        return whole.astype(whole.dtype.newbyteorder(order)).tobytes()
    if predictor == 3:
        rows, wide, n = part.shape
        size = part.dtype.itemsize
        planes = part.astype(part.dtype.newbyteorder(">")).reshape(rows, wide * n, 1).view(np.uint8)
        planes = planes.transpose(0, 2, 1).reshape(rows, size * wide, n).copy()
        planes[:, 1:] -= planes[:, :-1].copy()
        return planes.tobytes()
    return part.tobytes()


def _packed(data: bytes, rows: int, compression: int) -> bytes:
    """As libtiff packs it: a grey image of the bytes, of one strip."""
    if compression == 1:
        return data
    if compression == DEFLATE:
        return zlib.compress(data)
    stream = io.BytesIO()
    grey = Image.frombytes("L", (len(data) // rows, rows), data)
    grey.save(stream, "TIFF", compression=_PILLOW[compression], tiffinfo={278: rows})
    directory = read_directory(stream)
    assert len(directory.tags[273]) == 1
    return stream.getvalue()[directory.tags[273][0] :][: directory.tags[279][0]]


def png16(values: np.ndarray) -> bytes:
    """A 16-bit PNG: (H, W, n) uint16 of grey, grey and alpha, RGB or RGBA."""
    height, width, n = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[n], 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)
