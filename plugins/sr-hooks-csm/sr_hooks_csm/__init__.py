"""Which channels of a network matter: saliency maps, ablation, and how much dropout its deep feature bears.

After Kong et al., Reflash Dropout in Image Super-Resolution (arXiv 2112.12089).
"""

from __future__ import annotations

import sr_hooks
from sr_hooks_csm.csm import Csm, CsmOptions
from sr_hooks_csm.dropout import DropoutOptions, DropoutProbe

__all__ = ["Csm", "CsmOptions", "DropoutOptions", "DropoutProbe", "register_analyses"]


@sr_hooks.hookimpl
def register_analyses() -> list[type[sr_hooks.Analysis]]:
    return [Csm, DropoutProbe]
