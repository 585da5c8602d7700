"""What translates the events of BasicSR, mmengine or a plain loop into those of a watched run."""

from sr_hooks.adapters.loop import Watch
from sr_hooks.adapters.watch import analyze, watch

__all__ = [
    "Watch",
    "analyze",
    "watch",
]
