"""What is explained: a scalar of the output window."""

from sr_hooks.attribution.objectives.by_name import make_objective, register_objectives
from sr_hooks.attribution.objectives.objective import Objective

__all__ = ["Objective", "make_objective", "register_objectives"]
