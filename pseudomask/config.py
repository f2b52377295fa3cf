"""The settings of every verb: each field is one flag, one environment variable and one TOML key.

Nothing here imports torch, so that `pseudomask --help` answers at once. A field's metadata holds its
help text, and `positional` where it is an argument; `cli.options` turns a class into a command.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Amp = Literal["auto", "off", "bf16", "fp16"]
LabelFormat = Literal["auto", "csv", "voc", "voc-main", "coco", "folders", "text", "per-image", "imagefolder"]
Freeze = Literal["none", "stem", "layer1", "layer2", "layer3", "layer4"]
Style = Literal["pytorch", "caffe"]
"""Where a stage's stride sits: in its 3×3 convolution (`pytorch`) or in its first 1×1 one (`caffe`)."""
WeightRule = Literal["product", "first", "second", "sum"]
"""Which classifier's weights make the map: w ⊙ w″ (the paper's VOC rule), w (its COCO rule), w″, w + w″."""
CpmcWeights = Literal["auto", "product", "first", "second", "sum"]
CpmcRefine = Literal["propagate", "reassign", "both", "none"]
CpmcFeatures = Literal["auto", "layer4", "hierarchical", "heads"]
CalibTarget = Literal["prototype", "classifier", "argmax"]
CpmcCalibration = Literal["soft", "hard"]
CpmcOutput = Literal["calibrated", "refined"]
CrfEngine = Literal["auto", "torch", "pydensecrf"]
CrfPreset = Literal["irn", "deeplab"]
"""Published kernel settings; `refining.crf.PRESETS` has the values."""
CrfUnary = Literal["hard", "soft"]
"""What the CRF starts from: the mask at the threshold, or the scores themselves."""

REQUIRED: Any = None
"""Stands for "no default": dataclasses want optional fields last, people want the important first."""


def option(default: Any, help: str, panel: str = "Options", **more: Any) -> Any:
    """A field with its help; `panel` is the group it is shown under."""
    return field(default=default, metadata={"help": help, "panel": panel, **more})


