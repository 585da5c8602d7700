"""What is done where memory runs out: an attempt that leaves nothing allocated, another way, and a clear refusal."""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch

from sr_hooks.core.torch_errors import is_out_of_memory
from sr_hooks.errors import ResourceError
from sr_hooks.hooks.checkpoints import repeated_blocks
from sr_hooks.inference.memory.available import as_text, in_words
from sr_hooks.inference.memory.needs import bytes_of_forward, bytes_of_gradient
from sr_hooks.networks.network import Network

__all__ = ["Attempt", "attempt", "release", "with_less_memory"]

T = TypeVar("T")
_log = logging.getLogger("sr_hooks")
_SIDE = 16  # of the image on which checkpoints are proved, in pixels
_EQUAL = 1e-5  # relative difference of two gradients that rounding explains
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """What a computation returned; or, where memory ran out, the bytes that it asked for last, 0 where unknown.

    The error itself is not kept: its traceback holds the frames, and these hold the tensors.
    """

    answer: T | None = None
    ran_out: bool = False
    request: int = 0

    def result(self) -> T:
        """The answer.

        Raises:
            MemoryError: memory ran out.
        """
        if self.ran_out:
            raise MemoryError(f"out of memory: tried to allocate {as_text(self.request)}")
        return self.answer  # type: ignore[return-value]


def attempt(compute: Callable[[], T]) -> Attempt[T]:
    """compute(); where memory runs out, all that it had allocated is given back, and the attempt says so.

        tried = attempt(lambda: network(images))
        if tried.ran_out:
            ...                     # again with fewer images
        output = tried.result()

    Other errors pass. `in_batches` halves batches by this.
    """
    try:
        return Attempt(compute())
    except ResourceError:  # a computation inside has tried everything
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        request = _request(str(error))
    release()
    return Attempt(ran_out=True, request=request)


def release() -> None:
    """Give back memory that nothing uses any more; not within an `except`, whose error holds the frames."""
    gc.collect()  # frames and errors may hold each other in a circle
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def with_less_memory(network: Network, compute: Callable[[], T], *, what: str) -> T:
    """compute(), which halves its batches itself; where memory still runs out, with activations computed twice.

        answer = with_less_memory(network, lambda: maps(network, images), what="maps")

    Activations are checkpointed at the network's blocks, where a backward ran out of memory and where the gradients on
    a small image are equal. `execute` calls this for every analysis.

    Args:
        compute: differentiates by `network.differentiate`, so that checkpoints apply.
        what: the computation, for the message.

    Raises:
        ResourceError: the memory is too small; one line that says how much was needed, and what to do.
    """
    backward = network.backward
    backward.ran_out, backward.largest_input, backward.cone_bytes = False, (), 0
    first = attempt(compute)
    if not first.ran_out:
        return first.result()
    tried, last, twice = "one input at a time", first, bool(backward.cone_bytes)
    if backward.ran_out and not backward.checkpoints and not twice and _checkpoints_are_equal(network):
        _log.info("sr_hooks: %s runs out of memory; the activations of %s are computed twice", what, network.name)
        backward.checkpoints = True
        try:
            last = attempt(compute)
        finally:
            backward.checkpoints = False
        if not last.ran_out:
            return last.result()
        twice = True
    if twice:
        tried += ", its activations computed twice"
    where = f"the memory of {in_words(network.device)}, {tried}"
    remedy = f"give a smaller image or a part of it{_elsewhere(network.device)}, or end other programs that hold memory"
    raise ResourceError(f"{what} of {network.name} does not fit into {where}: {_need(network, last)}{remedy}")


def _need(network: Network, last: Attempt[T]) -> str:
    """What was needed, as far as it is known."""
    shape, cone = network.backward.largest_input, network.backward.cone_bytes
    needs = (bytes_of_gradient(network, shape), bytes_of_forward(network, shape)) if shape else (None, None)
    gradient, forward = (None if need is None else as_text(need) for need in needs)
    parts = [f"what the window depends on takes some {as_text(cone)} so"] if cone else []
    size = "x".join(map(str, shape))
    parts += [f"a gradient at {size} takes some {gradient} (a forward alone {forward})"] if gradient else []
    parts += [f"the last tensor that did not fit took {as_text(last.request)}"] if last.request else []
    return ", and ".join(parts) + "; " if parts else ""


def _elsewhere(device: torch.device) -> str:
    return "" if device.type == "cpu" else ', run on the CPU (network.to("cpu"), --device cpu)'


def _request(message: str) -> int:
    """Bytes that could not be allocated, as torch's messages say; 0 where they do not."""
    match = re.search(r"[Tt]r(?:ied|y) to allocate ([\d.]+) (bytes|[KMGT]iB)", message)
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0


def _checkpoints_are_equal(network: Network) -> bool:
    """Whether the network has blocks, and gradients on a small image are the same with and without checkpoints."""
    backward = network.backward
    if not repeated_blocks(network.module) or backward.clones_outputs or backward.clones_saved:
        return False
    before = replace(backward)

    def gradient() -> torch.Tensor:
        leaf = network.sample(_SIDE).requires_grad_()
        with torch.enable_grad():
            (value,) = network.gradients(network(leaf).float().square().sum(), [leaf])
        return torch.zeros_like(leaf) if value is None else value

    try:
        plain = network.differentiate(gradient)
        backward.checkpoints = True
        again = network.differentiate(gradient)
    except Exception as error:
        _log.debug("%s cannot be checkpointed: %s", network.name, error)
        return False
    finally:
        changed = (backward.clones_outputs, backward.clones_saved) != (before.clones_outputs, before.clones_saved)
        vars(backward).update(vars(before))
    return not changed and float((plain - again).norm()) <= _EQUAL * float(plain.norm())
