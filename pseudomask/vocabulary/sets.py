"""Class lists that everybody knows by name, in the order of their ids, without the background."""

from __future__ import annotations

from pseudomask.networks.checkpoint import read_card
from pseudomask.networks.store import NAMED, bundled

_VOC = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor"
)
_COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,"
    "bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,"
    "skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,"
    "cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,"
    "refrigerator,book,clock,vase,scissors,teddy bear,hair drier,toothbrush"
)
SETS = {"voc": 20, "coco": 80, "imagenet": 1000}
"""Names of the lists, with their lengths."""


def class_set(name: str) -> tuple[str, ...]:
    """The list of this name. Raises `KeyError` for any other, `WeightsError` if ImageNet's weights are not there."""
    if name == "imagenet":  # its names are in the card of the bundled weights
        return read_card(bundled(NAMED["imagenet"])).classes
    return {"voc": tuple(_VOC.split()), "coco": tuple(_COCO.split(","))}[name]