def argument(help: str) -> Any:
    """A required positional argument."""
    return field(metadata={"help": help, "positional": True})


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Where tags come from."""

    labels: Path | None = option(
        None, "Tags of the photos: a CSV/TSV file, a VOC or COCO set, a folder a class, a text file.", "Input"
    )
    label_format: LabelFormat = option("auto", "Kind of --labels, when it is not what it looks like.", "Input")
    class_file: Path | None = option(None, "Class names, one a line, `background` first; fixes their order.", "Input")
    label_split: str | None = option(
        None, "Split to read of a VOC set, or of a table with a `split` column (train, val, …).", "Input"
    )
    difficult: Literal["keep", "drop"] = option("keep", "VOC objects marked difficult.", "Input")
    crowd: Literal["ignore", "keep"] = option("ignore", "COCO crowd annotations as tags.", "Input")
    list: Path | None = option(
        None,
        "Use only the photos named in this file (stems or relative paths, one a line; - is stdin).",
        "Input",
    )
    limit: int | None = option(None, "Use only the first N photos.", "Input", min=1)


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where and how numbers are computed."""

    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps; one asked for and absent is an error.", "Machine")
    amp: Amp = option("auto", "Mixed precision: auto is bf16 on GPUs and CPUs that have it, else off.", "Machine")
    workers: int = option(-1, "Processes that decode photos; -1 chooses by the machine.", "Machine", min=-1)


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions(DeviceOptions):
    """What all training verbs share (METHODS: the CAM literature's schedule)."""

    epochs: int = option(5, "Passes over the photos.", "Training", min=1)
    batch_size: int = option(16, "Photos a step.", "Training", min=1)
    crop: int = option(512, "Side of the square training crop, in pixels.", "Training", min=32)
    min_side: int | None = option(
        None,
        "Smallest random long side of a photo before the crop; by default 0.625 × crop.",
        "Training",
        min=16,
    )
    max_side: int | None = option(
        None, "Largest random long side of a photo before the crop; by default 1.25 × crop.", "Training", min=16
    )
    lr: float = option(0.02, "Learning rate of the backbone.", "Training", min=0.0)
    momentum: float = option(
        0.0,
        "SGD's momentum. The published ReCAM and IRN numbers come from about 0; with 0.9 divide --lr by 10.",
        "Training",
        min=0.0,
        max=0.999,
    )
    weight_decay: float = option(1e-4, "SGD's weight decay.", "Training", min=0.0)
    power: float = option(0.9, "Exponent of the polynomial learning-rate decay.", "Training", min=0.0)
    warmup: int = option(0, "Steps over which the learning rate rises linearly from 0.", "Training", min=0)
    clip: float = option(0.0, "Largest gradient norm; 0 does not clip.", "Training", min=0.0)
    seed: int = option(0, "Seed of every random choice; recorded.", "Training", min=0)
    checkpoint_every: int = option(
        100, "Steps between checkpoints (one is also written at each epoch's end).", "Training", min=1
    )
    weights_dtype: Literal["fp16", "fp32"] = option("fp16", "Precision of the saved weights.", "Training")
    license: str = option("unknown", "Licence of the weights, written into their card.", "Training")
    data_name: str | None = option(None, "Name of the training data in the weights' card.", "Training")
    overwrite: bool = option(False, "Start anew where RUN holds other training.", "Run")
    dry_run: bool = option(False, "Say what was understood, and stop.", "Run")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(LabelOptions, ScheduleOptions):
    """What the verbs share that train on photos with tags."""

    images: Path = argument("Folder of photos, searched with its subfolders.")
    run: Path = argument("Folder for the weights, the checkpoint and the log.")
    val_list: Path | None = option(
        None, "Photos held out to measure loss and average precision; never trained on.", "Input"
    )
    val_fraction: float = option(
        0.05, "Share of the photos held out when --val-list is not given.", "Input", min=0.0, max=0.9
    )
    lr_head: float | None = option(
        None, "Learning rate of the newest classifier; by default 10 × --lr.", "Training", min=0.0
    )
    freeze: Freeze = option(
        "stem", "Hold the backbone fixed up to here: ReCAM fixes the stem, IRN up to layer2.", "Training"
    )


@dataclass(frozen=True, kw_only=True)
class TrainClsConfig(TrainingOptions):
    """Train the multi-label classifier whose weights make class activation maps."""

    backbone: str = option("resnet50", "A torchvision ResNet.", "Network")
    backbone_weights: Path | None = option(
        None,
        "A safetensors file in torchvision's naming; by default torchvision's ImageNet weights.",
        "Network",
    )
    backbone_style: Style = option(
        "pytorch", "Where these weights have their stride: 3×3 (pytorch) or first 1×1 (caffe).", "Network"
    )
    output_stride: int = option(16, "16, or 8 for finer and four times slower maps.", "Network")


@dataclass(frozen=True, kw_only=True)
class ReactivateConfig(TrainingOptions):
    """Train ReCAM's second classifier on features pooled under each class's map."""

    weights: Path | None = option(None, "Weights that train-cls wrote.", "Network")
    sce_weight: float = option(
        1.0, "λ, the softmax loss's weight: 1 for VOC, 0.1 for COCO in the paper.", "Training", min=0.0
    )
    epochs: int = option(2, "Passes over the photos.", "Training", min=1)
    lr: float = option(5e-5, "Learning rate of the first classifier and of what is not frozen.", "Training", min=0.0)
    lr_head: float | None = option(0.1, "Learning rate of the second classifier.", "Training", min=0.0)
    freeze: Freeze = option(
        "layer4",
        "Hold the backbone fixed up to here. layer4, all of it, measured best on small sets; the paper fixes "
        "the stem only: --freeze stem --epochs 4 --lr-head 5e-4.",
        "Training",
    )


