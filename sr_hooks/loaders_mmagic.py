"""Networks of mmagic, and of other projects on mmengine: out of a config, or out of a model that is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sr_hooks.errors import NetworkError
from sr_hooks.loaders import Loaded

__all__ = ["from_mmagic"]


def from_mmagic(
    config: str | Path,
    checkpoint: str | Path | None = None,
    *,
    arguments: Mapping[str, Any] | None = None,
    network: str = "generator",
) -> Loaded:
    """See Network.from_mmagic."""
    raise NetworkError("mmengine cannot be imported")
