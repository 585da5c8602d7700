"""The work of one analysis in parts that workers compute in any order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from sr_hooks.results.result import Result

__all__ = ["Part", "Parts"]

Part = Callable[[int], Mapping[str, np.ndarray]]
"""Number of a part to its arrays, computed now or read from a file."""


class Parts(Protocol):
    """An analysis of one network on many inputs, divided so that no part depends on another one.

    `analysis.divided(network, images, options)` returns it. The division follows from inputs and options alone, never
    from the number of workers; `combine` takes the parts in a fixed order. So equal parts give equal bits.
    """

    @property
    def labels(self) -> Sequence[str]:
        """The name of each part, for messages."""

    def compute(self, number: int) -> Mapping[str, np.ndarray]:
        """The arrays of one part."""

    def combine(self, part: Part) -> Result:
        """The result, from all parts; `part` may be asked for one of them more than once."""