@dataclass(frozen=True, kw_only=True)
class CpmcOptions:
    """The steps of CPMC that extraction and training share (docs/methods-cpmc.md)."""

    cpmc_weights: CpmcWeights = option(
        "auto",
        "Which classifier's map is calibrated; auto: recam's, or w where the weights have no second classifier.",
        "CPMC",
    )
    cpmc_refine: CpmcRefine = option(
        "propagate", "How the classifier's map is refined by context; both: propagate, then reassign once.", "CPMC"
    )
    cpmc_iterations: int = option(4, "How often it is refined; 0 is not at all.", "CPMC", min=0)
    cpmc_power: float = option(4.0, "Exponent of the features' similarity in propagate.", "CPMC")
    cpmc_background: float = option(
        0.5, "Weight of the background in the seeds that prototypes are made from.", "CPMC", min=0.0
    )
    cpmc_contrast: float = option(
        0.9, "Share of the background prototype's similarity that a class must exceed.", "CPMC", min=0.0
    )
    calib_target: CalibTarget = option(
        "prototype",
        "Which map is held to be wrong where the two disagree; argmax: the prototype's, by classes, not thresholds.",
        "CPMC",
    )
    cpmc_high: float = option(0.6, "A map says yes from here on, where maps disagree.", "CPMC", min=0.0, max=1.0)
    cpmc_low: float = option(0.5, "And no below this.", "CPMC", min=0.0, max=1.0)
    cpmc_kappa: float = option(0.0, "κ: weight of the parts found missing; 0 adds none.", "CPMC", min=0.0)
    cpmc_lambda: float = option(0.0, "λ: weight of the noise found; 0 takes none away.", "CPMC", min=0.0)
    cpmc_calibration: CpmcCalibration = option(
        "soft", "Subtract the noise, or cut out where it exceeds the class.", "CPMC"
    )


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig(TrainingOptions, CpmcOptions):
    """Train CPMC's heads: what prototypes are made of, so that they agree with the classifier's refined map."""

    weights: Path | None = option(None, "Weights that train-cls or reactivate wrote.", "Network")
    consistency: float = option(
        1.0, "α: weight of the difference between the two maps, beside the classification loss.", "Training", min=0.0
    )
    epochs: int = option(2, "Passes over the photos.", "Training", min=1)
    lr: float = option(5e-5, "Learning rate of the classifier and of what is not frozen.", "Training", min=0.0)
    lr_head: float | None = option(1.0, "Learning rate of the heads.", "Training", min=0.0)
    freeze: Freeze = option(
        "layer4",
        "Hold the backbone fixed up to here; layer4, all of it, leaves the classifier's map as it is.",
        "Training",
    )


@dataclass(frozen=True, kw_only=True)
class TrainAffinityConfig(ScheduleOptions):
    """Train the boundary network of `refine --method walk` on what seeds are sure of."""

    images: Path = argument("Folder of the photos that SEEDS was made from.")
    seeds: Path = argument("What extract wrote: it must hold scores/.")
    run: Path = argument("Folder for the confident labels, the weights, the checkpoint and the log.")
    weights: Path | None = option(
        None,
        "Weights whose backbone is used, as it is; by default $PSEUDOMASK_WEIGHTS, else those that come with "
        "pseudomask.",
        "Network",
    )
    list: Path | None = option(
        None,
        "Use only the photos named in this file (stems or relative paths, one a line; - is stdin).",
        "Input",
    )
    limit: int | None = option(None, "Use only the first N photos.", "Input", min=1)
    class_file: Path | None = option(
        None, "Class names, one a line, `background` first; must be those of SEEDS.", "Input"
    )
    confident_foreground: float | None = option(
        None,
        "A score above this is surely its class; by default 0.12 above the threshold of SEEDS' masks.",
        "Labels",
        min=0.0,
        max=1.0,
    )
    confident_background: float | None = option(
        None,
        "Where no score is above this is surely background; by default 0.10 below the threshold of SEEDS' masks.",
        "Labels",
        min=0.0,
        max=1.0,
    )
    confident_crf: bool = option(True, "Make both masks follow the photo's edges, by the CRF.", "Labels")
    radius: int = option(
        10, "Pairs of pixels nearer than this are compared, in steps of 4 photo pixels.", "Training", min=2, max=32
    )
    epochs: int = option(3, "Passes over the photos.", "Training", min=1)
    crop: int = option(320, "Side of the square training crop, in pixels; IRN's is 512.", "Training", min=32)
    min_side: int = option(250, "Smallest random long side of a photo before the crop.", "Training", min=16)
    max_side: int = option(750, "Largest random long side of a photo before the crop.", "Training", min=16)
    lr: float = option(0.1, "Learning rate of the boundary network's head; the backbone stays.", "Training", min=0.0)


