"""What an analysis must not change of a training run: saved before, restored to the bit afterwards."""

from sr_hooks.training.guard.preserved import preserved

__all__ = ["preserved"]
