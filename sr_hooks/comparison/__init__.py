"""What changed between two results, or between two states of one network."""

from sr_hooks.comparison.compare import compare
from sr_hooks.comparison.result import CompareResult

__all__ = [
    "CompareResult",
    "compare",
]
