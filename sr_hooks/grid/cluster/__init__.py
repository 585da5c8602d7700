"""A grid beyond one machine: workers in any executor or in an array of SLURM, and how far they are."""
