"""Usefulness (Dai et al., WACV 2016): does a metric rank networks as a task, or as people do?"""

from __future__ import annotations

from typing import Any

import sr_hooks
from sr_hooks.analyses import Analysis
from sr_hooks_usefulness.analysis import Usefulness, UsefulnessOptions
from sr_hooks_usefulness.answer import usefulness
from sr_hooks_usefulness.tasks import edge_f_measure, template_match

__all__ = ["Usefulness", "UsefulnessOptions", "edge_f_measure", "template_match", "usefulness"]


@sr_hooks.hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Usefulness]