@dataclass(frozen=True, kw_only=True)
class ExtractConfig(LabelOptions, DeviceOptions, CpmcOptions):
    """Make pseudo masks and scores from photos."""

    images: Path = argument("Folder of photos, searched with its subfolders.")
    out: Path = argument("Folder for masks, scores, manifest.jsonl and run.json.")
    method: str = option("recam", "How maps are made: cam, recam; an unknown name lists all.", "Method")
    weights: Path | None = option(
        None, "Weights; by default $PSEUDOMASK_WEIGHTS, else those that come with pseudomask.", "Method"
    )
    recam_weights: WeightRule | None = option(
        None,
        "Which classifier makes recam's map: w⊙w″ (product), w, w″ or w+w″; by default what the weights' card "
        "recommends, else product.",
        "Method",
    )
    threshold: float | None = option(
        None,
        "Background where no class scores above this; by default the weights' own.",
        "Method",
        min=0.0,
        max=1.0,
    )
    scales: str = option("1.0,0.5,1.5,2.0", "Sizes at which each photo is seen, comma-separated.", "Method")
    flip: bool = option(True, "See each size mirrored too.", "Method")
    max_side: int = option(
        640,
        "Photos with a longer side are first reduced to it; masks keep the photo's size.",
        "Method",
        min=32,
    )
    cpmc_features: CpmcFeatures = option(
        "auto",
        "What prototypes are made of: calibrate's heads, all four stages, or the last; auto: the heads where the "
        "weights carry them, else all stages.",
        "CPMC",
    )
    cpmc_gamma: float = option(
        0.0, "γ: weight of the classifier's refined map beside the calibrated one.", "CPMC", min=0.0
    )
    cpmc_output: CpmcOutput = option(
        "calibrated", "The result, or the classifier's refined map alone (no prototypes).", "CPMC"
    )
    score_stride: int = option(4, "Pixels of the (reduced) photo per stored score.", "Output", min=1, max=16)
    score_bits: Literal["8", "16"] = option("8", "Bits a stored score.", "Output")
    mask_mode: Literal["palette", "index"] = option(
        "palette", "Colours people see, or plain indices for readers that use OpenCV.", "Output"
    )
    overlay: bool = option(False, "Also write OUT/overlays/….jpg, photo and mask together.", "Output")
    scores: bool = option(True, "Write OUT/scores/….npz, for evaluate's sweep and for refine.", "Output")
    batch_size: int = option(4, "Photos of equal shape computed together.", "Machine", min=1)
    max_pixels: int = option(200_000_000, "Photos with more pixels are refused.", "Input", min=1)
    allow_truncated: bool = option(False, "Use photos whose file is cut off.", "Input")
    max_failures: int = option(0, "So many unreadable photos still count as success.", "Run", min=0)
    overwrite: bool = option(False, "Make everything anew, over what OUT holds.", "Run")
    dry_run: bool = option(False, "Say what was understood, and stop.", "Run")


