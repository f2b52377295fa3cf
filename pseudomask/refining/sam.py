"""Regions from a Segment Anything model (SAM 1, SAM 2.1 or the tracker of SAM 3), prompted with a grid of points.

These models were trained on masks of other images. A photo's regions are computed once and cached in a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pseudomask.config import RefineConfig
from pseudomask.errors import MissingExtra, UsageError, WeightsError
from pseudomask.refining.proposal_files import Proposals, file_of, load_proposals, save_proposals
from pseudomask.refining.refiner import Refined, Refiner
from pseudomask.refining.regions import Region, refine_by, region_of
from pseudomask.running.halving import OUT_OF_MEMORY, memory_errors
from pseudomask.scores import ScoreMap

INSTALL = "pip install 'pseudomask[foundation]'"


@dataclass(frozen=True)
class Sam:
    """The refiner; see `SamOptions`. It holds only the model's name; each process loads the model on first use.

    `folder`: where the regions are cached, by photo key.
    """

    model: str
    folder: Path
    points: int = 32
    iou: float = 0.88
    stability: float = 0.95
    batch: int = 64
    side: int = 1024
    device: str = "cpu"

    def of_photo(self, key: str) -> Refiner:
        return OfPhoto(self, file_of(self.folder, key))

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        """Without a key, nothing is cached."""
        return refine_by(self.regions, self.side, photo, scores, threshold)

    def regions(self, photo: np.ndarray, stride: int) -> Iterator[Region]:
        return (region_of(mask, stride) for mask in self.masks(photo))

    def check(self, photos: Iterable[tuple[str, Path]]) -> None:
        """Load the model. Raise `UsageError` if a file it would overwrite contains regions from another source."""
        _ = self._generator
        for key, _path in photos:
            file = file_of(self.folder, key)
            if file.exists() and load_proposals(file).stamp is None:
                raise UsageError(
                    f"{file}: sam did not make these regions; use the refiner proposals to assign them, or another "
                    "--proposals"
                )

    def stamp(self, photo: np.ndarray) -> dict[str, Any]:
        """Everything that determines a photo's regions."""
        names = ("model", "points", "iou", "stability")
        pixels = hashlib.sha256(photo.tobytes()).hexdigest()
        return {name: getattr(self, name) for name in names} | {"pixels": pixels}

    def masks(self, photo: np.ndarray) -> list[np.ndarray]:
        """The model's masks, each bool (H, W), most confident first; empty if no mask passes the thresholds."""
        import torch

        with torch.inference_mode():
            try:
                found = self._generator(
                    Image.fromarray(photo),
                    points_per_crop=self.points,
                    points_per_batch=self.batch,
                    pred_iou_thresh=self.iou,
                    stability_score_thresh=self.stability,
                )
            except (IndexError, ValueError) as error:
                if "empty" in str(error) or "stack" in str(error):  # no mask passed
                    return []
                raise
        return [np.asarray(mask).astype(bool) for mask in found["masks"]]

    @cached_property
    def _generator(self) -> Any:
        return load_generator(self.model, self.device)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_generator"}


@dataclass(frozen=True)
class OfPhoto:
    """The refiner for one photo, whose regions are cached in `file`."""

    sam: Sam
    file: Path

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        return refine_by(self.regions, self.sam.side, photo, scores, threshold)

    def regions(self, photo: np.ndarray, stride: int) -> Iterator[Region]:
        stamp = self.sam.stamp(photo)
        kept = self._kept()
        if kept is None or kept.stamp != stamp or kept.size not in (None, photo.shape[:2]):
            height, width = photo.shape[:2]
            save_proposals(self.file, self.sam.masks(photo), (height, width), stamp)
            kept = load_proposals(self.file)
        return (region_of(mask, stride) for mask in kept.masks())

    def _kept(self) -> Proposals | None:
        """The cached regions; None if the file is missing or damaged."""
        try:
            return load_proposals(self.file)
        except UsageError:
            return None


def load_generator(name: str, device: str) -> Any:
    """The transformers mask-generation pipeline with a model from a folder or, by name, from the hub.

    It reads only safetensors weights and runs no code that comes with a model. Raises `WeightsError` if the model is
    unavailable or of another type.
    """
    import torch
    import transformers
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity_error()
    local = Path(name).expanduser()
    here = {"local_files_only": True} if local.is_dir() else {}
    place = str(local) if here else name
    try:
        config = transformers.AutoConfig.from_pretrained(place, **here)
        if type(config) not in transformers.MODEL_FOR_MASK_GENERATION_MAPPING:
            raise WeightsError(f"--sam-model {name}: a {config.model_type} model, not SAM 1, SAM 2.1 or SAM 3")
        model = transformers.AutoModelForMaskGeneration.from_pretrained(
            place, dtype=torch.float32, use_safetensors=True, **here
        )
        processor = transformers.AutoImageProcessor.from_pretrained(place, **here)
        with memory_errors():
            return transformers.pipeline("mask-generation", model=model, image_processor=processor, device=device)
    except OUT_OF_MEMORY:
        raise
    except Exception as error:  # hub, files, tensor shapes: transformers may raise anything
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(_reason(name, local, error)) from error


def _reason(name: str, local: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "gated" in text.lower() or "401" in text or "403" in text:
        advice = "accept its licence on its page and run `hf auth login`, or take facebook/sam2.1-hiera-small"
        return f"--sam-model {name}: access to this model is restricted; {advice}"
    if local.is_dir():
        return f"--sam-model {name}: not a folder that `save_pretrained` wrote for a SAM model: {text[:200]}"
    return f"--sam-model {name}: no such folder, and no model of this name could be had: {text[:200]}"


def make(config: RefineConfig, device: str) -> Sam:
    """Raises `MissingExtra` without transformers 5, `UsageError` without a model."""
    if config.sam_model is None:
        raise UsageError(
            "sam needs a model; give --sam-model FOLDER or the name of one, such as facebook/sam2.1-hiera-small"
        )
    if config.proposals is not None and config.proposals.exists() and not config.proposals.is_dir():
        raise UsageError(f"--proposals {config.proposals}: is a file, not a folder")
    if find_spec("transformers") is None:
        raise MissingExtra(f"sam needs transformers; {INSTALL}")
    if (found := version("transformers")).partition(".")[0] != "5":
        raise MissingExtra(f"sam needs transformers 5, not {found}; {INSTALL}")
    return Sam(
        model=config.sam_model,
        folder=config.proposals or config.out / "proposals",
        points=config.sam_points,
        iou=config.sam_iou,
        stability=config.sam_stability,
        batch=config.sam_batch,
        side=config.region_side,
        device=device,
    )
