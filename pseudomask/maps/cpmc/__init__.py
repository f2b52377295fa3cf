"""CPMC: the classifier's maps and prototype maps calibrate each other (docs/methods-cpmc.md).

Re-implemented from the paper's abstract (Wang, Dai, Zhao, García-Fernández, Lim, Xiao: Classifier-Prototype
Mutual Calibration, IEEE TCSVT 34(11), 2024) and related published work. No parity with the paper is claimed.
One file per step: `context` (S1, on `affinity`), `prototypes` (S0, S2), `regions` (S3), `calibration` (S4 to S6);
`stages` runs them, `method` feeds them, `settings` holds the options.
"""

from pseudomask.maps.cpmc.method import Cpmc
from pseudomask.maps.cpmc.settings import CpmcSettings

__all__ = ["Cpmc", "CpmcSettings"]
