"""Objectives by name, as options name them, ours and those of plugins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from sr_hooks.attribution.objectives.downstream import Downstream
from sr_hooks.attribution.objectives.objective import Custom, Objective
from sr_hooks.attribution.objectives.window_values import (
    Channel,
    Gabor,
    GradientMagnitude,
    Intensity,
    Loss,
    Residual,
)
from sr_hooks.core import registry as plugins
from sr_hooks.errors import OptionError, nearest
from sr_hooks.hookspecs import hookimpl

__all__ = ["make_loss", "make_objective", "register_objectives"]


def make_objective(objective: str | Objective | Callable[..., Any], *, gt: Any = None) -> Objective:
    """Return the Objective that a text, a function or an Objective stands for.

    Args:
        objective: a text `name` or `name:argument`, as the option `objective` of `lam` takes it; a function, see
            `Custom`; or an Objective, which is returned.
        gt: the ground truth (1,C,H,W) in [0, 1], for `loss` and for `module` with a loss of two images.

    Raises:
        OptionError: there is no such objective, the argument is bad, or the ground truth is missing.

    Examples:
        >>> from sr_hooks.attribution import make_objective
        >>> [make_objective(text).name for text in ("gradient", "intensity", "channel:1", "gabor:45", "residual")]
        ['gradient', 'intensity', 'channel:1', 'gabor:45', 'residual']
    """
    if isinstance(objective, Objective):
        return objective
    if callable(objective):
        return Custom(objective)
    name, _, argument = str(objective).partition(":")
    if name == "loss":
        if gt is None:
            raise OptionError("objective loss needs the ground truth: gt=(1,C,H,W) in [0, 1]")
        return Loss(gt, argument or "l2")
    known = plugins.contributions("register_objectives")
    if name not in known:
        raise OptionError(f"no objective {name!r}; {nearest(name, [*known, 'loss'])}")
    with plugins.blamed("register_objectives", name, f"objective {objective}"):
        try:
            made = cast("Objective", known[name](argument or None))
        except (ValueError, TypeError) as error:
            raise OptionError(f"objective {objective!r}: {error}") from None
    return made.against(gt) if isinstance(made, Downstream) else made


def make_loss(objective: str | Callable[..., Any]) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None:
    """The loss of an output and the ground truth that FAIG's option `objective` names; None for the squared error.

    Raises:
        OptionError: neither `squared`, `feature:...`, `module:...` nor a torch module.
    """
    if objective == "squared":
        return None
    if isinstance(objective, nn.Module):
        return Downstream(type(objective).__name__, objective).loss
    kind = str(objective).partition(":")[0]
    if kind not in ("feature", "module"):
        raise OptionError(f"no loss {objective!r}; there are squared, feature:NETWORK:LAYER and module:FILE.py:CLASS")
    make = Downstream.feature if kind == "feature" else Downstream.module_in_file
    return make(str(objective).partition(":")[2]).loss


def _bare(kind: type[Objective]) -> Callable[[str | None], Objective]:
    def factory(argument: str | None) -> Objective:
        if argument is not None:
            raise ValueError("it takes no argument")
        return kind()

    return factory


def _channel(argument: str | None) -> Objective:
    channel = int(argument or 0)
    if channel < 0:
        raise ValueError("channels count from 0")
    return Channel(channel)


@hookimpl
def register_objectives() -> dict[str, Callable[[str | None], Objective]]:
    return {
        "gradient": _bare(GradientMagnitude),
        "intensity": _bare(Intensity),
        "channel": _channel,
        "gabor": lambda argument: Gabor(float(argument or 0)),
        "residual": _bare(Residual),
        "feature": lambda argument: Downstream.feature(argument or ""),
        "module": lambda argument: Downstream.module_in_file(argument or ""),
    }
