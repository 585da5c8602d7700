"""A torch module with the facts that an analysis needs: scale, value range, padding, channels."""

from sr_hooks.networks.diffusion import OneStepDiffusion
from sr_hooks.networks.loading.loaders import import_basicsr
from sr_hooks.networks.network import Network

__all__ = [
    "Network",
    "OneStepDiffusion",
    "import_basicsr",
]
