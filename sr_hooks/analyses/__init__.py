"""What an analysis is, and those that come with sr_hooks."""

from sr_hooks.analyses.base import Analysis, WatchContext, Watcher
from sr_hooks.analyses.degraded_pairs import make_inputs, one_input_each

__all__ = ["Analysis", "WatchContext", "Watcher", "make_inputs", "one_input_each"]
