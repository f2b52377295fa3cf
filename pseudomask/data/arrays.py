"""Pictures in memory as photos: PIL images, arrays and tensors, checked and converted to what `decode` returns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from pseudomask.data.decoding import MAX_PIXELS, decode
from pseudomask.data.levels import Raw, over_white, render
from pseudomask.data.reading import Reading
from pseudomask.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    Picture: TypeAlias = str | Path | Image.Image | np.ndarray | Tensor
else:  # without importing torch
    Picture = Any
"""A file's path, a PIL image, an array (H, W, 3), (H, W, 1) or (H, W), or a tensor (3, H, W), (1, H, W) or (H, W)."""

_ARRAY = "an array (H, W, 3) of RGB or (H, W) of grey values"
_TENSOR = "a tensor (3, H, W) of RGB or (H, W) of grey values"


def as_photo(
    picture: Any, reading: Reading, *, max_pixels: int = MAX_PIXELS, allow_truncated: bool = False
) -> np.ndarray:
    """The picture as uint8 (H, W, 3), upright.

    Raises `ImageError` for a file that cannot be read and `UsageError` for a wrong shape, type or range.
    """
    if isinstance(picture, str | Path):
        return decode(Path(picture), max_pixels=max_pixels, allow_truncated=allow_truncated, reading=reading)
    if isinstance(picture, Image.Image):
        return _from_pil(picture, reading)
    if hasattr(picture, "detach"):
        return _from_array(_from_tensor(picture), reading)
    if isinstance(picture, np.ndarray):
        return _from_array(picture, reading)
    raise UsageError(f"a picture must be a path, a PIL image, {_ARRAY} or {_TENSOR}, not {type(picture).__name__}")


def _from_pil(image: Image.Image, reading: Reading) -> np.ndarray:
    turned = ImageOps.exif_transpose(image)
    if turned.mode[0] in "IF":
        return _from_array(np.asarray(turned), reading)
    if not turned.has_transparency_data:
        return np.array(turned.convert("RGB"))
    layer = np.array(turned.convert("RGBA"))
    colours = np.ascontiguousarray(layer[:, :, :3])
    return colours if reading.alpha == "ignore" else over_white(colours, layer[:, :, 3])


def _from_tensor(tensor: Any) -> np.ndarray:
    """(H, W) or (H, W, C), on the CPU; bfloat16 and float16 become float32."""
    if tensor.ndim == 3 and tensor.shape[0] not in (1, 3):
        raise UsageError(f"a picture must be {_TENSOR}, not of shape {tuple(tensor.shape)}")
    if tensor.is_floating_point():
        tensor = tensor.float()
    values: np.ndarray = tensor.detach().cpu().numpy()
    return values.transpose(1, 2, 0) if values.ndim == 3 else values


def _from_array(values: np.ndarray, reading: Reading) -> np.ndarray:
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in (1, 3) or not values.size:
        raise UsageError(f"a picture must be {_ARRAY}, not of shape {values.shape}")
    if values.dtype == np.uint8 or values.dtype == np.uint16:
        usual = (0.0, 255.0 if values.dtype == np.uint8 else 65535.0)
    elif values.dtype.kind == "f":
        usual = (0.0, 1.0)
    else:
        raise UsageError(f"a picture must be uint8, uint16 or float, not {values.dtype}; for 0 to 255, use uint8")
    span = reading.fixed(values.dtype) or usual
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise UsageError("a picture must not contain NaN or infinite values")
        if low < span[0] or high > span[1]:
            raise UsageError(
                f"a float picture must have values from {span[0]:g} to {span[1]:g}, but these are {low:g} to {high:g}; "
                "give the Predictor value_range=(LOW, HIGH), the values of black and white"
            )
    return np.ascontiguousarray(render(Raw(np.ascontiguousarray(values), span=span), reading))
