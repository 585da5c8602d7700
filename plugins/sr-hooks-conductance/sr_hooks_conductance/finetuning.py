"""The blocks that score highest as a filter of parameters, for fine-tuning them alone; a file beside the picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import nn

import sr_hooks
from sr_hooks.errors import NetworkError

__all__ = ["ConductanceResult", "as_python", "train_only"]

_FILE = "finetune.py"


class ConductanceResult(sr_hooks.Result):
    """A result of conductance, saved with `finetune.py`: the list as a filter that needs no sr_hooks."""

    def save(self, folder: str | Path, *, figure: bool = True) -> Path:
        saved = super().save(folder, figure=figure)
        (saved / _FILE).write_text(_as_file(self), encoding="utf-8")
        return saved


def train_only(module: nn.Module, result: sr_hooks.Result | Iterable[str]) -> list[str]:
    """Let only the parameters of a result's blocks (`scalars["finetune"]`) require a gradient; returns their names.

        result = sr_hooks.run("conductance", network, lr)
        train_only(model.net_g, result)          # before the optimizer is made

    Raises:
        NetworkError: the module has no parameter in these blocks.
    """
    blocks = result.scalars["finetune"] if isinstance(result, sr_hooks.Result) else list(result)
    prefixes = _prefixes(blocks)
    chosen = [name for name, _ in module.named_parameters() if name.startswith(prefixes)]
    if not chosen:
        raise NetworkError(f"{type(module).__name__} has no parameters in {', '.join(blocks) or 'no block'}")
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.startswith(prefixes))
    return chosen


def as_python(blocks: list[str]) -> str:
    """The same as a line for a training script without sr_hooks."""
    prefixes = ", ".join(map(repr, _prefixes(blocks)))
    return f"for name, p in network.named_parameters(): p.requires_grad_(name.startswith(({prefixes},)))"


def _prefixes(blocks: Iterable[str]) -> tuple[str, ...]:
    """What the names of the blocks' parameters begin with."""
    return tuple(f"{name.partition('#')[0].removesuffix(':in')}." for name in blocks)


def _as_file(result: sr_hooks.Result) -> str:
    chosen = "".join(f"    {prefix!r},\n" for prefix in _prefixes(result.scalars["finetune"]))
    return (
        f"# {result.verdict}\n"
        f"CHOSEN = (\n{chosen})\n\n\n"
        "def train_only(network):\n"
        '    """Let only the chosen layers require a gradient; call this before the optimizer is made."""\n'
        "    for name, parameter in network.named_parameters():\n"
        "        parameter.requires_grad_(name.startswith(CHOSEN))\n"
    )
