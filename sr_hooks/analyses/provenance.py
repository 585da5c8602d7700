"""What every result records: analysis and options, versions, network, device, number type, threads."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import torch

from sr_hooks.core.options import as_plain
from sr_hooks.networks.network import Network
from sr_hooks.version import __version__

__all__ = ["provenance_of"]


def provenance_of(analysis: str, network: Network, options: Any) -> dict[str, Any]:
    """What every result records. `execute` adds this; a watcher that does not call `execute` adds it itself."""
    return {
        "analysis": analysis,
        "options": as_plain(options),
        "versions": {
            "sr_hooks": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "network": network.describe(),
        "network_source": network.source,
        "device": str(network.device),
        "dtype": str(network.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }
