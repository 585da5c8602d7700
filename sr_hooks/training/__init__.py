"""A watched training run: when an analysis is due, what it may cost, where its results go."""

from sr_hooks.training.sinks import Sink, SinkContext
from sr_hooks.training.state_guard import preserved

__all__ = [
    "Sink",
    "SinkContext",
    "preserved",
]
