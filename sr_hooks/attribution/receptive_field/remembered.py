"""What was recorded of a network and of objectives after it: remembered while both compute the same, proved each time.

A recording is taken again only where the operations of a new run are those of the run that was recorded: the network's
on a small image (`observed`), the objectives' on zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from sr_hooks.attribution.objectives.objective import Objective
from sr_hooks.attribution.receptive_field.cone import Cone
from sr_hooks.attribution.receptive_field.recording import recorded
from sr_hooks.attribution.receptive_field.trace import Trace, Untraceable, check_hooks, record
from sr_hooks.images.windows import Window
from sr_hooks.inference.behaviour import observed
from sr_hooks.inference.signature import content_of, operations_of
from sr_hooks.networks.network import Network

__all__ = ["Recording", "confirm", "recording_of", "remembered"]

_LARGE = 1 << 21  # values of an output; of fewer an objective is faster computed than run without data
_MOST = 16  # recordings with objectives that a network keeps, the latest used ones
_recordings: WeakKeyDictionary[nn.Module, tuple[str, dict[Any, Any]]] = WeakKeyDictionary()


class Recording:
    """A network's operations for a batch and then an objective's at some windows, and the cones of these windows.

    Attributes:
        network: the operations of the network alone.
        trace: all operations; results are the output and one value a window.
    """

    def __init__(self, network: Trace, objectives: Trace) -> None:
        (out,) = network.results
        self.network, self.trace = network, network.followed_by(objectives, [out, 0])
        self._cones: dict[tuple[int, ...] | None, Cone] = {}

    def cone(self, indices: tuple[int, ...]) -> Cone:
        """Of the windows with these numbers."""
        if indices not in self._cones:
            self._cones[indices] = Cone(self.trace, [1 + i for i in indices], shown=0)
        return self._cones[indices]

    def work(self) -> int:
        """Multiply-accumulates of one whole forward."""
        if None not in self._cones:
            self._cones[None] = Cone(self.network, [0])
        return self._cones[None].work


def recording_of(
    network: Network, objective: Objective, windows: Sequence[Window], shape: Sequence[int], precision: str
) -> Recording:
    """The recording for batches of this shape (N,C,h,w); a new one where network, objective or windows are new.

    Raises:
        Untraceable: the operations of the network or of the objective cannot be written down.
    """
    operations = _operations(network, shape, precision)
    shapes = [operations.shapes[operations.results[0]], operations.shapes[0]]

    def values(output: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
        return [objective(output, x, window) for window in windows]

    known = remembered(network).setdefault("with objectives", {})
    digest = operations_of(values, shapes, "meta" if max(map(prod, shapes)) > _LARGE else "cpu")
    key = (tuple(shape), precision, digest)
    recording = known.pop(key, None) if digest else None
    if recording is None or recording.network is not operations:
        recording = Recording(operations, record(values, nn.Module(), shapes, network.device))
    if digest:
        known[key] = recording  # the latest used ones stand last
        for old in list(known)[:-_MOST]:
            del known[old]
    return recording


def confirm(network: Network, shape: Sequence[int], precision: str) -> bool:
    """Record the network again at this size, and tell whether its operations are those that were remembered.

    Where they are not, what was remembered is forgotten.
    """
    memory, key = remembered(network), (tuple(shape), precision)
    before = memory.get(key)
    if not isinstance(before, Trace) or memory["recorded", key] is observed(network):
        return True
    del memory[key]
    if _written(_operations(network, *key)) != _written(before):
        _recordings.pop(network.module)
        return False
    memory[key] = before  # the cones are made of these very operations
    return True


def _operations(network: Network, shape: Sequence[int], precision: str) -> Trace:
    """The network's own operations."""
    memory, key = remembered(network), (tuple(shape), precision)
    if key not in memory:
        memory["recorded", key] = observed(network)
        memory[key] = recorded(network, shape, precision)
    trace: Trace | Untraceable = memory[key]
    if isinstance(trace, Untraceable):
        raise trace
    return trace


def _written(trace: Trace) -> str:
    """The operations of a trace as text, constants by their values."""
    steps = [f"{step.function} {step.args} {step.kwargs} {step.outputs}" for step in trace.steps]
    constants = [(number, content_of(value)) for number, value in trace.constants.items()]
    return f"{steps} {trace.shapes} {trace.weights} {constants} {trace.results}"


def remembered(network: Network) -> dict[Any, Any]:
    """Recordings and proofs of a module; emptied when the module computes something else than before.

    Raises:
        Untraceable: a hook is attached to the module, or autograd follows a function of its own.
    """
    check_hooks(network.module)
    network.scale  # noqa: B018  inferred before the network is observed
    behaviour = observed(network)
    if behaviour.custom:
        raise Untraceable("a custom_function or a hook on a tensor has a gradient of its own")
    signature = f"{behaviour.signature} {_way_of_running(network)}"
    known = _recordings.get(network.module)
    if known is None or known[0] != signature or not behaviour.signature:
        known = _recordings[network.module] = (signature, {})
    return known[1]


def _way_of_running(network: Network) -> str:
    """What a network does around its module."""
    objects = [
        f"{type(value).__name__} {id(value)}" for value in (network.forward, network.output) if value is not None
    ]
    return f"{network.facts} {network.pixels} {objects} {network.frame} {network.frozen_seed}"
