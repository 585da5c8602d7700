"""DDR: which image and which degradation the deep features separate."""

from sr_hooks.analyses.ddr.analysis import Ddr, ddr
from sr_hooks.analyses.ddr.options import DdrOptions
from sr_hooks.analyses.ddr.result import DdrResult

__all__ = [
    "Ddr",
    "DdrOptions",
    "DdrResult",
    "ddr",
]
