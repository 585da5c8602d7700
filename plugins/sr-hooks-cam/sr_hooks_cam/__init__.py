"""Class activation maps of an output window: HiResCAM at any layer, with Grad-CAM as the control that fails."""

from __future__ import annotations

from typing import Any

import sr_hooks
from sr_hooks.analyses import Analysis
from sr_hooks_cam.analysis import Cam, CamOptions

__all__ = ["Cam", "CamOptions"]


@sr_hooks.hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Cam]
