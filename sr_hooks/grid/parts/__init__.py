"""One analysis of one network on many files, divided into parts that workers share."""

from sr_hooks.grid.parts.run import PartsWorker, run_in_parts

__all__ = ["PartsWorker", "run_in_parts"]
