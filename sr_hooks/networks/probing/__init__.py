"""Guess the facts of a network and try them on small inputs."""

from sr_hooks.networks.probing.input_range import infer_range
from sr_hooks.networks.probing.trial_inputs import trial_input, trial_sides

__all__ = [
    "infer_range",
    "trial_input",
    "trial_sides",
]
