"""A grid beyond one machine: workers in any executor or in an array of SLURM, and how far they are."""

from sr_hooks.grid.cluster.executors import run_in
from sr_hooks.grid.cluster.follow import GridState, follow, state_of
from sr_hooks.grid.cluster.slurm import parse_slurm, sbatch_script, slurm_executor, submit_array

__all__ = [
    "GridState",
    "follow",
    "parse_slurm",
    "run_in",
    "sbatch_script",
    "slurm_executor",
    "state_of",
    "submit_array",
]
