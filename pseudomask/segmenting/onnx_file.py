"""The verb `export-model`: a segmentation network as an ONNX file, normalisation and argmax included."""

from __future__ import annotations

import importlib
import json
import logging
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pseudomask._version import __version__
from pseudomask.config import ExportModelConfig
from pseudomask.errors import PseudomaskError, SetupError, UsageError
from pseudomask.networks.card import Card
from pseudomask.networks.segmenter import Segmenter, load_segmenter
from pseudomask.quoting import count
from pseudomask.running.atomic import atomic_write
from pseudomask.running.jsonable import json_object
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.running.shown import Shown

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_TRIED = ((96, 128), (70, 51))
"""Sizes of the photos on which file and network are compared."""
_ALIKE = 0.999
"""Least share of pixels that must have the same class; the two sum in different orders."""


class Deployed(nn.Module):
    """Network with all that is around it."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network
        normalisation = network.backbone.normalisation
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", 255 * torch.tensor(normalisation.mean)[:, None, None])
        self.register_buffer("std", 255 * torch.tensor(normalisation.std)[:, None, None])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, H, W, 3) RGB → mask uint8 (N, H, W), probabilities float32 (N, labels, H, W)."""
        x = (image.permute(0, 3, 1, 2).float() - self.mean) / self.std
        logits: Tensor = self.network(x)
        return logits.argmax(1).to(torch.uint8), logits.softmax(1)


@dataclass(frozen=True)
class ExportModelResult(Shown):
    """What `export-model` did.

    Attributes:
        file: the file that was written, or None.
        classes: names of mask values 1, 2, …
        side: long side, in pixels, to which photos should be scaled.
        agreement: least share of the pixels of random photos on which onnxruntime and torch agree.
        understood: (label, value) lines instead of a summary.
    """

    file: Path | None
    network: str
    classes: tuple[str, ...]
    side: int
    agreement: float = 0.0
    understood: list[tuple[str, str]] = field(default_factory=list)
    exit_code: int = 0

    def summary(self) -> Sequence[tuple[str, object]]:
        if self.understood:
            return self.understood
        return [
            ("network", self.network),
            ("classes", f"{len(self.classes)} and background"),
            ("input", "image: uint8 (N, H, W, 3), RGB, 0 to 255, any size"),
            ("outputs", "mask: uint8 (N, H, W); probabilities: float32 (N, labels, H, W)"),
            ("best with", f"photos whose long side is {self.side} pixels"),
            ("verified", f"onnxruntime and torch agree on {100 * self.agreement:.2f} % of pixels"),
            ("file", str(self.file)),
        ]

    def to_json(self) -> dict[str, Any]:
        understood = [{"what": what, "value": value} for what, value in self.understood]
        return json_object({"schema": 1, **self.__dict__, "understood": understood})


def export_model(config: ExportModelConfig, reporter: Reporter | None = None) -> ExportModelResult:
    """Write a trained segmentation network as an ONNX file, and compare the two on random photos.

    Raises `WeightsError` for weights of another kind, `UsageError` where the file exists, `SetupError` without the
    extra [onnx], `PseudomaskError` if file and network disagree; then nothing is written.
    """
    reporter = reporter or SilentReporter()
    network, card = load_segmenter(config.weights)
    if config.file.exists() and not config.overwrite:
        raise UsageError(f"{config.file} exists; add --overwrite or choose another name")
    if config.file.suffix.lower() != ".onnx":
        raise UsageError(f"{config.file}: the name of the file must end in .onnx")
    if len(card.classes) > 254:
        raise UsageError(f"{config.weights}: {len(card.classes)} classes; ONNX masks are 8-bit and hold 254")
    _check_packages()
    name, side = card.segmenter["network"], int(card.segmenter.get("side", 0))
    result = ExportModelResult(None, name, card.classes, side)
    if config.dry_run:
        result.understood.append(("output", f"{config.file}; nothing was written"))
        return result
    reporter.info(f"{name} with {count(len(card.classes), 'class')}")
    deployed = Deployed(network).eval()
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, "model.onnx")
        _write(deployed, card, draft)
        agreement = compare(deployed, draft)
        if agreement < _ALIKE:
            raise PseudomaskError(
                f"onnxruntime and torch agree on only {100 * agreement:.1f} % of pixels; nothing was written"
            )
        with atomic_write(config.file) as file:
            file.write(draft.read_bytes())
    return ExportModelResult(config.file, name, card.classes, side, agreement)


def _check_packages() -> None:
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise SetupError(
                f"export-model needs the package {name} ({error}); install the extra: pip install 'pseudomask[onnx]'"
            ) from None


def _write(deployed: Deployed, card: Card, path: Path) -> None:
    import onnx

    free = torch.export.Dim.DYNAMIC
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(StringIO()):  # progress, and notes on torch's own code
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            deployed,
            (torch.zeros(2, 97, 130, 3, dtype=torch.uint8),),
            input_names=["image"],
            output_names=["mask", "probabilities"],
            dynamic_shapes={"image": {0: free, 1: free, 2: free}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, _facts(card))
    onnx.save_model(model, str(path))


def _facts(card: Card) -> dict[str, str]:
    """The file's metadata: what a program needs to use it, and where it comes from."""
    return {
        "classes": json.dumps(["background", *card.classes]),
        "palette": json.dumps(card.segmenter.get("palette", [])),
        "long_side": str(card.segmenter.get("side", 0)),
        "license": card.license,
        "pseudomask": __version__,
    }


def compare(deployed: Deployed, path: Path) -> float:
    """The least share of pixels, over random photos of several sizes, that have the same class by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng, shares = np.random.default_rng(0), []
    for height, width in _TRIED:
        image = rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        with torch.inference_mode():
            expected = deployed(torch.from_numpy(image))[0].numpy()
        shares.append(float((session.run(["mask"], {"image": image})[0] == expected).mean()))
    return min(shares)
