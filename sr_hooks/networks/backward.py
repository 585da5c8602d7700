"""How a network is differentiated where the usual way fails: writes in place, reentrant checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from typing import TypeVar

import torch

from sr_hooks.core.torch_errors import is_out_of_memory
from sr_hooks.errors import NetworkError

__all__ = ["Backward"]

T = TypeVar("T")


@dataclass
class Backward:
    """How a network is differentiated. `differentiate` learns this from the errors that torch raises.

    Attributes:
        clones_outputs: whether every layer's output is cloned, because the network writes in place into a tensor that
            its backward needs.
        clones_saved: whether a saved tensor is cloned when the network writes into it, because the network writes in
            place outside of its layers.
        into_leaves: whether gradients are accumulated in `.grad`, because reentrant activation checkpoints refuse
            torch.autograd.grad.
        checkpoints: whether the activations of blocks are computed again in the backward, because memory ran out.
        ran_out: whether memory ran out in a backward, or in the forward before it.
        largest_input: (C,h,w), or (T,C,h,w), of the largest input that the network was called with.
            `inference.memory.with_less_memory` clears this and `ran_out`, and asks for them.
        cone_bytes: what a gradient of a window's cone takes with its activations computed twice, where even that did
            not fit; 0 elsewhere. `with_less_memory` clears this too.
    """

    clones_outputs: bool = False
    clones_saved: bool = False
    into_leaves: bool = False
    checkpoints: bool = False
    ran_out: bool = False
    largest_input: tuple[int, ...] = ()
    cone_bytes: int = 0

    def note_input(self, x: torch.Tensor) -> None:
        """Note the size of an input (N,C,h,w) or (N,T,C,h,w)."""
        if prod(x.shape[1:]) > prod(self.largest_input or (0,)):
            self.largest_input = tuple(x.shape[1:])

    def differentiate(self, compute: Callable[[], T], name: str) -> T:
        """compute(), which runs the network called `name` and a backward; again in another way where that fails.

        The second way clones every layer's output. The third, for writes in place outside of the layers, clones saved
        tensors when they are written to, which costs more.

        Raises:
            NetworkError: it cannot be differentiated even so.
        """
        try:
            with torch.autograd.graph.allow_mutation_on_saved_tensors() if self.clones_saved else nullcontext():
                return compute()
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                self.ran_out = True
                raise
            if "use_reentrant" in str(error) and not self.into_leaves:
                self.into_leaves = True
                return self.differentiate(compute, name)
            if "modified by an inplace operation" not in str(error):
                raise
            if self.clones_saved:
                raise NetworkError(
                    f"{name} cannot be differentiated: it changes in place, outside of any layer, a tensor that "
                    "its own backward needs; replace that operation (h += x) by one that is not in place (h = h + x)"
                ) from error
            self.clones_outputs, self.clones_saved = not self.clones_outputs, self.clones_outputs
        return self.differentiate(compute, name)

    def gradients(
        self, value: torch.Tensor, leaves: Sequence[torch.Tensor], *, retain_graph: bool = False
    ) -> list[torch.Tensor | None]:
        """d value / d leaves, None for those that it does not depend on; for use within `differentiate`.

        As torch.autograd.grad gives them, or by a backward into the leaves where activation checkpoints need that.
        """
        if not self.into_leaves:
            return list(torch.autograd.grad(value, leaves, retain_graph=retain_graph, allow_unused=True))
        for leaf in leaves:
            leaf.grad = None
        value.backward(retain_graph=retain_graph)
        gradients = [leaf.grad for leaf in leaves]
        for leaf in leaves:
            leaf.grad = None
        return gradients
