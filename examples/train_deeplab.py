"""Train torchvision's DeepLabV3 on masks, then let it segment other photos.

    python examples/train_deeplab.py train PHOTOS MASKS RUN --class-file classes.txt --list train.txt
    python examples/train_deeplab.py predict PHOTOS OUT --weights RUN/weights.safetensors --list val.txt
    pseudomask evaluate OUT TRUTH --class-file classes.txt

MASKS are PNGs of class indices, 255 for ignore, as `pseudomask export --format voc` writes them. See docs/recipe.md.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.models.segmentation import DeepLabV3, deeplabv3_resnet50
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from pseudomask.data.decoding import decode, image_size
from pseudomask.data.images import ImageItem, find_images, read_list, select
from pseudomask.data.labels import read_classes
from pseudomask.data.pixels import IMAGENET, resize, with_long_side
from pseudomask.devices import pick_amp, pick_device, pick_workers
from pseudomask.errors import PseudomaskError, TrainingDiverged, UsageError, WeightsError
from pseudomask.masks import IGNORE, load_mask, save_mask
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.checkpoint import load_network, read_tensors, write_tensors
from pseudomask.networks.states import new_backbone
from pseudomask.running.atomic import atomic_text
from pseudomask.running.memory import keep_pages
from pseudomask.training.samples import Window, batch_plan
from pseudomask.training.schedule import learning_rate_factor
from pseudomask.training.state import Log, load_state, save_state

STRIDES = {"layer2": (2, 1), "layer3": (2, 1), "layer4": (1, 2)}
"""Stride and dilation of each stage; the last would have stride 2."""
FROZEN = ("conv1", "layer1")
"""Held fixed, with all of the backbone's batch norm: the batches are small, and so are the sets of photos."""
UNRECORDED = ("work", "run", "device", "workers")


def deeplab(labels: int, style: str) -> DeepLabV3:
    """DeepLabV3 (Chen et al., 2017) of torchvision, at output stride 16: (B, 3, H, W) → {"out": (B, labels, H, W)}.

    In a stage that changes the grid, the stride is in the first block's 3×3 convolution ("pytorch") or in the 1×1
    before it ("caffe"). What comes after the stride is dilated where the stride is taken away, so that every second
    feature is the one of the network that was pretrained. torchvision's own `replace_stride_with_dilation` knows the
    first style only.
    """
    network = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=labels, aux_loss=False)
    network.classifier = DeepLabHead(2048, labels, atrous_rates=(6, 12, 18))  # its own are for stride 8
    for name, (stride, dilation) in STRIDES.items():
        first, *rest = getattr(network.backbone, name)
        (first.conv1 if style == "caffe" else first.conv2).stride = (stride, stride)
        (first.conv2 if style == "caffe" else first.conv1).stride = (1, 1)
        first.downsample[0].stride = (stride, stride)
        for block in [first, *rest]:
            reach = 1 if block is first and style != "caffe" else dilation
            block.conv2.dilation = block.conv2.padding = (reach, reach)
    return network


def pretrained(weights: Path | None, style: str) -> Backbone:
    """pseudomask's ResNet-50: from a file with its card, from a bare backbone, or torchvision's (None)."""
    if weights is not None and "pseudomask" in read_tensors(weights)[1]:
        backbone = load_network(weights)[0].backbone
        if backbone.name != "resnet50":
            raise WeightsError(f"{weights}: a {backbone.name}; this script wants a resnet50")
        return backbone
    return new_backbone("resnet50", weights=weights, style=style, output_stride=16)  # type: ignore[arg-type]


def put_backbone(network: DeepLabV3, backbone: Backbone) -> None:
    """Copy pseudomask's backbone into DeepLab's, whose stem has torchvision's names."""
    names = {"stem.0.": "conv1.", "stem.1.": "bn1."}
    state = {names.get(key[:7], key[:7]) + key[7:]: value for key, value in backbone.state_dict().items()}
    network.backbone.load_state_dict(state)


