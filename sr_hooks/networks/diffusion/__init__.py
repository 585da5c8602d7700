"""Diffusion models that restore an image in one step, as networks."""

from sr_hooks.networks.diffusion.one_step import OneStepDiffusion

__all__ = [
    "OneStepDiffusion",
]
