"""Look inside super-resolution and restoration networks, while they train and afterwards, code untouched.

The names are imported at their first use, so that `sr-hooks --help` starts without torch.
"""

from typing import TYPE_CHECKING

from sr_hooks.core.public_names import install_moved_finder, lazy_names
from sr_hooks.version import __version__

if TYPE_CHECKING:
    from sr_hooks.adapters.watch import analyze, watch
    from sr_hooks.analyses.base import Analysis
    from sr_hooks.analyses.ddr.analysis import ddr
    from sr_hooks.analyses.ddr.result import DdrResult
    from sr_hooks.analyses.faig.analysis import faig
    from sr_hooks.analyses.faig.result import FaigResult
    from sr_hooks.analyses.faig_verify.analysis import verify
    from sr_hooks.analyses.faig_verify.result import VerifyResult
    from sr_hooks.analyses.lam.analysis import lam
    from sr_hooks.analyses.lam.result import LamResult
    from sr_hooks.analyses.run import run
    from sr_hooks.comparison.compare import compare
    from sr_hooks.comparison.result import CompareResult
    from sr_hooks.core.options import option
    from sr_hooks.errors import SRHooksError
    from sr_hooks.explorer.server import explore
    from sr_hooks.faithfulness.check import check
    from sr_hooks.hooks.activations import capture, intervene
    from sr_hooks.hookspecs import hookimpl
    from sr_hooks.networks.network import Network
    from sr_hooks.results.card import Card
    from sr_hooks.results.result import Result
    from sr_hooks.results.result import read_result as load

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
    "explore",
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

_SOURCES = {
    "Analysis": "sr_hooks.analyses.base:Analysis",
    "Card": "sr_hooks.results.card:Card",
    "CompareResult": "sr_hooks.comparison.result:CompareResult",
    "DdrResult": "sr_hooks.analyses.ddr.result:DdrResult",
    "FaigResult": "sr_hooks.analyses.faig.result:FaigResult",
    "LamResult": "sr_hooks.analyses.lam.result:LamResult",
    "Network": "sr_hooks.networks.network:Network",
    "Result": "sr_hooks.results.result:Result",
    "SRHooksError": "sr_hooks.errors:SRHooksError",
    "VerifyResult": "sr_hooks.analyses.faig_verify.result:VerifyResult",
    "analyze": "sr_hooks.adapters.watch:analyze",
    "capture": "sr_hooks.hooks.activations:capture",
    "check": "sr_hooks.faithfulness.check:check",
    "compare": "sr_hooks.comparison.compare:compare",
    "ddr": "sr_hooks.analyses.ddr.analysis:ddr",
    "explore": "sr_hooks.explorer.server:explore",
    "faig": "sr_hooks.analyses.faig.analysis:faig",
    "hookimpl": "sr_hooks.hookspecs:hookimpl",
    "intervene": "sr_hooks.hooks.activations:intervene",
    "lam": "sr_hooks.analyses.lam.analysis:lam",
    "load": "sr_hooks.results.result:read_result",
    "option": "sr_hooks.core.options:option",
    "run": "sr_hooks.analyses.run:run",
    "verify": "sr_hooks.analyses.faig_verify.analysis:verify",
    "watch": "sr_hooks.adapters.watch:watch",
}

if not TYPE_CHECKING:  # else the type checker would let every name pass
    __getattr__ = lazy_names(globals(), _SOURCES)


def __dir__() -> list[str]:
    return __all__


install_moved_finder()