def for_training(network: DeepLabV3) -> None:
    """Training mode, but for the backbone's batch norm and what FROZEN names."""
    network.train()
    for module in network.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval().requires_grad_(False)
    for name in FROZEN:
        getattr(network.backbone, name).requires_grad_(False)


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """By (epoch, photo): a random scale, mirror and crop; pixels (crop, crop, 3) uint8, labels (crop, crop) int64.

    A crop follows from the seed, the epoch and the photo alone. Where the photo does not reach is 255.
    """

    def __init__(self, pairs: Sequence[tuple[Path, Path]], *, crop: int, seed: int) -> None:
        self.pairs, self.crop, self.seed = list(pairs), crop, seed

    def __getitem__(self, place: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = place
        rng = np.random.default_rng([self.seed, epoch, index])
        photo, mask = decode(self.pairs[index][0]), load_mask(self.pairs[index][1])
        size = with_long_side(mask.shape, int(self.crop * rng.uniform(1, 2.25)))
        labels = cv2.resize(mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)
        pixels = resize(photo, size)
        if rng.random() < 0.5:
            pixels, labels = pixels[:, ::-1], labels[:, ::-1]
        window = Window.random(size, self.crop, rng)
        return torch.from_numpy(window.cut(pixels, IMAGENET.mean_level)), torch.from_numpy(
            window.cut(labels, IGNORE)
        ).long()


def find_pairs(photos: Path, masks: Path, names: Path | None, labels: int) -> list[tuple[Path, Path]]:
    """Photos and their masks, all looked at once: `UsageError` where one is missing, of another size or too many."""
    pairs = []
    for item in find_photos(photos, names):
        if not (mask := masks / f"{item.key}.png").is_file():
            raise UsageError(f"{item.relative} has no mask: {mask} is not there")
        values = load_mask(mask)
        if values.shape != image_size(item.path):
            raise UsageError(f"{mask}: has size {values.shape}, its photo {image_size(item.path)}")
        if foreign := set(np.unique(values).tolist()) - {*range(labels), IGNORE}:
            raise UsageError(f"{mask}: holds class {min(foreign)}; the class file ends at {labels - 1}")
        pairs.append((item.path, mask))
    return pairs


def find_photos(photos: Path, names: Path | None) -> Sequence[ImageItem]:
    found = find_images(photos)
    return select(found, read_list(names), source=str(names)) if names else found


def train(options: argparse.Namespace) -> None:
    """The verb `train`: RUN/weights.safetensors after each epoch, and a log; goes on from RUN's checkpoint."""
    classes = read_classes(options.class_file)
    pairs = find_pairs(options.photos, options.masks, options.list, len(classes) + 1)
    if min(len(pairs), options.batch_size) < 2:
        raise UsageError("training needs two photos and --batch-size 2: the head's batch norm has no spread of one")
    device = pick_device(options.device)
    amp = pick_amp(options.amp, device)
    torch.manual_seed(options.seed)
    backbone = pretrained(options.backbone_weights, options.backbone_style)
    network = deeplab(len(classes) + 1, backbone.style)
    put_backbone(network, backbone)
    network.to(device).to(memory_format=torch.channels_last)
    for_training(network)
    parts = ((network.backbone, options.lr), (network.classifier, 10 * options.lr))
    groups = [{"params": [p for p in part.parameters() if p.requires_grad], "base": lr} for part, lr in parts]
    optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=1e-4)
    same_settings(options)
    plan = batch_plan(options.seed, options.epochs, len(pairs), options.batch_size)
    per_epoch = len(plan) // options.epochs
    done, _ = load_state(options.run, network, optimizer)
    log = Log(options.run / "log.jsonl", from_step=done)
    crops = Crops(pairs, crop=options.crop, seed=options.seed)
    for epoch in range(done // per_epoch, options.epochs):
        torch.manual_seed(options.seed + epoch)  # of dropout
        began, losses = time.monotonic(), []
        steps = plan[epoch * per_epoch : (epoch + 1) * per_epoch]
        for pixels, truth in DataLoader(crops, batch_sampler=steps, num_workers=pick_workers(options.workers)):
            for group in optimizer.param_groups:
                group["lr"] = group["base"] * learning_rate_factor(done, len(plan), power=0.9, warmup=0)
            images, truth = IMAGENET.to_input(pixels.to(device), amp), truth.to(device)
            with torch.autocast(device.type, amp, enabled=amp is not None):
                scores = network(images)["out"]  # (B, labels, crop, crop)
            loss = F.cross_entropy(scores.float(), truth, ignore_index=IGNORE)
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise TrainingDiverged(f"step {done + 1}: the loss is not a number; lower --lr (now {options.lr:g})")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            done += 1
            if done % 10 == 0:
                log.write(step=done, loss=round(losses[-1], 4))
        card = {"classes": "\n".join(classes), "style": backbone.style, "side": str(round(1.75 * options.crop))}
        write_tensors(options.run / "weights.safetensors", network.state_dict(), card)
        save_state(options.run, network, optimizer, done)
        mean, seconds = sum(losses) / len(losses), time.monotonic() - began
        log.write(step=done, epoch=epoch + 1, loss=round(mean, 4), seconds=round(seconds, 1))
        print(f"epoch {epoch + 1} of {options.epochs}: loss {mean:.3f}, {seconds:.0f} s", file=sys.stderr, flush=True)


def same_settings(options: argparse.Namespace) -> None:
    """Make RUN, or see that it was begun with these settings: else `UsageError`."""
    told = "".join(f"{name}: {value}\n" for name, value in vars(options).items() if name not in UNRECORDED)
    record = options.run / "settings.txt"
    if record.is_file() and record.read_text("utf-8") != told:
        raise UsageError(f"{options.run}: begun with other settings ({record}); give another folder")
    atomic_text(record, told)


def predict(options: argparse.Namespace) -> None:
    """The verb `predict`: one mask a photo, at the photo's size, each photo seen once."""
    tensors, card = read_tensors(options.weights)
    if not {"classes", "style", "side"} <= set(card):
        raise WeightsError(f"{options.weights}: not weights that this script trained")
    device = pick_device(options.device)
    amp = pick_amp(options.amp, device)
    network = deeplab(len(card["classes"].split("\n")) + 1, card["style"])
    network.load_state_dict(tensors)
    network.to(device).to(memory_format=torch.channels_last).eval()
    for item in find_photos(options.photos, options.list):
        photo = decode(item.path)
        seen = resize(photo, with_long_side(photo.shape[:2], int(card["side"])))
        with torch.inference_mode(), torch.autocast(device.type, amp, enabled=amp is not None):
            images = IMAGENET.to_input(torch.from_numpy(seen)[None].to(device), amp)
            scores = F.interpolate(network(images)["out"].float(), photo.shape[:2], mode="bilinear")
        save_mask(options.out / f"{item.key}.png", scores[0].argmax(0).cpu().numpy().astype(np.uint8))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("train", help="photos and masks in, weights out")
    two = verbs.add_parser("predict", help="photos and weights in, masks out")
    one.set_defaults(work=train)
    two.set_defaults(work=predict)
    for verb in (one, two):
        verb.add_argument("photos", type=Path)
        verb.add_argument("--list", type=Path, help="names of the photos to use, one a line")
        verb.add_argument("--device", default="auto")
        verb.add_argument("--amp", default="auto", help="auto, off, bf16 or fp16")
    one.add_argument("masks", type=Path)
    one.add_argument("run", type=Path)
    one.add_argument("--class-file", type=Path, required=True, help="class names, one a line, `background` first")
    one.add_argument("--backbone-weights", type=Path, help="safetensors; by default torchvision's ImageNet weights")
    one.add_argument("--backbone-style", choices=("pytorch", "caffe"), default="pytorch", help="where its strides are")
    one.add_argument("--epochs", type=int, default=30)
    one.add_argument("--batch-size", type=int, default=8)
    one.add_argument("--crop", type=int, default=321)
    one.add_argument("--lr", type=float, default=0.002, help="of the backbone; the head's is ten times that")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--workers", type=int, default=-1, help="processes that decode photos; -1: by the machine")
    two.add_argument("out", type=Path)
    two.add_argument("--weights", type=Path, required=True, help="RUN/weights.safetensors")
    options = parser.parse_args(arguments)
    try:
        options.work(options)
    except PseudomaskError as error:
        parser.exit(error.exit_code, f"error: {error}\n")


if __name__ == "__main__":
    keep_pages()  # before the first tensor; on a CPU it shortens a step
    main()
