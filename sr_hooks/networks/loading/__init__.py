"""Build a network from a checkpoint, an option file, a config or the name of a class."""

from sr_hooks.networks.loading.checkpoints import Weights, load_weights, read_weights, write_weights
from sr_hooks.networks.loading.loaders import Loaded, import_basicsr

__all__ = [
    "Loaded",
    "Weights",
    "import_basicsr",
    "load_weights",
    "read_weights",
    "write_weights",
]
