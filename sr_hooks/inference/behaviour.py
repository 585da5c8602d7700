"""How a network behaves from one forward to the next: repeatable or not, and where its gradient is cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch

from sr_hooks.core.seeds import own_streams
from sr_hooks.core.torch_errors import is_out_of_memory, one_line
from sr_hooks.errors import NetworkError, PluginError, SRHooksError
from sr_hooks.inference.signature import Signature, sign
from sr_hooks.networks.network import Network
from sr_hooks.networks.probing.trial_inputs import trial_sides

__all__ = ["Behaviour", "observe", "observed", "observing"]

_SIDES = (6, 8, 16, 32, 64)  # of the small images; the first that the network takes
_MORE = 6  # forwards of a network that draws random numbers or has noted something: two may be equal by chance
_CLOSE = 1e-4  # relative difference that other batches and layouts explain by rounding
_MIXED = 1e-3  # relative difference that they do not explain
_PLAIN = (bool, int, float, str, type(None))
_NOT_FINITE = "not finite: the network returns NaN or infinite values on a plain image, so look at its weights"


@dataclass(frozen=True)
class Behaviour:
    """What a few forwards on small images tell of a network.

    Attributes:
        signature: changes when anything changes that the network computes, other than the values of its weights;
            "" where the network could not be observed.
        repeats: whether two forwards on one image give the same output, if need be with the random streams frozen.
        difference: root mean square difference of two such forwards, as a share of the output's standard deviation.
        frozen: whether the network draws from torch's random streams, and a seed makes it repeatable.
        mixes: whether images of one batch change each other's output.
        one_at_a_time: why the network takes no batch of two images; "" where it does.
        cuts: parts in which a value that depends on the input goes on without its gradient, "" for the whole network.
        leaves_torch: whether values that depend on the input pass through Python or numpy, and lose their gradient.
        custom: whether autograd follows a function of the network's own, or a hook on a tensor.
        finite: whether all values of the output are finite numbers.
    """

    signature: str = ""
    repeats: bool = True
    difference: float = 0.0
    frozen: bool = False
    mixes: bool = False
    one_at_a_time: str = ""
    cuts: tuple[str, ...] = ()
    leaves_torch: bool = False
    custom: bool = False
    finite: bool = True

    def warnings(self) -> list[str]:
        """Sentences on what makes an answer about this network doubtful; empty where nothing does."""
        sentences = [] if self.finite else [_NOT_FINITE]
        differ = f"two forwards on one image differ by {100 * self.difference:.2g} %"
        if not self.repeats:
            sentences.append(
                f"not repeatable: {differ}, since the network draws random numbers of its own or keeps state"
            )
        elif self.frozen and self.difference:
            sentences.append(
                f"random: the network draws random numbers, and {differ}; a seed froze torch's streams for "
                "this answer, and another seed gives another answer"
            )
        if self.mixes:
            sentences.append("batch-dependent: images of one batch change each other's output")
        if self.cuts:
            parts = ", ".join(dict.fromkeys(part or "the network's own forward" for part in self.cuts[:3]))
            sentences.append(
                f"gradient cut in part: in {parts} a value that depends on the input goes on without its gradient "
                "(no_grad, detach or .data), and the answer leaves that part out"
            )
        elif self.leaves_torch:
            sentences.append(
                "gradient cut in part: values that depend on the input pass through Python numbers or numpy, "
                "and the answer leaves that part out"
            )
        return sentences


_open: dict[int, Behaviour] = {}


@contextmanager
def observing(network: Network) -> Iterator[Behaviour]:
    """Observe a network for the length of one analysis; randomness that a seed can freeze is frozen meanwhile."""
    key = id(network.module)
    if key in _open:
        yield _open[key]
        return
    before = network.frozen_seed
    behaviour = observe(network)
    if network.signature not in (None, behaviour.signature):
        network.forget_inferred()
        behaviour = observe(network)
    network.signature = behaviour.signature
    _open[key] = behaviour
    try:
        if behaviour.frozen:
            network.frozen_seed = 0 if before is None else before
        yield behaviour
    except Exception as error:
        cause = error.__cause__ if isinstance(error, PluginError) else error
        if behaviour.finite or cause is None or isinstance(cause, SRHooksError) or is_out_of_memory(cause):
            raise
        raise NetworkError(f"{network.name}: {_NOT_FINITE}") from error  # arithmetic of an analysis without numbers
    finally:
        network.frozen_seed = before
        del _open[key]


def observed(network: Network) -> Behaviour:
    """The behaviour as it was observed for the analysis that runs, or as it is now."""
    return _open.get(id(network.module)) or observe(network)


def observe(network: Network) -> Behaviour:
    """Run a network on small random images, two or three forwards, and tell how it behaves."""
    with network.prepared(), own_streams(device=network.device):
        for side in _SIDES:
            x, other = _images(network, side)
            with suppress(Exception):  # what fails here fails in the analysis too, which says why
                return _behaviour(network, x, other)
    return Behaviour()


def _behaviour(network: Network, x: torch.Tensor, other: torch.Tensor) -> Behaviour:
    before = _attributes(network.module)
    first = sign(network.module, network, x)
    output = first.output
    with torch.no_grad():
        one_at_a_time, row = "", output
        try:
            row = network(torch.cat([(x > 0.5).float(), x, other, other]))[1:2]
        except Exception as error:
            one_at_a_time = one_line(error)
        apart = _distance(row, output)
        doubtful = bool(one_at_a_time) or apart > _CLOSE or first.draws or _attributes(network.module) != before
        others = [network(x) for _ in range(_MORE if doubtful else 0)]
        again = max((_distance(value, output) for value in others), default=0.0)
        frozen = first.draws and _distance(*_seeded(network, x)) <= _CLOSE
    cuts = sign(network.module, network, x, located=True).cuts if first.cuts else ()
    return Behaviour(
        signature=f"{first.digest} {network.dtype} {network.device}",
        repeats=again <= _CLOSE or frozen,
        difference=max(_distance(value, output, mean=True) for value in others) if again > _CLOSE else 0.0,
        frozen=frozen,
        mixes=again <= _CLOSE and apart > _MIXED,
        one_at_a_time=one_at_a_time,
        cuts=cuts,
        leaves_torch=first.may_leave_torch and _reads_values(network, first, other),
        custom=first.custom,
        finite=bool(torch.isfinite(output).all()),
    )


def _attributes(module: torch.nn.Module) -> list[Any]:
    """What the parts of a module hold, at a glance: another object or number shows, a change deep inside does not.

    One flat list: thousands of small ones would make Python collect garbage.
    """
    noted: list[Any] = []
    for part in module.modules():
        _note(vars(part), noted)
    return noted


def _note(value: Any, noted: list[Any]) -> None:
    if isinstance(value, _PLAIN):
        noted.append(value)
    elif isinstance(value, torch.Tensor):
        noted += id(value), 0 if value.is_inference() else value._version
    elif isinstance(value, dict):
        noted.append(len(value))
        for key, item in value.items():
            noted.append(key)
            _note(item, noted)
    elif isinstance(value, (list, tuple)):
        noted.append(len(value))
        noted += [item if isinstance(item, _PLAIN) else id(item) for item in value]
    else:
        noted.append(id(value))


def _seeded(network: Network, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    before, network.frozen_seed = network.frozen_seed, 0
    try:
        return network(x), network(x)
    finally:
        network.frozen_seed = before


def _reads_values(network: Network, first: Signature, other: torch.Tensor) -> bool:
    """Whether the same operations take other numbers or constants on another image."""
    second = sign(network.module, network, other)
    return second.operations == first.operations and second.digest != first.digest


def _images(network: Network, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two small random images, or clips, as the network takes them."""
    if network.frames:
        height, width = trial_sides(network.multiple, network.frames)
        shape: tuple[int, ...] = (1, network.frames, network.channels, max(height, side), max(width, side))
    else:
        side = max(side, network.minimum)
        side += -side % network.multiple
        shape = (1, network.channels, side, side)
    generator = torch.Generator().manual_seed(0)
    x, other = (torch.rand(shape, generator=generator).to(network.device) for _ in range(2))
    return x, other


def _distance(one: torch.Tensor, other: torch.Tensor, *, mean: bool = False) -> float:
    """Largest (or root mean square) difference, as a share of the standard deviation."""
    if one.shape != other.shape:
        return float("inf")
    finite = torch.isfinite(other)
    if not torch.equal(torch.isfinite(one), finite):
        return float("inf")
    one, other = one.detach()[finite].double(), other.detach()[finite].double()
    spread = float(other.std()) if other.numel() > 1 else 1.0
    if not other.numel():
        return 0.0
    difference = (one - other).square().mean().sqrt() if mean else (one - other).abs().max()
    return float(difference) / max(spread, 1e-6)
