"""Modulation (SFT-GAN, AdaLN, prompts): what does the condition change, and does it know the degradation?"""

from __future__ import annotations

from typing import Any

import sr_hooks
from sr_hooks.analyses import Analysis
from sr_hooks_modulation.analysis import Modulation, ModulationOptions
from sr_hooks_modulation.recording import find_modulations

__all__ = ["Modulation", "ModulationOptions", "find_modulations"]


@sr_hooks.hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Modulation]
