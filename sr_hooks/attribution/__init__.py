"""What is explained, along which path, and its gradients."""

from sr_hooks.attribution.image_paths import ImagePath, make_path
from sr_hooks.attribution.objectives import Objective, make_objective
from sr_hooks.attribution.weight_paths import StraightPath, at_weights

__all__ = ["ImagePath", "Objective", "StraightPath", "at_weights", "make_objective", "make_path"]
