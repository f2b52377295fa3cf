"""What a setting is, and the settings that several verbs share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pseudomask.config.roles import Role

Amp = Literal["auto", "off", "bf16", "fp16"]
LabelFormat = Literal["auto", "csv", "voc", "voc-main", "coco", "folders", "text", "per-image", "imagefolder"]


def option(
    default: Any, help: str, panel: str = "Options", *, role: Role = "result", of: tuple[str, ...] = (), **more: Any
) -> Any:
    """A field with its help; `panel` is the group it is shown under, `role` and `of` are those of `roles`."""
    return field(default=default, metadata={"help": help, "panel": panel, "role": role, "of": of, **more})


def argument(help: str, *, role: Role = "place") -> Any:
    """A required positional argument."""
    return field(metadata={"help": help, "positional": True, "role": role})


@dataclass(frozen=True, kw_only=True)
class TagOptions:
    """Where tags come from."""

    labels: Path | None = option(
        None,
        "Tags of the photos: a CSV/TSV file, a VOC or COCO set, a folder a class, a text file.",
        "Input",
        role="place",
    )
    label_format: LabelFormat = option("auto", "Kind of --labels, when it is not what it looks like.", "Input")
    class_file: Path | None = option(
        None, "Class names, one a line, `background` first; fixes their order.", "Input", role="place"
    )
    label_split: str | None = option(
        None, "Split to read of a VOC set, or of a table with a `split` column (train, val, …).", "Input"
    )
    difficult: Literal["keep", "drop"] = option("keep", "VOC objects marked difficult.", "Input")
    crowd: Literal["ignore", "keep"] = option("ignore", "COCO crowd annotations as tags.", "Input")


@dataclass(frozen=True, kw_only=True)
class PhotoListOptions:
    """Which of the photos are used."""

    list: Path | None = option(
        None,
        "Use only the photos named in this file (stems or relative paths, one a line; - is stdin).",
        "Input",
        role="place",
    )
    limit: int | None = option(None, "Use only the first N photos.", "Input", min=1, role="place")


@dataclass(frozen=True, kw_only=True)
class LabelOptions(PhotoListOptions, TagOptions):
    """What the verbs share that take photos with tags."""


@dataclass(frozen=True, kw_only=True)
class SeedOptions(PhotoListOptions):
    """What the verbs share that go on from what extract wrote."""

    images: Path = argument("Folder of the photos that SEEDS was made from.")
    class_file: Path | None = option(
        None, "Class names, one a line, `background` first; must be those of SEEDS.", "Input", role="place"
    )


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where and how numbers are computed."""

    device: str = option(
        "auto", "auto, cpu, cuda, cuda:1 or mps; one asked for and absent is an error.", "Machine", role="machine"
    )
    amp: Amp = option(
        "auto", "Mixed precision: auto is bf16 on GPUs and CPUs that have it, else off.", "Machine", role="machine"
    )
    workers: int = option(
        -1,
        "Processes (in training on a CPU: threads) that decode photos; -1: by the machine.",
        "Machine",
        min=-1,
        role="free",
    )


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """What the verbs share that make a mask of each photo of a folder."""

    max_pixels: int = option(200_000_000, "Photos with more pixels are refused.", "Input", min=1)
    allow_truncated: bool = option(False, "Use photos whose file is cut off.", "Input")
    mask_mode: Literal["palette", "index"] = option(
        "palette", "Colours people see, or plain indices for readers that use OpenCV.", "Output", role="masks"
    )
    hash_photos: bool = option(
        False,
        "Note each photo's SHA-256 too: then its content tells whether it changed, not its size and time.",
        "Input",
        role="free",
    )
    overlay: bool = option(False, "Also write OUT/overlays/….jpg, photo and mask together.", "Output", role="free")
    max_failures: int = option(0, "So many unreadable photos still count as success.", "Run", min=0, role="free")
    overwrite: bool = option(False, "Make everything anew, over what OUT holds.", "Run", role="free")
    prune: bool = option(
        False, "Remove masks, scores and overlays of photos that are no longer in IMAGES.", "Run", role="free"
    )
    dry_run: bool = option(False, "Say what was understood, and stop.", "Run", role="free")
