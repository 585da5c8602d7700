"""Many networks, images, windows and analyses: computed once, shared by workers, shown together."""

from sr_hooks.grid.request import GridRequest, read_request
from sr_hooks.grid.run import GridSummary, run_grid

__all__ = [
    "GridRequest",
    "GridSummary",
    "read_request",
    "run_grid",
]
