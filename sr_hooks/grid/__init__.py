"""Networks x images x windows x analyses: computed once, shared by workers, shown as figure, tables and report."""

from sr_hooks.grid.request import Asked, read_asked
from sr_hooks.grid.run import run_grid

__all__ = ["Asked", "read_asked", "run_grid"]
