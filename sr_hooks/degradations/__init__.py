"""Blur, noise, JPEG and others, from text, seeded."""

from sr_hooks.degradations.parsing import make_lr, parse_degradation, parse_degradations
from sr_hooks.degradations.step import Step

__all__ = ["Step", "make_lr", "parse_degradation", "parse_degradations"]
