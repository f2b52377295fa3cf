"""The settings of regions that a Segment Anything model makes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pseudomask.config.common import option
from pseudomask.config.refiners.regions import ProposalFolderOptions

_sam = partial(option, panel="Regions", of=("sam",))


@dataclass(frozen=True, kw_only=True)
class SamOptions(ProposalFolderOptions):
    """Automatic mask generation of SAM 1, SAM 2.1 and the tracker of SAM 3."""

    sam_model: str | None = _sam(
        None,
        "Model folder or Hugging Face name of a SAM 1, 2.1 or 3 model, such as facebook/sam2.1-hiera-small; required "
        "by sam; needs the extra [foundation].",
    )
    sam_points: int = _sam(32, "Prompts per side of the grid of points over the photo.", min=1, max=256)
    sam_iou: float = _sam(0.88, "Discard masks whose predicted IoU is below this.", min=0.0, max=1.0)
    sam_stability: float = _sam(0.95, "Discard masks less stable than this.", min=0.0, max=1.0)
    sam_batch: int = _sam(64, "Prompts computed together; fewer need less memory.", min=1, role="free")
