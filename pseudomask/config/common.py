"""What a setting is, and the settings that several verbs share."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pseudomask.config.roles import Role
from pseudomask.errors import UsageError

Amp = Literal["auto", "off", "bf16", "fp16"]
LabelFormat = Literal[
    "auto",
    "csv",
    "voc",
    "voc-main",
    "coco",
    "folders",
    "text",
    "per-image",
    "imagefolder",
    "label-studio",
    "cvat",
    "fiftyone",
    "parquet",
]


def option(
    default: Any, help: str, panel: str = "Options", *, role: Role = "result", of: tuple[str, ...] = (), **more: Any
) -> Any:
    """A field with its help text, shown under the heading `panel`. `role`, `of` and `before` are in `config.roles`; for
    the rest (such as `first`: one of the few that --help shows) see `config.settings`."""
    return field(default=default, metadata={"help": help, "panel": panel, "role": role, "of": of, **more})


def argument(help: str, *, role: Role = "place", default: Any = MISSING, **more: Any) -> Any:
    """A positional argument; without a default, it is required."""
    return field(default=default, metadata={"help": help, "positional": True, "role": role, **more})


_of_tags = partial(option, panel="Input", role="place")


@dataclass(frozen=True, kw_only=True)
class TagOptions:
    """Where tags come from and how they are read; a resumed run compares the tags themselves."""

    labels: Path | None = _of_tags(
        None,
        "Tags of the photos: a CSV/TSV file, a VOC or COCO data set, one folder per class, or a text file.",
        first=True,
    )
    label_format: LabelFormat = _of_tags("auto", "Format of --labels; auto detects it.")
    class_file: Path | None = _of_tags(None, "Class names, one per line, `background` first; sets the class order.")
    label_split: str | None = _of_tags(
        None, "Split to read (train, val, …) from a VOC data set, a table with a `split` column, or FiftyOne's tags."
    )
    tag_separator: str | None = _of_tags(
        None, "Separator of several tags in one cell; by default `;`, or `,` if `;` separates the columns."
    )
    image_column: str | None = _of_tags(None, "Table column with the photo names.")
    label_column: str | None = _of_tags(
        None,
        "Table column (FiftyOne: field) with the tags, or several 0/1 columns, one per class, separated by commas.",
    )
    no_class: str | None = _of_tags(None, "Tags that mean that a photo shows no class, comma-separated (none,nothing).")
    skip_tag: str | None = _of_tags(
        None, "Tags that mean unknown, comma-separated (NA,unknown); their rows are skipped."
    )
    merge_names: bool = _of_tags(False, "Merge class names that differ only in case, spaces, `_` or `-`.")
    map: str | None = _of_tags(
        None,
        "Tags that are classes by another name (airplane=aeroplane,couch=sofa), or a file of such lines.",
        metavar="TAG=CLASS,...|FILE",
    )
    unknown_tags: Literal["error", "drop"] = _of_tags(
        "error", "What to do with tags that are none of the weights' or the --class-file's classes."
    )
    count_from: int | None = _of_tags(
        None,
        "Number of the first class of --class-file if tags are numbers: 0 or 1; by default 1, or 0 for a Hugging Face "
        "metadata file.",
        min=0,
        max=1,
    )
    difficult: Literal["keep", "drop"] = _of_tags("keep", "Keep or drop VOC objects marked difficult.")
    crowd: Literal["ignore", "keep"] = _of_tags("ignore", "Ignore COCO crowd annotations, or keep them as tags.")


@dataclass(frozen=True, kw_only=True)
class PhotoReadingOptions:
    """How the values in a photo's file become colours (docs/photos.md)."""

    bits: int | Literal["auto"] = option(
        "auto",
        "Significant bits of 16-bit photos; auto finds them from the folder and reports them.",
        "Photos",
        min=8,
        max=16,
    )
    value_range: tuple[float, float] | None = option(
        None,
        "Values shown as black and white in photos with float, signed or 32-bit values; by default the range found in "
        "the folder.",
        "Photos",
        metavar="LOW,HIGH",
    )
    bands: tuple[int, ...] = option(
        (),
        "Bands used as red, green and blue, counted from 1, or one band used as grey; by default the first three.",
        "Photos",
        metavar="R,G,B",
        min=1,
    )
    alpha: Literal["white", "ignore"] = option(
        "white", "Blend transparent pixels with white, or ignore transparency.", "Photos"
    )

    def __post_init__(self) -> None:
        if len(self.bands) not in (0, 1, 3):
            raise UsageError(f"--bands takes 1 band or 3, not {len(self.bands)}")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise UsageError("--value-range: put the smaller value first, as in 0,4095")


