"""Many networks, images, windows and analyses: computed once, shared by workers, shown together."""

from sr_hooks.grid.numbers import GridTable, NetworkPoint, Scatter, read, scatter
from sr_hooks.grid.parts import run_in_parts
from sr_hooks.grid.request import GridRequest, read_request
from sr_hooks.grid.run import GridSummary, run_grid

__all__ = [
    "GridRequest",
    "GridSummary",
    "GridTable",
    "NetworkPoint",
    "Scatter",
    "read",
    "read_request",
    "run_grid",
    "run_in_parts",
    "scatter",
]
