"""A watched training run: when an analysis is due, what it may cost, where its results go."""

from sr_hooks.training.guard.preserved import preserved
from sr_hooks.training.sinks import Sink, SinkContext

__all__ = [
    "Sink",
    "SinkContext",
    "preserved",
]