@dataclass(frozen=True, kw_only=True)
class PhotoListOptions(PhotoReadingOptions):
    """Which photos are used."""

    list: Path | None = option(
        None,
        "Use only the photos named in this file (stems or relative paths, one per line; - is stdin).",
        "Input",
        role="place",
    )
    limit: int | None = option(None, "Use only the first N photos.", "Input", min=1, role="place")


@dataclass(frozen=True, kw_only=True)
class LabelOptions(PhotoListOptions, TagOptions):
    """Settings shared by the verbs that take photos with tags."""


@dataclass(frozen=True, kw_only=True)
class SeedOptions(PhotoListOptions):
    """Settings shared by the verbs that start from extract's output."""

    images: Path = argument("Folder of the photos that SEEDS were made from.")
    class_file: Path | None = option(
        None, "Class names, one per line, `background` first; must match those of SEEDS.", "Input", role="place"
    )


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Device, precision and worker processes."""

    device: str = option(
        "auto",
        "Device: auto, cpu, cuda, cuda:1 or mps; a missing one is an error.",
        "Machine",
        role="machine",
        first=True,
    )
    amp: Amp = option(
        "auto", "Mixed precision; auto uses bf16 on GPUs and CPUs that support it, else off.", "Machine", role="machine"
    )
    workers: int = option(
        -1,
        "Worker processes that decode photos (threads when training on a CPU); -1 chooses for this machine.",
        "Machine",
        min=-1,
        role="free",
    )


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """Setting of the verbs whose photos a GPU can decode."""

    decode: Literal["cpu", "gpu", "auto"] = option(
        "cpu",
        "Decode JPEG photos on the CPU, or by nvJPEG on the GPU, whose colours differ slightly (docs/gpu.md); auto "
        "means gpu if a check finds the difference small, else cpu.",
        "Machine",
    )


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """Settings shared by the verbs that make one mask per photo of a folder."""

    max_pixels: int = option(200_000_000, "Refuse photos with more pixels than this.", "Input", min=1)
    allow_truncated: bool = option(False, "Accept photos whose file is truncated.", "Input")
    mask_mode: Literal["palette", "index"] = option(
        "palette",
        "Masks as palette PNGs (class indices shown in colour), or as grey PNGs of indices for OpenCV readers.",
        "Output",
        role="masks",
    )
    hash_photos: bool = option(
        False,
        "Detect changed photos by their SHA-256, not by size and modification time.",
        "Input",
        role="free",
    )
    overlay: bool = option(
        False, "Also write OUT/overlays/….jpg: each photo with its mask on top.", "Output", role="free", first=True
    )
    max_failures: int = option(0, "Exit 0 if at most N photos are unreadable.", "Run", min=0, role="free")
    overwrite: bool = option(False, "Start over and replace what is in OUT.", "Run", role="free", first=True)
    prune: bool = option(
        False, "Remove masks, scores and overlays of photos that are no longer in IMAGES.", "Run", role="free"
    )
    dry_run: bool = option(False, "Print what would be done, and stop.", "Run", role="free", first=True)


@dataclass(frozen=True, kw_only=True)
class UpdateOptions:
    """Setting of the verbs that can bring a folder of masks up to date with other settings."""

    update: bool = option(
        False,
        "Remake each mask whose photo, tags or settings changed, and keep the others; without it, OUT made with other "
        "settings is refused.",
        "Run",
        role="free",
    )