@dataclass(frozen=True, kw_only=True)
class CrfOptions:
    """Settings of the dense CRF; None takes the preset's value."""

    engine: CrfEngine = option(
        "auto",
        "What computes the CRF: our torch code, pydensecrf (extra [crf], Python below 3.13), or the faster of them.",
        "CRF",
    )
    crf_preset: CrfPreset = option(
        "irn", "Kernels as IRN and ReCAM have them (3/3, 50/5/10), or as DeepLab has them (1/3, 67/3/4).", "CRF"
    )
    crf_unary: CrfUnary = option("hard", "Start from the mask at the threshold, or softly from the scores.", "CRF")
    crf_gt_prob: float | None = option(
        None, "Trust in what it starts from, between 0.5 and 1; by default 0.7 (hard) or 0.9 (soft).", "CRF"
    )
    crf_iterations: int = option(10, "Mean-field steps; 0 leaves what it starts from.", "CRF", min=0)
    crf_side: int = option(
        1024, "Larger photos are reduced by a whole number, so that their long side is at most this.", "CRF", min=16
    )
    crf_gauss_xy: float | None = option(None, "Reach of the smoothness kernel, in pixels of the photo.", "CRF")
    crf_gauss_weight: float | None = option(None, "Its weight; 0 leaves it out.", "CRF", min=0.0)
    crf_bilateral_xy: float | None = option(None, "Reach of the appearance kernel, in pixels of the photo.", "CRF")
    crf_bilateral_rgb: float | None = option(None, "Its reach in colour, of 255.", "CRF")
    crf_bilateral_weight: float | None = option(None, "Its weight; 0 leaves it out.", "CRF", min=0.0)


@dataclass(frozen=True, kw_only=True)
class PamrOptions:
    """Pixel-adaptive refinement (METHODS 5.3)."""

    pamr_iterations: int = option(
        10, "How often each pixel takes its neighbours' mean; 0 is not at all.", "PAMR", min=0
    )
    pamr_dilations: tuple[int, ...] = option(
        (1, 2, 4, 8, 12, 24), "How far away the 8 neighbours lie, in working pixels.", "PAMR", min=1, max=64
    )
    pamr_softness: float = option(
        0.1, "Smaller: only neighbours of nearly the same colour count.", "PAMR", min=0.001, max=100.0
    )
    pamr_side: int = option(160, "Photos are reduced so that their long side is at most this.", "PAMR", min=16)


@dataclass(frozen=True, kw_only=True)
class WalkOptions:
    """The affinity random walk (METHODS 1.8)."""

    affinity: Path | None = option(None, "Weights that train-affinity wrote; walk needs them.", "Walk")
    walk_power: float = option(
        1.0, "Exponent of the scores before the walk; 1.5 for seeds that spread too far.", "Walk", min=0.01, max=100.0
    )
    walk_radius: int = option(
        5, "How far one step reaches, in working pixels of 4 photo pixels.", "Walk", min=2, max=32
    )
    walk_beta: float = option(
        10.0, "Exponent of the affinity: higher lets less pass an edge.", "Walk", min=0.01, max=1000.0
    )
    walk_steps: int = option(8, "The walk takes 2 to the power of this many steps.", "Walk", min=0, max=16)
    walk_threshold: float = option(
        0.28, "Background's height after the walk, where a photo's highest score is 1.", "Walk", min=0.0, max=1.0
    )
    walk_side: int = option(
        640, "Larger photos are reduced by a whole number, so that their long side is at most this.", "Walk", min=64
    )
    amp: Amp = option(
        "auto", "Mixed precision of walk's network: auto is bf16 on GPUs and CPUs that have it, else off.", "Machine"
    )


