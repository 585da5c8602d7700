"""The numbers of computed grids: one table of all cells, and one number against another over networks."""

from sr_hooks.grid.numbers.one_against_another import NetworkPoint, Scatter, scatter
from sr_hooks.grid.numbers.table import GridTable, read

__all__ = [
    "GridTable",
    "NetworkPoint",
    "Scatter",
    "read",
    "scatter",
]
