"""A network with what an analysis must know of it, and where networks come from."""

from sr_hooks.networks.loading.loaders import import_basicsr
from sr_hooks.networks.network import Network

__all__ = ["Network", "import_basicsr"]