@dataclass(frozen=True, kw_only=True)
class RefineConfig(CrfOptions, PamrOptions, WalkOptions):
    """Make masks follow the photos' edges."""

    images: Path = argument("Folder of the photos that SEEDS was made from.")
    seeds: Path = argument("What extract wrote, or refine --scores: it must hold scores/.")
    out: Path = argument("Folder for masks, manifest.jsonl and run.json.")
    method: tuple[str, ...] = option(
        (),
        "crf, pamr or walk, or several in turn, such as walk,crf. By default walk where --affinity is given, else crf; "
        "pamr is coarser and much faster.",
        "Method",
    )
    threshold: float | Literal["auto"] | None = option(
        None,
        "Background's height in the scores of SEEDS; by default that of SEEDS' masks. auto: chosen from photos and "
        "scores alone, without true masks (and so is --walk-threshold).",
        "Method",
        min=0.0,
        max=1.0,
    )
    auto_sample: int = option(64, "Photos that --threshold auto looks at, evenly spread.", "Method", min=1)
    list: Path | None = option(
        None,
        "Use only the photos named in this file (stems or relative paths, one a line; - is stdin).",
        "Input",
    )
    limit: int | None = option(None, "Use only the first N photos.", "Input", min=1)
    class_file: Path | None = option(
        None, "Class names, one a line, `background` first; must be those of SEEDS.", "Input"
    )
    max_pixels: int = option(200_000_000, "Photos with more pixels are refused.", "Input", min=1)
    allow_truncated: bool = option(False, "Use photos whose file is cut off.", "Input")
    mask_mode: Literal["palette", "index"] = option(
        "palette", "Colours people see, or plain indices for readers that use OpenCV.", "Output"
    )
    overlay: bool = option(False, "Also write OUT/overlays/….jpg, photo and mask together.", "Output")
    scores: bool = option(False, "Also write OUT/scores/….npz: for a further refine, or for evaluate.", "Output")
    score_bits: Literal["8", "16"] = option("8", "Bits a stored score.", "Output")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps; one asked for and absent is an error.", "Machine")
    workers: int = option(
        -1, "Processes; -1 is one a core (one in all on a GPU), 0 none but this one.", "Machine", min=-1
    )
    max_failures: int = option(0, "So many photos without a mask still count as success.", "Run", min=0)
    overwrite: bool = option(False, "Make everything anew, over what OUT holds.", "Run")
    dry_run: bool = option(False, "Say what was understood, and stop.", "Run")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Compare masks, or scores at all thresholds, with true masks."""

    pred: Path = argument("Folder that extract wrote, or any folder of mask PNGs or score files.")
    gt: Path = argument("Folder of true masks (PNG of class indices; 255 is ignored).")
    list: Path | None = option(None, "Evaluate only what this file names; all of it must be there.", "Input")
    class_file: Path | None = option(None, "Class names, one a line, `background` first.", "Input")
    classes: str | None = option(None, "Restrict the mean to these classes, comma-separated.", "Measure")
    sweep: bool = option(False, "Use PRED's scores and try every threshold.", "Measure")
    threshold: float | None = option(
        None, "Use PRED's scores at this threshold, chosen elsewhere.", "Measure", min=0.0, max=1.0
    )
    ignore: int = option(255, "Index of pixels that do not count.", "Measure", min=0)
    missing: Literal["error", "skip"] = option("error", "Listed photos without a mask.", "Measure")
    json_file: Path | None = option(None, "Write the report as JSON.", "Output")
    csv: Path | None = option(None, "Write one row per class, and per image into NAME.images.csv beside it.", "Output")
    markdown: Path | None = option(None, "Write the report as Markdown.", "Output")
    workers: int = option(-1, "Threads; -1 is one a core.", "Machine", min=-1)


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Say what this machine has and lacks, and try one photo."""

    weights: Path | None = option(None, "Weights to look at; by default those that extract would take.", "Input")
    out: Path = option(Path(), "Folder that masks are to be written to.", "Output")
    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps; one asked for and absent is missing.", "Machine")
    smoke: bool = option(True, "Make a mask of one drawn photo.", "Run")
