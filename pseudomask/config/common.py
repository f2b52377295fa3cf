"""What a setting is, and the settings that several verbs share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pseudomask.config.roles import Role
from pseudomask.errors import UsageError

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


_of_tags = partial(option, panel="Input", role="place")


@dataclass(frozen=True, kw_only=True)
class TagOptions:
    """Where tags come from, and how they are read: on resume the tags themselves are compared."""

    labels: Path | None = _of_tags(
        None, "Tags of the photos: a CSV/TSV file, a VOC or COCO set, a folder a class, a text file."
    )
    label_format: LabelFormat = _of_tags("auto", "Kind of --labels, when it is not what it looks like.")
    class_file: Path | None = _of_tags(None, "Class names, one a line, `background` first; fixes their order.")
    label_split: str | None = _of_tags(
        None, "Split to read of a VOC set, or of a table with a `split` column (train, val, …)."
    )
    tag_separator: str | None = _of_tags(
        None, "What parts several tags in one cell (default: `;`, in a table whose columns `;` parts: `,`)."
    )
    image_column: str | None = _of_tags(None, "Column of a table that names the photos.")
    label_column: str | None = _of_tags(
        None, "Column of a table that holds the tags; several, with `,` between: a 0/1 column for each class."
    )
    no_class: str | None = _of_tags(
        None, "Tags that mean that a photo shows no class, with `,` between (none,nothing)."
    )
    skip_tag: str | None = _of_tags(
        None, "Tags that say nothing (NA,unknown), with `,` between: their rows are left out."
    )
    merge_names: bool = _of_tags(False, "Names that differ by case, blanks, `_` or `-` alone are one class.")
    count_from: int | None = _of_tags(
        None,
        "Number of --class-file's first class where tags are numbers: 0 or 1; by default 1, in a Hugging Face metadata "
        "file 0.",
        min=0,
        max=1,
    )
    difficult: Literal["keep", "drop"] = _of_tags("keep", "VOC objects marked difficult.")
    crowd: Literal["ignore", "keep"] = _of_tags("ignore", "COCO crowd annotations as tags.")


@dataclass(frozen=True, kw_only=True)
class PhotoReadingOptions:
    """How the numbers in a photo's file become its colours (docs/photos.md)."""

    bits: int | Literal["auto"] = option(
        "auto",
        "Significant bits of photos with 16-bit values; auto looks at the folder and says what it found.",
        "Photos",
        min=8,
        max=16,
    )
    value_range: tuple[float, float] | None = option(
        None,
        "Values that become black and white in photos with float, signed or 32-bit values; by default what the "
        "folder's photos hold.",
        "Photos",
        metavar="LOW,HIGH",
    )
    bands: tuple[int, ...] = option(
        (),
        "Bands that are read as red, green and blue, counted from 1, or the one that is read as grey; by default the "
        "first three.",
        "Photos",
        metavar="R,G,B",
        min=1,
    )
    alpha: Literal["white", "ignore"] = option(
        "white", "Lay transparent pixels over white, or ignore the transparency.", "Photos"
    )

    def __post_init__(self) -> None:
        if len(self.bands) not in (0, 1, 3):
            raise UsageError(f"--bands takes one band or three, not {len(self.bands)}")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise UsageError("--value-range takes the smaller value first, such as 0,4095")


@dataclass(frozen=True, kw_only=True)
class PhotoListOptions(PhotoReadingOptions):
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
