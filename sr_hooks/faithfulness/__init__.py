"""The checks that an attribution map must pass."""

from sr_hooks.faithfulness.check import check

__all__ = [
    "check",
]
