"""The shipped demo network (states `baseline` and `target`) and the shipped photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sr_hooks.errors import NetworkError
from sr_hooks.hookspecs import hookimpl
from sr_hooks.networks.network import Network

__all__ = ["demo_network", "photographs"]

_HERE = Path(__file__).parent


def demo_network(state: str = "target") -> Network:
    """The shipped network: `baseline` (clean bicubic x4) or `target` (fine-tuned from it on blur and noise)."""
    if state not in ("baseline", "target"):
        raise NetworkError(f"the demo network has the states baseline and target, not {state!r}")
    file = _HERE / "weights" / f"{state}.safetensors"
    return Network.from_file(file, name=f"CompactResNet {state}", input_range=1)


def photographs() -> list[Path]:
    """Paths of the shipped photographs, 256x256, under free licences (photos/SOURCES.md)."""
    return sorted((_HERE / "photos").glob("*.png"))


@hookimpl
def register_network_loaders() -> dict[str, Any]:
    def load(spec: str, arguments: Any = None, *, weights: Any = None, **facts: Any) -> Network | None:
        name, _, state = spec.partition(":")
        return demo_network(state or "target") if name == "demo" else None

    return {"demo": load}
