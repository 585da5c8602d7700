"""The blocks that score highest as a filter of parameters, for fine-tuning them alone."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

import sr_hooks
from sr_hooks.errors import NetworkError

__all__ = ["as_python", "train_only"]


def train_only(module: nn.Module, result: sr_hooks.Result | Iterable[str]) -> list[str]:
    """Let only the parameters of a result's blocks (`scalars["finetune"]`) require a gradient; returns their names.

        result = sr_hooks.run("conductance", network, lr)
        train_only(model.net_g, result)          # before the optimizer is made

    Raises:
        NetworkError: the module has no parameter in these blocks.
    """
    blocks = result.scalars["finetune"] if isinstance(result, sr_hooks.Result) else list(result)
    prefixes = tuple(f"{name.partition('#')[0].removesuffix(':in')}." for name in blocks)
    chosen = [name for name, _ in module.named_parameters() if name.startswith(prefixes)]
    if not chosen:
        raise NetworkError(f"{type(module).__name__} has no parameters in {', '.join(blocks) or 'no block'}")
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.startswith(prefixes))
    return chosen


def as_python(blocks: list[str]) -> str:
    """The same as a line for a training script without sr_hooks."""
    prefixes = ", ".join(repr(f"{name.partition('#')[0].removesuffix(':in')}.") for name in blocks)
    return f"for name, p in network.named_parameters(): p.requires_grad_(name.startswith(({prefixes},)))"
