"""How much memory a forward and backward need, and how many inputs at once the device has room for."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn

from sr_hooks.core.torch_errors import is_out_of_memory
from sr_hooks.inference.memory.available import available_memory
from sr_hooks.networks.network import Network
from sr_hooks.networks.probing.trial_inputs import trial_input

__all__ = ["bytes_of_forward", "bytes_of_gradient", "samples_that_fit"]

_log = logging.getLogger("sr_hooks")
_SIDES = (32, 16, 8)  # of the image on which a need is measured, in pixels: the first for which there is memory
_USED = 0.7  # of the memory that is free; the rest is for what convolutions and other programs take meanwhile
_TRANSIENT = 3  # tensors like the largest saved one, at once in a forward, and in a backward beside what is saved


class _Needs(NamedTuple):
    """Bytes a pixel of the input, of a forward alone and of a forward and backward."""

    forward: float
    gradient: float


_measured: WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], _Needs | None]] = WeakKeyDictionary()


def samples_that_fit(network: Network, shape: tuple[int, ...]) -> int | None:
    """How many inputs (C,h,w) may go through one forward and backward at once; at least 1, None where unknown.

    The need is measured on a small image and grows with the number of pixels. Attention over all positions needs more,
    so that memory may still run out: `in_batches` then halves the batch.
    """
    free, need = available_memory(network.device), bytes_of_gradient(network, shape)
    if free is None or not need:
        return None
    return max(int(_USED * free / need), 1)


def bytes_of_gradient(network: Network, shape: tuple[int, ...]) -> float | None:
    """Bytes that a forward and backward to one input (C,h,w) hold, without weights; None where it does not run small.

    Counted are the tensors that autograd saves, which is the same on every device.
    """
    needs = _needs(network, shape)
    return None if needs is None else needs.gradient * shape[-2] * shape[-1]


def bytes_of_forward(network: Network, shape: tuple[int, ...]) -> float | None:
    """Bytes that a forward of one input (C,h,w) holds without a graph, nearly; as `bytes_of_gradient` otherwise."""
    needs = _needs(network, shape)
    return None if needs is None else needs.forward * shape[-2] * shape[-1]


def _needs(network: Network, shape: tuple[int, ...]) -> _Needs | None:
    height, width = shape[-2:]
    known = _measured.setdefault(network.module, {})
    key = (shape[:-2], network.dtype, network.device.type, torch.is_autocast_enabled())
    for side in _SIDES:
        if key in known:
            break
        try:
            known[key] = _measure(network, (*shape[:-2], min(height, side), min(width, side)))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            break
        gc.collect()  # not within the except, whose error holds the frames
    return known.get(key)


def _measure(network: Network, corner: tuple[int, ...]) -> _Needs | None:
    weights = {value.untyped_storage().data_ptr() for value in _tensors(network.module)}
    saved: list[torch.Tensor] = []
    frames = corner[0] if len(corner) > 3 else 0

    def run() -> torch.Tensor:
        saved.clear()  # detached: a saved output that leads to its graph would never be freed
        with (
            torch.enable_grad(),
            torch.autograd.graph.saved_tensors_hooks(
                lambda tensor: saved.append(tensor.detach()), lambda nothing: nothing
            ),
        ):
            x = trial_input(frames, corner[-3], (corner[-2], corner[-1]), network.device).requires_grad_()
            return network(x).detach()

    try:
        output = network.differentiate(run)
    except Exception as error:  # what fails here fails in the analysis too, which says why
        if is_out_of_memory(error):
            raise
        _log.debug("the memory that %s needs is not known: %s", network.name, error)
        return None
    sizes = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in saved}
    held = [size for pointer, size in sizes.items() if pointer not in weights]
    largest = max([*held, output.numel() * output.element_size()])
    pixels = corner[-2] * corner[-1]
    return _Needs(_TRANSIENT * largest / pixels, (sum(held) + _TRANSIENT * largest) / pixels)


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    return chain(module.parameters(), module.buffers())
