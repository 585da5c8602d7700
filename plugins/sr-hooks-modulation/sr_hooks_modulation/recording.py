"""Find modulations in a forward, feature * a + b with a and b independent of the feature, and change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

import sr_hooks

__all__ = ["Site", "find_modulations", "run_with"]

aten = torch.ops.aten
_TIMES = {aten.mul.Tensor, aten.mul_.Tensor}
_PLUS = {aten.add.Tensor, aten.add_.Tensor}
_RENAMES = {aten.view.default, aten.alias.default, aten.clone.default, aten.detach.default, aten.expand.default}


@dataclass(frozen=True)
class Site:
    """A modulation: the numbers of its product and its sum among the operations, and which argument is a, which b."""

    times: int
    gamma_at: int
    plus: int
    beta_at: int


class _Numbered(TorchDispatchMode):
    """Counts the operations of a forward."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        number, self.count = self.count, self.count + 1
        return self.run(number, function, args, kwargs or {})

    def run(self, number: int, function: Any, args: Any, kwargs: Any) -> Any:
        raise NotImplementedError


class _Recorder(_Numbered):
    """For each value the operations that it depends on, as bits of a number; products and sums with their operands."""

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        self.image = image
        self.alive: list[Any] = [image]  # so that no id is given away again
        self.value: dict[int, int] = {}
        self.before: dict[int, int] = {}  # of each value, the bits of all values before it
        self.values = 0
        self.products: dict[int, tuple[int, list[int | None]]] = {}
        self.sums: list[tuple[int, list[int | None]]] = []
        self.number_of(image)

    def number_of(self, tensor: torch.Tensor, before: int = 0) -> int:
        self.alive.append(tensor)
        self.value[id(tensor)] = self.values
        self.before[self.values] = before
        self.values += 1
        return self.values - 1

    def run(self, number: int, function: Any, args: Any, kwargs: Any) -> Any:
        taken = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
        known = [self.value[id(tensor)] for tensor in taken if id(tensor) in self.value]
        operands = [self.value.get(id(x)) if isinstance(x, torch.Tensor) else None for x in args[:2]]
        given = function(*args, **kwargs)
        before = 0
        for value in known:
            before |= self.before[value] | (1 << value)
        for leaf in tree_flatten(given)[0]:
            if not isinstance(leaf, torch.Tensor) or not known:
                continue
            if function in _RENAMES and len(known) == 1 and leaf.shape == taken[0].shape:
                self.alive.append(leaf)
                self.value[id(leaf)] = known[0]
                continue
            value = self.number_of(leaf, before)
            if function in _TIMES and len(known) == 2:
                self.products[value] = (number, operands)
            elif function in _PLUS and len(known) == 2:
                self.sums.append((number, operands))
        return given

    def sites(self) -> list[Site]:
        """The sums of a product and a value, of which neither depends on the feature that is multiplied."""
        return [site for number, operands in self.sums if (site := self._site(number, operands)) is not None]

    def _site(self, number: int, operands: Sequence[int | None]) -> Site | None:
        for product_at, product in enumerate(operands):
            beta_at = 1 - product_at
            beta = operands[beta_at]
            if product is None or beta is None or product not in self.products:
                continue
            times, factors = self.products[product]
            choices = []
            for gamma_at in (0, 1):
                gamma, feature = factors[gamma_at], factors[1 - gamma_at]
                if gamma is None or feature is None or self._depends(feature, gamma):
                    continue
                if not any(self._depends(value, feature) for value in (gamma, beta)):
                    choices.append((self._alike(gamma, beta), Site(times, gamma_at, number, beta_at)))
            if choices:  # where either factor may be the feature: a and b come the same way
                return max(choices, key=lambda choice: choice[0])[1]
        return None

    def _alike(self, one: int, other: int) -> float:
        """The share of the values before one of two that are before both."""
        either = self.before[one] | self.before[other]
        return bin(self.before[one] & self.before[other]).count("1") / max(bin(either).count("1"), 1)

    def _depends(self, value: int, feature: int) -> bool:
        return value == feature or bool(self.before[value] >> feature & 1)


class _Changed(_Numbered):
    """Runs a forward with other tensors at the modulations; collects those that were there."""

    def __init__(self, sites: Sequence[Site], values: Mapping[Site, tuple[torch.Tensor, torch.Tensor]] | None) -> None:
        super().__init__()
        self.collected: dict[tuple[int, int], torch.Tensor] = {}
        self.changes = {}
        self.wanted = [(at, where) for s in sites for at, where in ((s.times, s.gamma_at), (s.plus, s.beta_at))]
        for site in sites if values is not None else ():
            gamma, beta = values[site]
            self.changes |= {(site.times, site.gamma_at): gamma, (site.plus, site.beta_at): beta}

    def run(self, number: int, function: Any, args: Any, kwargs: Any) -> Any:
        for at, where in self.wanted:
            if at == number:
                self.collected[at, where] = args[where].clone()
                if (at, where) in self.changes:
                    args = (*args[:where], self.changes[at, where].to(args[where]), *args[where + 1 :])
        return function(*args, **kwargs)


@torch.no_grad()
def find_modulations(network: sr_hooks.Network, image: torch.Tensor) -> list[Site]:
    """The modulations of a forward on an image (1,C,h,w): feature * a + b, a and b computed, and not from the feature.

    Gates that are computed from their feature (channel attention), skip connections, normalisation and weights are no
    modulations.
    """
    network(image)  # what a network does at its first call only is done
    with (recorder := _Recorder(image)):
        network(image)
    return recorder.sites()


@torch.no_grad()
def run_with(
    network: sr_hooks.Network,
    image: torch.Tensor,
    sites: Sequence[Site],
    values: Mapping[Site, tuple[torch.Tensor, torch.Tensor]] | None = None,
) -> tuple[torch.Tensor, dict[Site, tuple[torch.Tensor, torch.Tensor]]]:
    """The output for an image, with other a and b where given; and the a and b that were there."""
    with (changed := _Changed(sites, values)):
        output = network(image)
    own = {s: (changed.collected[s.times, s.gamma_at], changed.collected[s.plus, s.beta_at]) for s in sites}
    return output, own
