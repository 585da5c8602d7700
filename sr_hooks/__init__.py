"""Look inside super-resolution and restoration networks, while they train and afterwards, code untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sr_hooks.analyses.base import Analysis, run
from sr_hooks.analyses.ddr.analysis import DdrResult, ddr
from sr_hooks.analyses.faig.analysis import FaigResult, faig
from sr_hooks.analyses.faig_verify.analysis import VerifyResult, verify
from sr_hooks.analyses.lam.analysis import LamResult, lam
from sr_hooks.comparison.compare import CompareResult, compare
from sr_hooks.core.options import option
from sr_hooks.errors import SRHooksError
from sr_hooks.faithfulness.check import check
from sr_hooks.hooks.activations import capture, intervene
from sr_hooks.hookspecs import hookimpl
from sr_hooks.networks.network import Network
from sr_hooks.results.card import Card
from sr_hooks.results.result import Result
from sr_hooks.results.result import read_result as load
from sr_hooks.version import __version__

if TYPE_CHECKING:
    from sr_hooks.adapters.watch import analyze, watch

__all__ = [
    "Analysis",
    "Card",
    "CompareResult",
    "DdrResult",
    "FaigResult",
    "LamResult",
    "Network",
    "Result",
    "SRHooksError",
    "VerifyResult",
    "__version__",
    "analyze",
    "capture",
    "check",
    "compare",
    "ddr",
    "faig",
    "hookimpl",
    "intervene",
    "lam",
    "load",
    "option",
    "run",
    "verify",
    "watch",
]


def __getattr__(name: str) -> Any:
    """Watching is loaded by those who watch."""
    if name in ("analyze", "watch"):
        from sr_hooks.adapters import watch as watching

        return getattr(watching, name)
    raise AttributeError(f"module 'sr_hooks' has no attribute {name!r}")
