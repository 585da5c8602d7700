"""FAIG: which filters remove which degradation."""

from sr_hooks.analyses.faig.analysis import Faig, FaigOptions, faig
from sr_hooks.analyses.faig.result import FaigResult

__all__ = [
    "Faig",
    "FaigOptions",
    "FaigResult",
    "faig",
]
