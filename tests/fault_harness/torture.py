"""A folder of the files that break image tools: which are good, which are bad and why (R1)."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (40, 56)


def photo(seed: int = 0, size: tuple[int, int] = SIZE) -> Image.Image:
    """Smooth colours with an edge, so that JPEG and orientation leave traces."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    return small.resize((size[1], size[0]), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, **more: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return stream.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG whose header says what it is told to say."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def bomb() -> bytes:
    """900 megapixels of nothing in about 110 KB."""
    body = zlib.compressobj(9)
    row = bytes(1 + 30_000 // 8)
    data = b"".join(body.compress(row) for _ in range(30_000)) + body.flush()
    whole = png(30_000, 30_000, 1, 0, b"")
    head, tail = whole[:33], whole[-12:]
    return head + struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data)) + tail


def good() -> dict[str, tuple[bytes, tuple[int, int]]]:
    """Content and (H, W) of the mask by name."""
    image, (h, w) = photo(), SIZE
    deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
    colour = np.asarray(image).astype(">u2") * 257
    rows = b"".join(b"\0" + line.tobytes() for line in colour)
    made = {
        "plain.jpg": encoded(image, "JPEG"),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "grey.jpg": encoded(image.convert("L"), "JPEG"),
        "plain.png": encoded(image, "PNG"),
        "png_named.jpg": encoded(image, "PNG"),
        "jpg_named.png": encoded(image, "JPEG"),
        "UPPER.JPG": encoded(image, "JPEG"),
        "Mixed.PnG": encoded(image, "PNG"),
        "no_extension": encoded(image, "PNG"),
        "grey.png": encoded(image.convert("L"), "PNG"),
        "grey_alpha.png": encoded(image.convert("LA"), "PNG"),
        "palette.png": encoded(image.convert("P"), "PNG"),
        "one_bit.png": encoded(image.convert("1"), "PNG"),
        "alpha.png": encoded(image.convert("RGBA"), "PNG"),
        "grey_16.png": encoded(Image.fromarray(deep), "PNG"),
        "colour_16.png": png(w, h, 16, 2, rows),
        "grey_16.tif": encoded(Image.fromarray(deep), "TIFF"),
        "plain.gif": encoded(image, "GIF"),
        "plain.webp": encoded(image, "WEBP"),
        "plain.tif": encoded(image, "TIFF"),
        "plain.bmp": encoded(image, "BMP"),
        "plain.ppm": encoded(image, "PPM"),
        "thin.png": encoded(photo(1, (5000, 1)), "PNG"),
        "wide.png": encoded(photo(2, (1, 5000)), "PNG"),
        "dot.png": encoded(photo(3, (1, 1)), "PNG"),
    }
    sizes = {"thin.png": (5000, 1), "wide.png": (1, 5000), "dot.png": (1, 1)}
    return {f"{i:02d}_{name}": (data, sizes.get(name, SIZE)) for i, (name, data) in enumerate(made.items())}


def bad() -> dict[str, bytes]:
    jpeg, whole = encoded(photo(), "JPEG"), encoded(photo(), "PNG")
    at = whole.index(b"IDAT")
    flipped = whole[: at + 20] + bytes([whole[at + 20] ^ 0x40]) + whole[at + 21 :]
    made = {
        "empty.jpg": b"",
        "text.jpg": b"This is no photo.\n" * 20,
        "random.png": random.Random(0).randbytes(2000),
        "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
        **{f"cut_jpeg_{share}.jpg": jpeg[: len(jpeg) * share // 100] for share in (10, 50, 90, 99)},
        **{f"cut_png_{share}.png": whole[: len(whole) * share // 100] for share in (10, 50, 90)},
        "flipped.png": flipped,
        "lies.png": png(60_000, 60_000, 8, 2, b"\0" * 100),
        "zero_wide.png": png(0, 40, 8, 2, b"\0" * 100),
    }
    return {f"{i:02d}_bad_{name}": data for i, (name, data) in enumerate(made.items())}  # between the good ones


def make(folder: Path, *, with_bad: bool = True) -> None:
    """Write the good files, and the bad ones."""
    folder.mkdir(parents=True)
    for name, (data, _) in good().items():
        (folder / name).write_bytes(data)
    for name, data in bad().items() if with_bad else ():
        (folder / name).write_bytes(data)
