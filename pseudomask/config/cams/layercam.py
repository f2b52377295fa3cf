"""The settings of LayerCAM."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pseudomask.config.common import option

_layercam = partial(option, panel="LayerCAM", of=("layercam",))


@dataclass(frozen=True, kw_only=True)
class LayerCamOptions:
    """LayerCAM (Jiang et al., IEEE TIP 2021)."""

    layercam_stages: int = _layercam(
        1, "Number of backbone stages, counted from the last, whose maps are combined; above 1 needs gradients.", min=1
    )
