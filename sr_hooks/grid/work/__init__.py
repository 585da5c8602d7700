"""How workers share a grid: one plan for all, who computes which task, and what the grid will cost."""

from sr_hooks.grid.work.costs import GridEstimate, estimate
from sr_hooks.grid.work.stored_plans import shared_plan
from sr_hooks.grid.work.tasks import Task, run_shared, settled

__all__ = ["GridEstimate", "Task", "estimate", "run_shared", "settled", "shared_plan"]
