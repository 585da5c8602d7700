"""What an analysis is, the images that it is given, and one folder for each analysis of sr_hooks."""

from sr_hooks.analyses.base import Analysis, Watcher
from sr_hooks.analyses.degraded_pairs import Inputs, make_inputs, one_input_each
from sr_hooks.analyses.other_network import other_network, other_networks
from sr_hooks.analyses.parts import Part, Parts
from sr_hooks.analyses.watch_context import WatchContext

__all__ = [
    "Analysis",
    "Inputs",
    "Part",
    "Parts",
    "WatchContext",
    "Watcher",
    "make_inputs",
    "one_input_each",
    "other_network",
    "other_networks",
]
