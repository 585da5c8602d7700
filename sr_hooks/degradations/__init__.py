"""Blur, noise, JPEG and other degradations: parsed from text, drawn from a seed."""

from sr_hooks.degradations.degraded_patches import DegradedPatches
from sr_hooks.degradations.parsing import make_lr, parse_degradation, parse_degradations
from sr_hooks.degradations.step import Degradation, Step

__all__ = [
    "Degradation",
    "DegradedPatches",
    "Step",
    "make_lr",
    "parse_degradation",
    "parse_degradations",
]
