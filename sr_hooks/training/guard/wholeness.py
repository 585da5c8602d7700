"""Refuse networks whose weights are not whole in this process, since nothing can be asked about a part of them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from sr_hooks.errors import NetworkError

__all__ = ["check_whole"]


def check_whole(modules: Mapping[str, nn.Module]) -> None:
    """Check that the weights of networks, by name, are whole in this process.

    Raises:
        NetworkError: FSDP, DTensor or DeepSpeed has spread them over the processes, or they have no values.
    """
    for name, module in modules.items():
        spread = _spreads(module)
        if spread:
            raise NetworkError(
                f"the {name} network cannot be watched: {spread} spreads its weights over the processes, and none of "
                "them has the whole network. Watch a run with DistributedDataParallel, or analyse a saved checkpoint"
            )
        unreal = next((key for key, value in module.named_parameters() if value.is_meta), None)
        if unreal is not None:
            raise NetworkError(f"the {name} network cannot be watched: its weight {unreal} has no values (device meta)")


def _spreads(module: nn.Module) -> str:
    """What has spread a network's weights over the processes; "" where they are whole."""
    if any(getattr(part, "_is_fsdp_managed_module", False) for part in module.modules()):
        return "FSDP"
    kinds = {base.__name__ for part in module.modules() for base in type(part).__mro__}
    for kind, called in (("FullyShardedDataParallel", "FSDP"), ("FSDPModule", "FSDP (fully_shard)")):
        if kind in kinds:
            return called
    for value in module.parameters():
        if hasattr(value, "ds_id"):
            return "DeepSpeed"
        if hasattr(value, "device_mesh") or hasattr(value, "_local_tensor"):
            return "a distributed tensor (DTensor)"
    return ""
