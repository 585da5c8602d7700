"""The shipped demo network (states `baseline` and `target`) and the shipped photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sr_hooks.errors import NetworkError
from sr_hooks.hookspecs import hookimpl
from sr_hooks.networks.network import Network

__all__ = ["demo_network", "photographs"]

_HERE = Path(__file__).parent


def demo_network(state: str = "target", **facts: Any) -> Network:
    """The shipped network: `baseline` (clean bicubic x4) or `target` (fine-tuned from it on blur and noise).

    `facts` are stated to `Network`, such as `scale` and `device`.
    """
    if state not in ("baseline", "target"):
        raise NetworkError(f"the demo network has the states baseline and target, not {state!r}")
    file = _HERE / "weights" / f"{state}.safetensors"
    return Network.from_file(file, **{"name": f"CompactResNet {state}", "input_range": 1, **facts})


def photographs() -> list[Path]:
    """Paths of the shipped photographs, 256x256, under free licences (photos/SOURCES.md)."""
    return sorted((_HERE / "photos").glob("*.png"))


@hookimpl
def register_network_loaders() -> dict[str, Any]:
    def load(spec: str, arguments: Any = None, *, weights: Any = None, **facts: Any) -> Network | None:
        name, _, state = spec.partition(":")
        if name != "demo":
            return None
        if arguments or weights is not None:
            raise NetworkError(f"{spec} has its own architecture and weights: leave out arguments and weights")
        return demo_network(state or "target", **facts)

    return {"demo": load}
