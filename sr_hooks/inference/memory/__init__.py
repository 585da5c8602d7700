"""Memory of the device: what is free, what a gradient needs, and what is done where memory runs out."""

from sr_hooks.inference.memory.available import available_memory
from sr_hooks.inference.memory.fallback import Attempt, attempt, with_less_memory
from sr_hooks.inference.memory.needs import bytes_of_gradient, samples_that_fit

__all__ = ["Attempt", "attempt", "available_memory", "bytes_of_gradient", "samples_that_fit", "with_less_memory"]
