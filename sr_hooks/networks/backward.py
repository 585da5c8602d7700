"""The part of `Network` that concerns its backward: how it is differentiated where the plain way fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TypeVar

import torch

from sr_hooks.errors import NetworkError

__all__ = ["NetworkGradients"]

T = TypeVar("T")


class NetworkGradients:
    """The part of `Network` that concerns its backward.

    Attributes:
        clones_outputs: whether every layer's output is cloned on the way, because the network writes in place into
            what its backward needs; `differentiate` finds out.
    """

    name: str
    clones_outputs = False
    _writes = False  # in place, outside of its layers, into what its backward needs
    _into_leaves = False  # reentrant checkpoints refuse torch.autograd.grad

    def differentiate(self, compute: Callable[[], T]) -> T:
        """compute(), which runs the network and a backward; in other ways if it writes into what its backward needs.

        At first with every layer's output cloned; where it writes in place even outside of its layers, with what is
        saved for the backward cloned when it is written to, which costs more.

        Raises:
            NetworkError: it cannot be differentiated even so.
        """
        try:
            with torch.autograd.graph.allow_mutation_on_saved_tensors() if self._writes else nullcontext():
                return compute()
        except RuntimeError as error:
            if "use_reentrant" in str(error) and not self._into_leaves:
                self._into_leaves = True
                return self.differentiate(compute)
            if "modified by an inplace operation" not in str(error):
                raise
            if self._writes:
                raise NetworkError(
                    f"{self.name} cannot be differentiated: it changes in place, outside of any layer, a tensor that "
                    "its own backward needs; replace that operation (h += x) by one that is not in place (h = h + x)"
                ) from error
            self.clones_outputs, self._writes = not self.clones_outputs, self.clones_outputs
        return self.differentiate(compute)

    def differentiate_like(self, other: NetworkGradients) -> None:
        """Take over what `differentiate` found out on a copy."""
        for name in ("clones_outputs", "_writes", "_into_leaves"):
            setattr(self, name, getattr(other, name))

    def gradients(
        self, value: torch.Tensor, leaves: Sequence[torch.Tensor], *, retain_graph: bool = False
    ) -> list[torch.Tensor | None]:
        """d value / d leaves, None for those that it does not depend on; for use within `differentiate`.

        As torch.autograd.grad gives them, or by a backward into the leaves where activation checkpoints want that.
        """
        if not self._into_leaves:
            return list(torch.autograd.grad(value, leaves, retain_graph=retain_graph, allow_unused=True))
        for leaf in leaves:
            leaf.grad = None
        value.backward(retain_graph=retain_graph)
        found = [leaf.grad for leaf in leaves]
        for leaf in leaves:
            leaf.grad = None
        return found
