"""A network on many inputs: batches of a calibrated size, features, the part after a layer."""

from sr_hooks.inference.batches import groups, in_batches
from sr_hooks.inference.calibration import ExecutionPlan, calibrate
from sr_hooks.inference.inputs import PreparedInput, check_input, fit_channels, prepare_input
from sr_hooks.inference.memory import Attempt, attempt, available_memory, samples_that_fit, with_less_memory
from sr_hooks.inference.perturbation import blocks_of, replace_blocks, run_perturbed
from sr_hooks.inference.streaming import Seen, stream
from sr_hooks.inference.tails import Tail

__all__ = [
    "Attempt",
    "ExecutionPlan",
    "PreparedInput",
    "Seen",
    "Tail",
    "attempt",
    "available_memory",
    "blocks_of",
    "calibrate",
    "check_input",
    "fit_channels",
    "groups",
    "in_batches",
    "prepare_input",
    "replace_blocks",
    "run_perturbed",
    "samples_that_fit",
    "stream",
    "with_less_memory",
]
