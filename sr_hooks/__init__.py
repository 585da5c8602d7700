"""Look inside super-resolution and restoration networks, while they train and afterwards, code untouched."""

from __future__ import annotations

__version__ = "0.1.0"

from typing import TYPE_CHECKING, Any

from sr_hooks.analyses.ddr import DdrResult, ddr
from sr_hooks.analyses.faig import FaigResult, faig
from sr_hooks.analyses.lam import LamResult, lam
from sr_hooks.analyses.verification import VerifyResult, verify
from sr_hooks.analysis import Analysis, run
from sr_hooks.card import Card
from sr_hooks.comparison import CompareResult, compare
from sr_hooks.errors import SRHooksError
from sr_hooks.faithfulness import check
from sr_hooks.hookspecs import hookimpl
from sr_hooks.network import Network
from sr_hooks.options import option
from sr_hooks.results import Result
from sr_hooks.results import read_result as load
from sr_hooks.taps import capture, intervene

if TYPE_CHECKING:
    from sr_hooks.watching import analyze, watch

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
        from sr_hooks import watching

        return getattr(watching, name)
    raise AttributeError(f"module 'sr_hooks' has no attribute {name!r}")
