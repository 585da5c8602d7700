"""Which channels of a network matter: saliency maps, ablation, fitted weights, and how much dropout it bears.

After Kong et al., Reflash Dropout in Image Super-Resolution (arXiv 2112.12089), and the channel importance of Gu, Shen
and Zhou, Image Processing Using Multi-Code GAN Prior (mGANprior, arXiv 1912.07116).
"""

from __future__ import annotations

import sr_hooks
from sr_hooks_csm.csm import Csm, CsmOptions
from sr_hooks_csm.dropout import DropoutOptions, DropoutProbe
from sr_hooks_csm.importance import Importance, ImportanceOptions

__all__ = [
    "Csm",
    "CsmOptions",
    "DropoutOptions",
    "DropoutProbe",
    "Importance",
    "ImportanceOptions",
    "register_analyses",
]


@sr_hooks.hookimpl
def register_analyses() -> list[type[sr_hooks.Analysis]]:
    return [Csm, DropoutProbe, Importance]
