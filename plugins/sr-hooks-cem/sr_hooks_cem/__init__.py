"""Causal effect maps: what becomes of a window's PSNR when a block of the input is replaced.

After Hu et al., Interpreting Low-level Vision Models with Causal Effect Maps (arXiv 2407.19789).
"""

from __future__ import annotations

import sr_hooks
from sr_hooks_cem.agreement import Agreement, agreement
from sr_hooks_cem.cem import Cem, CemOptions
from sr_hooks_cem.reach import Reach, find_reach

__all__ = ["Agreement", "Cem", "CemOptions", "Reach", "agreement", "find_reach", "register_analyses"]


@sr_hooks.hookimpl
def register_analyses() -> list[type[sr_hooks.Analysis]]:
    return [Cem]
