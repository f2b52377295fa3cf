"""Registry of the kinds of class map (`--cam`): to add one, add a file here and a line below."""

from __future__ import annotations

from typing import Any

from pseudomask.errors import UsageError
from pseudomask.maps.cams.ablation import AblationCam
from pseudomask.maps.cams.advcam import AdvCam
from pseudomask.maps.cams.finer import FinerCam
from pseudomask.maps.cams.gradcampp import GradCamPlusPlus
from pseudomask.maps.cams.layercam import LayerCam
from pseudomask.maps.cams.lpcam import LpCam
from pseudomask.maps.cams.plain import Plain
from pseudomask.maps.cams.softmax import SoftmaxCam
from pseudomask.maps.cams.variant import Cam, WeightedCam
from pseudomask.networks.card import Card
from pseudomask.suggest import did_you_mean

CAMS: dict[str, type[Cam]] = {
    "plain": Plain,
    "softmax": SoftmaxCam,
    "finer": FinerCam,
    "layercam": LayerCam,
    "gradcampp": GradCamPlusPlus,
    "ablation": AblationCam,
    "lpcam": LpCam,
    "advcam": AdvCam,
}

_EQUAL = "equals plain CAM here"
_SLOPE = f"{_EQUAL}, because the gradient of a logit is the classifier's weight at every position"
NOT_HERE = {
    "gradcam": _SLOPE,
    "hirescam": _SLOPE,
    "xgradcam": _SLOPE,
    "shapleycam": f"{_EQUAL}, because the logit is linear in the features: its Hessian is 0",
    "recipro": f"{_EQUAL}, because the logit of a single position is its plain map there",
    "scorecam": "would put each photo through the network once per channel, 2,048 times for a ResNet-50",
    "eigencam": "makes the same map for every class, because it does not read the classifier",
    "fullgrad": "needs the gradients of biases, which the classifier lacks, and its maps fill the whole photo",
}
"""Known names that are not kinds of class map, and why."""


def check_cam(name: str) -> None:
    """Raise `UsageError`, with the reason or the valid names, for an unknown kind of class map."""
    if name in CAMS:
        return
    plain = name.lower().replace("-", "").replace("_", "").replace(" ", "")
    reason = NOT_HERE.get(plain) or NOT_HERE.get(plain.removesuffix("cam"))
    if reason is not None:
        use = "plain" if reason.startswith(_EQUAL) else f"another: {', '.join(CAMS)}"
        raise UsageError(f"--cam {name} {reason}; use --cam {use}")
    raise UsageError(f"unknown --cam {name!r}{did_you_mean(name, CAMS)}; there are {', '.join(CAMS)}")


def make_cam(config: Any, card: Card) -> Cam:
    """The kind of class map that `config.cam` names, with its settings, for the weights of `card`."""
    name = config.cam or Plain.name
    check_cam(name)
    return CAMS[name].of(config, card)


def training_cam(config: Any, card: Card) -> WeightedCam:
    """As `make_cam`, for training: only maps in closed form, since gradients have to pass through them."""
    check_cam(config.cam)
    kind = CAMS[config.cam]
    if not issubclass(kind, WeightedCam):
        usable = [name for name, one in CAMS.items() if issubclass(one, WeightedCam)]
        raise UsageError(f"--cam {config.cam} is for extract only; training can use {', '.join(usable)}")
    return kind.of(config, card)
