"""A watched training run."""

from sr_hooks.training.sinks import Sink, SinkContext
from sr_hooks.training.state_guard import preserved

__all__ = ["Sink", "SinkContext", "preserved"]
