"""Many networks, images, windows and analyses: computed once, shared by workers, shown together."""

from sr_hooks.grid.request import Asked, read_asked
from sr_hooks.grid.run import Summary, run_grid

__all__ = [
    "Asked",
    "Summary",
    "read_asked",
    "run_grid",
]
