"""The alarm: at the step at which a gradient is not finite, the first layer that is not finite is named and saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import sr_hooks
from sr_hooks.analyses import WatchContext
from sr_hooks.training import preserved

__all__ = ["Alarm"]

_INPUTS = 8  # that are kept of one step, whose gradients are accumulated
_ALARMS = 3  # in one run


@dataclass(frozen=True)
class _Call:
    """The arguments of one forward pass of the network in training, and the precision in which it ran."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    autocast: bool
    dtype: torch.dtype


class Alarm:
    """Looks at every step's gradients; keeps the inputs of the step, by reference, until its end.

    A value that is not finite anywhere in the forward pass makes gradients that are not. So one number for each step
    is enough, and layers are looked at only when it is not finite: the step's own input runs through the network once
    more, whose state is then restored to the bit.
    """

    def __init__(self, context: WatchContext) -> None:
        self.context = context
        self.calls: list[_Call] = []
        self.alarms = 0

    def listen(self, module: nn.Module) -> Any:
        """Keep the network's inputs from now on; the handle ends that."""

        def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if torch.compiler.is_compiling() or not torch.is_grad_enabled() or self.alarms >= _ALARMS:
                return
            kind = next((t.device.type for t in _tensors((args, kwargs))), "cpu")
            call = _Call(args, kwargs, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
            self.calls = [*self.calls[-_INPUTS + 1 :], call]

        return module.register_forward_pre_hook(keep, with_kwargs=True)

    def check(self, network: sr_hooks.Network, iteration: int) -> None:
        """Look at the gradients, before the optimizer's step."""
        calls, self.calls = self.calls, []
        if self.alarms >= _ALARMS:
            return
        gradients = {n: p.grad for n, p in network.module.named_parameters() if p.grad is not None}
        if not gradients or _sound(list(gradients.values())):
            return
        broken = [name for name, gradient in gradients.items() if not bool(torch.isfinite(gradient).all())]
        if broken:
            self.alarms += 1
            self._report(network, iteration, calls, broken)

    def _report(self, network: sr_hooks.Network, iteration: int, calls: list[_Call], broken: list[str]) -> None:
        first, call = None, None
        for call in calls:
            first = first_nonfinite(network.module, call)
            if first is not None:
                break
        weights = [n for n, p in network.module.named_parameters() if not bool(torch.isfinite(p).all())]
        if first is not None:
            where = f"{first} is the first layer whose values are NaN or infinite"
        elif calls:
            where = (
                f"the gradient of {broken[-1]} is NaN or infinite, and the input, run again, gives finite values "
                "in every layer: look at the loss, the backward pass, and what is random"
            )
        else:
            where = f"the gradient of {broken[-1]} is NaN or infinite; no forward pass was seen, so no layer is named"
        if weights:
            where += f"; weights are not finite already, of {weights[0]} first: an earlier step broke them"
        folder = self._save(network, iteration, call, first, broken, weights, where)
        saved = f"; its input is in {folder}" if folder is not None else ""
        self.context.log.error("sr_hooks: health at iteration %d: %s%s", iteration, where, saved)

    def _save(
        self,
        network: sr_hooks.Network,
        iteration: int,
        call: _Call | None,
        first: str | None,
        broken: list[str],
        weights: list[str],
        where: str,
    ) -> Any:
        if self.context.folder is None:
            return None
        tensors = list(_tensors((call.args, call.kwargs))) if call is not None else []
        names = ["input", *(f"input_{number}" for number in range(1, len(tensors)))]
        arrays = {n: t.detach().float().cpu().numpy() for n, t in zip(names, tensors, strict=False)}
        scalars = {"iteration": iteration, "first_nonfinite": first, "gradients": broken, "weights": weights}
        rank = f"-rank{self.context.rank}" if self.context.world_size > 1 else ""
        result = sr_hooks.Result("health", arrays, scalars, {"network": {"name": network.name}}, where + ".")
        return result.save(self.context.folder / "nonfinite" / f"{iteration}{rank}", figure=False)


def _sound(gradients: list[torch.Tensor]) -> bool:
    """Whether the norm of all is finite; an overflow of finite ones says no, too."""
    norms = [torch.linalg.vector_norm(g.detach(), dtype=torch.float32) for g in gradients if not g.is_sparse]
    return not norms or bool(torch.isfinite(torch.stack([norm.to(norms[0].device) for norm in norms])).all())


def first_nonfinite(module: nn.Module, call: _Call) -> str | None:
    """The layer that first has a value that is not finite in this forward pass; `NAME:in` where its input has one."""
    names: list[str] = []

    def look(name: str, value: Any) -> None:
        if not names and any(t.is_floating_point() and not bool(torch.isfinite(t).all()) for t in _tensors(value)):
            names.append(name)

    device = next((t.device.type for t in _tensors((call.args, call.kwargs))), "cpu")
    with preserved(module), ExitStack() as stack, torch.no_grad():
        for name, part in module.named_modules():
            before = part.register_forward_pre_hook(
                lambda _, args, kwargs, name=name: look(f"{name}:in" if name else "the input", (args, kwargs)),
                with_kwargs=True,
            )
            after = part.register_forward_hook(lambda _, args, out, name=name: look(name or "the output", out))
            stack.callback(before.remove)
            stack.callback(after.remove)
        with torch.autocast(device, enabled=call.autocast, dtype=call.dtype):
            module(*call.args, **call.kwargs)
    return names[0] if names else None


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in tuples, lists and mappings, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
