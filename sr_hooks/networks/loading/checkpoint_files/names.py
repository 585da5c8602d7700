"""Names of weights: prefixes of wrappers, counters of tools, and the network that is meant of several in one state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sr_hooks.errors import CheckpointError, nearest
from sr_hooks.networks.loading.checkpoint_files.layouts import COUNTERS, OF_AVERAGES, is_average, is_other

__all__ = ["Named", "alternatives", "name_weights", "plain_name"]

_WRAPPERS = ("module.", "_orig_mod.")
_COMPILED = re.compile(r"(?<![^.])(_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")
_NETWORKS = re.compile(
    r"^(online_model|ema_model|averaged_model|net_?g|generator|generator_ema|g_ema|net_?g_ema|gen|gen_ema|model_ema|"
    r"model_g|model|model_state|ema|net)$",
    re.IGNORECASE,
)
_SURE = re.compile(
    r"^(online_model|ema_model|averaged_model|net_?g|net_?g_ema|g_ema|generator|generator_ema|model_ema)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Named:
    """Weights by the network's own names.

    Attributes:
        state: name to tensor.
        names: name to the name in the file.
        prefix: what all names had in front.
        left_out: what is no weight, by its name: counters of tools and of averages.
        beside: prefixes of other weights of the same network in the state.
        remarks: sentences about what was chosen and left out.
    """

    state: dict[str, torch.Tensor]
    names: dict[str, str]
    prefix: str = ""
    left_out: dict[str, torch.Tensor] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def without(self, prefix: str) -> Named:
        """The same weights, with a prefix that all names have taken off."""
        size = len(prefix)
        return Named(
            {name[size:]: value for name, value in self.state.items()},
            {name[size:]: original for name, original in self.names.items()},
            self.prefix + prefix,
            self.left_out,
            self.beside,
            self.remarks,
        )

    def _of(self, prefix: str, beside: Sequence[str] = (), remarks: Sequence[str] = ()) -> Named:
        """Those weights alone whose names begin so, with that taken off."""
        part = Named(
            {name: value for name, value in self.state.items() if name.startswith(prefix)},
            {name: original for name, original in self.names.items() if name.startswith(prefix)},
            self.prefix,
            self.left_out,
            (*self.beside, *beside),
            (*self.remarks, *remarks),
        )
        return part.without(prefix)


def plain_name(name: str) -> str:
    """A name without the parts that torch.compile, checkpointing and FSDP add to it."""
    return _COMPILED.sub("", name)


def name_weights(
    state: Mapping[str, torch.Tensor], path: Path, *, prefix: str | None = None, parts: Sequence[str] = ()
) -> Named:
    """Weights by the network's own names, as far as these are sure without the network.

    Args:
        prefix: take the weights whose names begin so; None for the likeliest.
        parts: take what begins with the first of these that occurs.

    Raises:
        CheckpointError: no name begins with `prefix`.
    """
    named = _without_counters(Named(dict(state), {name: name for name in state}))
    if prefix:
        named = _requested(named, prefix, path)
    for part in parts:
        if any(name.startswith(part) for name in named.state):
            named = named._of(part)
            break
    else:
        named = named if prefix else _network_of_several(named)
    compiled = {name: plain_name(name) for name in named.state}
    while (wrapper := _common(named.state, _WRAPPERS)) is not None:
        named = named.without(wrapper)
    if any(_COMPILED.search(name) for name in named.state) and len(set(compiled.values())) == len(compiled):
        named = Named(
            {plain_name(name): value for name, value in named.state.items()},
            {plain_name(name): original for name, original in named.names.items()},
            named.prefix,
            named.left_out,
            named.beside,
            named.remarks,
        )
    return named


def alternatives(named: Named) -> Iterator[Named]:
    """The same weights, and with one more common beginning of all names taken off, and one more."""
    while True:
        yield named
        inner = {re.sub(r"(^|\.)module\.", r"\1", name): name for name in named.state}
        if len(inner) == len(named.state) and any(".module." in name for name in named.state):
            yield Named(
                {name: named.state[old] for name, old in inner.items()},
                {name: named.names[old] for name, old in inner.items()},
                named.prefix,
                named.left_out,
                named.beside,
                named.remarks,
            )
        first = next(iter(named.state), "").partition(".")[0] + "."
        if _common(named.state, [first]) is None:
            return
        named = named.without(first)


def _common(state: Mapping[str, torch.Tensor], prefixes: Sequence[str]) -> str | None:
    """The first prefix that all names have, with something after it."""
    for prefix in prefixes:
        if state and all(name.startswith(prefix) and len(name) > len(prefix) for name in state):
            return prefix
    return None


def _requested(named: Named, prefix: str, path: Path) -> Named:
    for beginning in (prefix if prefix.endswith(".") else f"{prefix}.", prefix):
        if any(name.startswith(beginning) for name in named.state):
            return named._of(beginning)
    firsts = list(dict.fromkeys(name.partition(".")[0] for name in named.state))
    raise CheckpointError(f"no name in {path} begins with {prefix!r}; {nearest(prefix, firsts)}")


def _without_counters(named: Named) -> Named:
    """Leave out the counters of thop, and those of averages beside a whole network."""
    counters = {name for name in named.state if name.rpartition(".")[2] in COUNTERS}
    rest = [name for name in named.state if name not in counters]
    tops = {name for name in rest if name in OF_AVERAGES or _counts_average(name)}
    if any("." in name for name in rest if name not in tops):
        counters |= tops
    if not counters or len(counters) == len(named.state):
        return named
    kinds = sorted({name.rpartition(".")[2] for name in counters})
    return Named(
        {name: value for name, value in named.state.items() if name not in counters},
        {name: name for name in named.state if name not in counters},
        left_out={name: named.state[name] for name in sorted(counters)},
        remarks=(f"left out, since they are no weights: {', '.join(kinds)}",),
    )


def _counts_average(name: str) -> bool:
    """Whether this is a counter beside the weights of an average, such as mmengine's `generator_ema.steps`."""
    first, _, last = name.partition(".")
    return is_average(first) and last in OF_AVERAGES


def _network_of_several(named: Named) -> Named:
    """Of a state that holds several networks by prefix, the average or the generator; else the state as it is."""
    firsts = list(dict.fromkeys(name.partition(".")[0] for name in named.state))
    networks = [
        first for first in firsts if _NETWORKS.match(first) and any(n.startswith(first + ".") for n in named.state)
    ]
    if not networks or not all(first in networks or is_other(first) for first in firsts):
        return named
    if len(firsts) == 1:
        return named._of(firsts[0] + ".") if _SURE.match(firsts[0]) else named
    averages = [first for first in networks if is_average(first)]
    chosen = (averages or sorted(networks, key=lambda name: name in ("model", "net")))[0]
    beside = [name for name in networks if name != chosen]
    others = [name for name in firsts if name not in networks]
    if not beside and not others:
        return named
    remarks = [f"of the networks in the file {chosen} is taken, and not {', '.join([*beside, *others])}"]
    part = named._of(chosen + ".", beside, remarks)
    trained = [name.partition(".")[2] for name in named.state if beside and name.startswith(beside[0] + ".")]
    by_short = {name.replace(".", ""): name for name in trained}  # LitEma takes the dots out of the names
    if any("." in name for name in part.state) or not part.state.keys() <= by_short.keys():
        return part
    return Named(
        {by_short[name]: value for name, value in part.state.items()},
        {by_short[name]: original for name, original in part.names.items()},
        part.prefix,
        part.left_out,
        part.beside,
        part.remarks,
    )
