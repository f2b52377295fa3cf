"""What the network is given: by table on a CPU, by arithmetic elsewhere, and both are torchvision's normalisation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.functional import normalize

from pseudomask.data.pixels import IMAGENET, Normalisation

SIZES = [(2, 7, 5), (1, 1, 1), (3, 1, 4), (1, 600, 700)]


def photos(n: int, h: int, w: int) -> Tensor:
    return torch.randint(0, 256, (n, h, w, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(h))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ways", [(False,), (True,), (False, True)])
def test_it_is_imagenets_normalisation(size: tuple[int, int, int], ways: tuple[bool, ...]) -> None:
    pixels = photos(*size)
    found = IMAGENET.to_input(pixels, ways=ways)
    plain = normalize(pixels.permute(0, 3, 1, 2) / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    expected = torch.cat([plain.flip(3) if mirrored else plain for mirrored in ways])
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", SIZES)
def test_table_and_arithmetic_agree(dtype: torch.dtype, size: tuple[int, int, int]) -> None:
    pixels = photos(*size)
    looked_up, computed = (
        how(pixels, dtype, (False, True)) for how in (IMAGENET._input_looked_up, IMAGENET._input_computed)
    )
    assert looked_up.dtype == computed.dtype == dtype
    assert torch.allclose(looked_up.float(), computed.float(), rtol=0 if dtype == torch.float32 else 0.01, atol=1e-5)


def test_each_network_has_its_own() -> None:
    half = Normalisation((0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    pixels = torch.tensor([[[[0, 51, 255], [255, 255, 0]]]], dtype=torch.uint8)
    expected = torch.tensor([[-1.0, 1.0], [-0.2, 3.0], [1.0, 0.0]])[None, :, None]
    assert torch.allclose(half.to_input(pixels), expected, atol=1e-5)
    assert torch.allclose(half._input_computed(pixels, torch.float32, (False,)), expected, atol=1e-5)
    assert half.mean_level.tolist() == [128, 64, 0]
