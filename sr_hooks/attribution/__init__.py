"""What is explained, the path from a baseline to the input or the weights, and the gradients along it."""

from sr_hooks.attribution.image_paths import BlurPath, ImagePath, LinearPath, make_path
from sr_hooks.attribution.objectives.by_name import make_objective
from sr_hooks.attribution.objectives.objective import Objective
from sr_hooks.attribution.receptive_field.trace import Untraceable
from sr_hooks.attribution.recorded_tails import RecordedTail, RecordedTails
from sr_hooks.attribution.weight_paths import StraightPath, at_weights
from sr_hooks.attribution.weight_quadrature import Level, Settling, levels, nodes

__all__ = [
    "BlurPath",
    "ImagePath",
    "Level",
    "LinearPath",
    "Objective",
    "RecordedTail",
    "RecordedTails",
    "Settling",
    "StraightPath",
    "Untraceable",
    "at_weights",
    "levels",
    "make_objective",
    "make_path",
    "nodes",
]
