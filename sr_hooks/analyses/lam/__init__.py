"""LAM: which input pixels the network used for a window of its output."""

from sr_hooks.analyses.lam.analysis import Lam, lam
from sr_hooks.analyses.lam.options import LamOptions
from sr_hooks.analyses.lam.result import LamResult

__all__ = [
    "Lam",
    "LamOptions",
    "LamResult",
    "lam",
]
