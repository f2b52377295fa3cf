"""The verb `doctor`: check this machine and make one mask.

Nothing heavy is imported at the top, so that a broken torch is reported instead of raising an error.
"""

from __future__ import annotations

import importlib
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from pseudomask.config import DoctorConfig, ExtractConfig
from pseudomask.errors import PseudomaskError
from pseudomask.quoting import count
from pseudomask.running.jsonable import json_object
from pseudomask.running.machine import cores
from pseudomask.running.record import hash_file, package_versions, platform_facts
from pseudomask.running.reporter import Bad, Reporter, SilentReporter
from pseudomask.running.shown import Shown

NEEDED = ("torch", "torchvision", "numpy", "cv2", "PIL", "safetensors")
"""Modules needed to make masks."""
OPTIONAL = {"pydensecrf": ("pydensecrf2", "pip install 'pseudomask[crf]' (Python 3.11 or 3.12)")}
"""Each module's package, and how to install it."""


@dataclass(frozen=True)
class Check:
    """One check; the exit code is 3 if an `essential` check is not `ok`."""

    name: str
    ok: bool
    detail: str
    essential: bool = True

    def describe(self) -> str:
        """The detail, with a mark if something is missing."""
        if self.ok:
            return self.detail
        return Bad(f"MISSING: {self.detail}") if self.essential else f"absent: {self.detail}"


@dataclass(kw_only=True)
class DoctorResult(Shown):
    """The result of `doctor`.

    Attributes:
        checks: the checks, in the order in which they ran.
        versions, system, devices, weights: the details, for programs; `weights` is empty if they cannot be read.
    """

    checks: list[Check] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=package_versions)
    system: dict[str, str] = field(default_factory=platform_facts)
    devices: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks if check.essential)

    @property
    def exit_code(self) -> int:
        return 0 if self.ok else 3

    def summary(self) -> list[tuple[str, str]]:
        lacking = [check.name for check in self.checks if check.essential and not check.ok]
        verdict = Bad(f"not ready; missing: {', '.join(lacking)}") if lacking else "ready"
        return [*((check.name, check.describe()) for check in self.checks), ("verdict", verdict)]

    def to_json(self) -> dict[str, Any]:
        return json_object({"schema": 1, "ok": self.ok, **self.__dict__})


def doctor(config: DoctorConfig, reporter: Reporter | None = None) -> DoctorResult:
    """Check versions, devices, optional packages, weights and write access, and make one mask.

    Raises only `UsageError`, for an unknown device name; whatever is missing is reported in the result.
    """
    result, reporter = DoctorResult(), reporter or SilentReporter()

    def check(name: str, look: Callable[[], str], *, essential: bool = True) -> bool:
        try:
            found = Check(name, True, look(), essential)
        except PseudomaskError as error:
            if error.exit_code == 2:
                raise
            found = Check(name, False, str(error), essential)
        except Exception as error:  # a broken installation can raise anything
            found = Check(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", essential)
        result.checks.append(found)
        return found.ok

    check("versions", lambda: _versions(result))
    whole = [check(name, partial(_imported, name)) for name in NEEDED]
    for name, (package, install) in OPTIONAL.items():
        check(f"{name} (optional)", partial(_optional, package, install), essential=False)
    check("writing", lambda: _writable(config.out))
    if all(whole):
        ready = check("device", lambda: _device(config, result))
        ready &= check("weights", lambda: _weights(config, result))
        if ready:
            check("boundary head", lambda: _head(config), essential=False)
        if ready and config.smoke:
            reporter.info("making a mask of one synthetic photo")
            check("one photo", lambda: _smoke(config))
    return result


def _versions(result: DoctorResult) -> str:
    system = result.system
    return f"pseudomask {result.versions['pseudomask']}, Python {platform.python_version()}, {system['system']}"


def _imported(name: str) -> str:
    module = importlib.import_module(name)
    if name == "torchvision":  # an incompatible pair imports fine, but fails here
        importlib.import_module("torchvision.ops").nms.__name__  # noqa: B018
    return str(getattr(module, "__version__", "present"))


def _optional(package: str, install: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise PseudomaskError(install) from None


def _writable(out: Path) -> str:
    """Write a temporary file to `out`, or to the folder where `out` would be created."""
    place = out.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".pseudomask-") as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        raise PseudomaskError(f"cannot write to {place}: {error.strerror}; choose another folder") from error
    return str(place)


def _device(config: DoctorConfig, result: DoctorResult) -> str:
    import torch

    from pseudomask.devices import pick_amp, pick_device

    result.devices = [{"name": "cpu", "kind": platform.processor() or platform.machine(), "cores": cores()}]
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(i)
        result.devices.append({"name": f"cuda:{i}", "kind": facts.name, "memory": facts.total_memory})
    if torch.backends.mps.is_available():
        result.devices.append({"name": "mps", "kind": "Apple GPU"})
    device = pick_device(config.device)
    precision = str(pick_amp("auto", device) or torch.float32).removeprefix("torch.")
    there = ", ".join(f"{one['name']} ({one['kind']})" for one in result.devices)
    return f"{device} in {precision}; found {there}; {count(cores(), 'core')}"


def _weights(config: DoctorConfig, result: DoctorResult) -> str:
    from pseudomask.networks.checkpoint import load_network
    from pseudomask.networks.store import find_weights

    path = find_weights(config.weights)
    _, card = load_network(path)
    result.weights = {
        "file": path,
        "sha256": hash_file(path),
        "method": card.method,
        "backbone": card.backbone,
        "classes": card.classes,
        "thresholds": card.thresholds,
        "licence": card.license,
        "notes": card.notes,
    }
    made = f"{card.method}, {card.backbone}, {count(len(card.classes), 'class')}, licence {card.license}"
    return f"{path} ({made}), SHA-256 {result.weights['sha256']}"


def _head(config: DoctorConfig) -> str:
    from pseudomask.networks.edge_weights import HOW_TO_TRAIN, bundled_head
    from pseudomask.networks.store import find_weights

    head = bundled_head(find_weights(config.weights))
    if head is None:
        raise PseudomaskError(f"none for these weights, so extract refines with crf alone; {HOW_TO_TRAIN}")
    return str(head)


def _smoke(config: DoctorConfig) -> str:
    """Run `extract` on one synthetic photo, with one worker process."""
    import numpy as np

    from pseudomask.extraction import extract
    from pseudomask.masks import load_mask, save_picture

    photo = np.full((96, 128, 3), 120, np.uint8)
    photo[24:72, 32:96] = (200, 60, 40)
    with tempfile.TemporaryDirectory(prefix="pseudomask-doctor-") as folder:
        place, started = Path(folder), time.monotonic()
        save_picture(place / "photos" / "synthetic.jpg", photo)
        done = extract(
            ExtractConfig(
                images=place / "photos",
                out=place / "out",
                weights=config.weights,
                device=config.device,
                workers=1,
                scales="1.0",
            )
        )
        if failed := done.failures | done.unrefined:
            raise PseudomaskError(f"the synthetic photo failed: {failed['synthetic.jpg']}")
        size = load_mask(place / "out" / "synthetic.png").shape
    if size != photo.shape[:2]:
        raise PseudomaskError(f"the mask has size {size}, not {photo.shape[:2]}")
    return f"mask made in {time.monotonic() - started:.1f} s"
