"""Spectra: which spatial frequencies do features and outputs hold, and which of them does the network add?"""

from __future__ import annotations

from typing import Any

import sr_hooks
from sr_hooks.analyses import Analysis
from sr_hooks_spectra.analysis import Spectra, SpectraOptions
from sr_hooks_spectra.radial import fsds

__all__ = ["Spectra", "SpectraOptions", "fsds"]


@sr_hooks.hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Spectra]
