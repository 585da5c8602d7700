"""Read checkpoint files of any layout without running code in them."""

from sr_hooks.networks.loading.checkpoint_files.file_kinds import read_content
from sr_hooks.networks.loading.checkpoint_files.weights import Weights, named_weights, split_name

__all__ = [
    "Weights",
    "named_weights",
    "read_content",
    "split_name",
]
