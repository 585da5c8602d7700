"""Ask a class whose `load_state_dict` transforms the names of weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from sr_hooks.networks.loading.checkpoint_files.weights import Weights
from sr_hooks.networks.unwrap import deep_copy

__all__ = ["load_by_class"]


def load_by_class(module: nn.Module, variants: Sequence[Weights]) -> Weights | str:
    """Load by the module's own code, where it has some; the weights that were loaded, or why none were.

    The own code may leave weights as they are without a word. So it is tried on a copy first, in which no weight has a
    value; each must have one afterwards.

    Returns:
        "" where the class defines no such method.
    """
    if not _has_own_code(module):
        return ""
    reason = ""
    for weights in variants:
        try:
            trial = deep_copy(module)
            for parameter in trial.parameters():
                if parameter.is_floating_point() and parameter.numel():
                    parameter.data.fill_(torch.nan)
            reason = _load(trial, weights.state)
            unset = [name for name, value in trial.named_parameters() if bool(torch.isnan(value.detach()).any())]
            if not reason and not unset:
                _load(module, weights.state)
                return weights
            reason = reason or f"nothing, but {unset[0]} was left as it was"
        except Exception as error:  # code that is not ours
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    return reason


def _load(module: nn.Module, state: dict[str, torch.Tensor]) -> str:
    """Load, and say what the module reports as missing or not expected."""
    answer = module.load_state_dict(dict(state))
    missing, unexpected = (list(getattr(answer, name, ())) for name in ("missing_keys", "unexpected_keys"))
    return f"missing {missing[:2]}, unexpected {unexpected[:2]}" if missing or unexpected else ""


def _has_own_code(module: nn.Module) -> bool:
    """Whether the class, or a part of it, changes names while it loads."""
    if type(module).load_state_dict is not nn.Module.load_state_dict:
        return True
    for part in module.modules():
        own = type(part)._load_from_state_dict is not nn.Module._load_from_state_dict
        if getattr(part, "_load_state_dict_pre_hooks", None) or (
            own and not type(part).__module__.startswith("torch.")
        ):
            return True
    return False
