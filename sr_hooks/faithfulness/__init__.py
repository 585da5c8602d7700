"""The checks that an attribution map must pass."""

from sr_hooks.faithfulness.check import check
from sr_hooks.faithfulness.shuffled_weights import shuffled

__all__ = [
    "check",
    "shuffled",
]
