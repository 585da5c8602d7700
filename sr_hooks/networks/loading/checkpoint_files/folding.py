"""Fold what was pruned, normalised, parametrized or adapted by LoRA in a file into the plain weights of the network."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn import functional as F

from sr_hooks.errors import CheckpointError

__all__ = ["fold_state"]

State = dict[str, torch.Tensor]


def fold_state(state: Mapping[str, torch.Tensor], path: Path, settings: Mapping[str, Any]) -> tuple[State, list[str]]:
    """The plain weights that such names stand for, and a sentence for each kind that was folded.

    Args:
        settings: numbers beside the weights; LoRA's `lora_alpha`, where the file has it.

    Raises:
        CheckpointError: a parametrization that is not known, or LoRA in a layout other than peft's or without alpha.
    """
    folded, remarks = dict(state), []
    for name, fold in (
        ("pruning masks", _pruned),
        ("weight norm", _weight_norms),
        ("spectral norm", _spectral_norms),
        ("parametrizations", _parametrized),
        ("LoRA", lambda state: _adapted(state, path, settings)),
    ):
        before = len(folded)
        folded = fold(folded)
        if len(folded) != before:
            remarks.append(f"{name} folded into plain weights")
    unknown = next((name for name in folded if ".parametrizations." in f".{name}"), None)
    if unknown is not None:
        raise CheckpointError(
            f"{unknown} in {path} belongs to a parametrization that cannot be folded: call "
            "torch.nn.utils.parametrize.remove_parametrizations on the network and save its weights again"
        )
    return folded, remarks


def _pruned(state: State) -> State:
    """torch.nn.utils.prune: weight_orig times weight_mask."""
    for mask in [name for name in state if name.endswith("_mask")]:
        name = mask.removesuffix("_mask")
        if f"{name}_orig" in state:
            original = state.pop(f"{name}_orig")
            state[name] = original * state.pop(mask).to(original.dtype)
    return state


def _weight_norms(state: State) -> State:
    """The older torch.nn.utils.weight_norm: weight_g and weight_v."""
    for size in [name for name in state if name.endswith("_g")]:
        name = size.removesuffix("_g")
        if f"{name}_v" in state:
            state[name] = _normalised(state.pop(f"{name}_v"), state.pop(size))
    return state


def _spectral_norms(state: State) -> State:
    """The older torch.nn.utils.spectral_norm: weight_orig, weight_u and weight_v."""
    for original in [name for name in state if name.endswith("_orig")]:
        name = original.removesuffix("_orig")
        if f"{name}_u" in state and f"{name}_v" in state:
            state[name] = _of_spectral_norm(state.pop(original), state.pop(f"{name}_u"), state.pop(f"{name}_v"))
    return state


def _parametrized(state: State) -> State:
    """torch.nn.utils.parametrizations: weight_norm and spectral_norm."""
    pattern = re.compile(r"^(.*?)parametrizations\.([^.]+)\.(original0|original)$")
    for match in [match for name in state if (match := pattern.match(name))]:
        part, name = match.groups()[:2]
        base = f"{part}parametrizations.{name}."
        values = {key.removeprefix(base): value for key, value in state.items() if key.startswith(base)}
        if values.keys() == {"original0", "original1"}:
            weight = _normalised(values["original1"], values["original0"])
        elif values.keys() == {"original", "0._u", "0._v"}:
            weight = _of_spectral_norm(values["original"], values["0._u"], values["0._v"])
        else:
            continue
        state = {key: value for key, value in state.items() if not key.startswith(base)}
        state[f"{part}{name}"] = weight
    return state


def _normalised(direction: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Weight norm along the dimension that `size` has more than one number in."""
    along = [index for index, count in enumerate(size.shape) if count > 1]
    dim = along[0] if along else (0 if size.ndim else -1)
    return torch._weight_norm(direction, size, dim)


def _of_spectral_norm(original: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The weight over its largest singular value, as the vectors of the file estimate it."""
    dim = next((index for index, count in enumerate(original.shape) if count == u.numel()), 0)
    matrix = original.transpose(0, dim).reshape(original.shape[dim], -1)
    return original / torch.vdot(u, torch.mv(matrix, v))


def _adapted(state: State, path: Path, settings: Mapping[str, Any]) -> State:
    """peft's LoRA: base_layer.weight plus lora_B times lora_A, times alpha over the rank."""
    adapters = [name for name in state if re.search(r"(^|[._])lora_", name)]
    if not adapters:
        return state
    downs = [name for name in adapters if re.search(r"\.lora_A\.(?:[^.]+\.)?weight$", name)]
    ups = {name: re.sub(r"\.lora_A\.", ".lora_B.", name) for name in downs}
    if len(downs) * 2 != len(adapters) or any(up not in state for up in ups.values()):
        raise CheckpointError(
            f"{path} holds LoRA weights ({adapters[0]}, ...) in a layout that is not peft's: merge them into the base "
            "network and save its weights"
        )
    scaling = _scaling(path, settings)
    merged = {re.sub(r"\.base_layer\.", ".", name): value for name, value in state.items() if name not in adapters}
    for down, up in ups.items():
        target = re.sub(r"\.lora_A\.(?:[^.]+\.)?weight$", ".weight", down)
        if target not in merged:
            raise CheckpointError(
                f"{path} holds a LoRA adapter without the base network ({down}): merge it into the base network "
                "(peft: merge_and_unload) and save its weights"
            )
        merged[target] = merged[target] + _update(state[down], state[up], scaling(state[down].shape[0]))
    return merged


def _update(down: torch.Tensor, up: torch.Tensor, scale: float) -> torch.Tensor:
    """What an adapter adds to the weight of its layer; as peft computes it, for equal bits."""
    if down.ndim == 2:
        return (up @ down) * scale
    if tuple(down.shape[2:]) == (1, 1):
        return (up.flatten(1) @ down.flatten(1))[..., None, None] * scale
    return F.conv2d(down.permute(1, 0, 2, 3), up).permute(1, 0, 2, 3) * scale


def _scaling(path: Path, settings: Mapping[str, Any]) -> Callable[[int], float]:
    """alpha over the rank, of the file itself or of peft's adapter_config.json beside it."""
    config = path.parent / "adapter_config.json"
    values: dict[str, Any] = dict(settings)
    if "lora_alpha" not in values and config.is_file():
        try:
            values = json.loads(config.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            values = {}
    odd = [name for name in ("use_dora", "fan_in_fan_out", "alpha_pattern", "rank_pattern") if values.get(name)]
    if odd:
        raise CheckpointError(f"{path} holds LoRA weights with {odd[0]}, which is not followed: merge them with peft")
    alpha = values.get("lora_alpha")
    if not isinstance(alpha, (int, float)):
        raise CheckpointError(
            f"{path} holds LoRA weights, whose lora_alpha is neither in the file nor in {config.name} beside it: "
            "put peft's adapter_config.json there, or merge the adapter (merge_and_unload)"
        )
    root = bool(values.get("use_rslora"))
    return lambda rank: cast("float", alpha / rank**0.5 if root else alpha / rank)
