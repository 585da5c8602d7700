"""The part of a network after a tap, for many replaced features: what comes before the tap is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from sr_hooks.errors import ImageError, TapError
from sr_hooks.hooks.activations import capture
from sr_hooks.hooks.interventions import intervene, replace
from sr_hooks.hooks.taps import Tap, module_named, parse_tap
from sr_hooks.networks.network import Network

__all__ = ["Tail"]

_TOLERANCE = 200  # roundings of the number format, relative to the output's largest value: batches sum in other orders


class Tail:
    """The part of a network after a tap: it maps features that replace what passes the tap to the network's output.

        tail = Tail(network, lr, "body.3")
        tail(scaled)                                # (N,C,H,W) for N features that replace tail.feature

    While the tail runs, every module that had ended when the tap fired answers what it answered then, instead of
    computing. What runs outside of modules (additions, concatenations) runs again. Whether that gives what a whole
    forward gives is not assumed but probed, with the feature as it is and with another one, in one batch; where it does
    not (a module with a memory, outputs whose first dimension is not the images'), whole forwards are run instead,
    which is slow and right.

    No graph is built: for gradients with respect to features use `hooks.capture(keep_graph=True)`. Between calls the
    network is as it was; its weights must not change.

    Args:
        x: (1,C,h,w) in [0, 1], one image.
        tap: one that fires once a forward, or `name#k`.
        probe: whether to prove it, at the price of some four forwards; False where the same network and tap were proved
            on an image of this size.

    Attributes:
        feature: what passes the tap, (1,...) for networks that keep images apart.
        output: (1,C,H,W), the network's own.
        replays: whether the computation before the tap is left out; False where the probe failed.
        gap: largest difference that the probe found, as a share of the output's largest value; None without probe.

    Raises:
        ImageError: x is not one image.
        TapError: a tap that does not fire, or where no single tensor passes.
    """

    def __init__(self, network: Network, x: torch.Tensor, tap: str | Tap, *, probe: bool = True) -> None:
        if len(x) != 1:
            raise ImageError(f"a tail starts from one image, not from {len(x)}")
        self.network, self.tap = network, parse_tap(tap)
        self._x = x.to(network.device)
        self._target = module_named(network.module, self.tap.name)
        recording = _Recording(self._target, self.tap)
        with torch.no_grad(), capture(network.module, [self.tap]) as captured, recording.on(network.module):
            self.output = network(self._x)
        self.feature = captured[str(self.tap)]
        self._answers = recording.answers
        self.replays = True
        self.gap: float | None = None
        if probe:
            self.replays = self._probe()

    @torch.no_grad()
    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """(N,...) features, each as large as `feature`, to (N,C,H,W); not clipped, without graph.

        Raises:
            TapError: features of another shape.
        """
        rows = len(self.feature)
        if features.shape[1:] != self.feature.shape[1:] or len(features) % rows:
            raise TapError(
                f"features of shape {tuple(features.shape)} cannot replace what passes {self.tap}, which is "
                f"{tuple(self.feature.shape)}"
            )
        copies = len(features) // rows
        return self._replayed(features, copies) if self.replays else self._whole(features, copies)

    def _whole(self, features: torch.Tensor, copies: int) -> torch.Tensor:
        with intervene(self.network.module, {self.tap: replace(features)}):
            return self.network(self._x.expand(copies, -1, -1, -1))

    def _replayed(self, features: torch.Tensor, copies: int) -> torch.Tensor:
        used: list[bool] = []
        answers = {
            part: [_tiled(answer, copies) for answer in part_answers] for part, part_answers in self._answers.items()
        }
        with _replaying(answers, self._target, self.tap, features, used):
            out = self.network(self._x.expand(copies, -1, -1, -1))
        if not used:
            raise TapError(f"{self.tap} did not fire when what runs before it was left out")
        return out

    @torch.no_grad()
    def _probe(self) -> bool:
        noise = torch.rand(self.feature.shape, generator=torch.Generator().manual_seed(0)).to(self.feature)
        other = self.feature * (0.5 + noise)
        expected = torch.cat([self.output, self._whole(other, 1)])
        try:
            replayed = self._replayed(torch.cat([self.feature, other]), 2)
        except (RuntimeError, TapError, TypeError, ValueError, IndexError, AttributeError):
            return False  # shapes that do not follow from the batch, or code that asks more of a module than its answer
        if replayed.shape != expected.shape:
            return False
        largest = max(float(expected.abs().max()), torch.finfo(expected.dtype).tiny)
        self.gap = gap = float((replayed - expected).abs().max()) / largest
        return gap <= _TOLERANCE * torch.finfo(expected.dtype).eps


def _tiled(value: Any, copies: int) -> Callable[[], Any]:
    """Makes a fresh answer for so many images: what follows may write into it."""

    def make(part: Any) -> Any:
        if isinstance(part, torch.Tensor):
            return part.repeat(copies, *[1] * (part.ndim - 1)) if part.ndim else part.clone()
        if isinstance(part, Mapping):
            return type(part)((key, make(item)) for key, item in part.items())  # type: ignore[call-arg]
        if type(part) in (tuple, list):
            return type(part)(map(make, part))
        return part

    return partial(make, value)


@dataclass
class _Recording:
    """What the outermost modules that had ended when the tap fired answered, by module and in order."""

    target: nn.Module
    tap: Tap
    answers: dict[nn.Module, list[Any]] = field(default_factory=dict)
    _open: list[list[tuple[nn.Module, Any]]] = field(default_factory=list)
    _runs: int = 0
    _fired: bool = False

    @contextmanager
    def on(self, root: nn.Module) -> Iterator[None]:
        handles = []
        try:
            for part in root.modules():
                handles.append(part.register_forward_pre_hook(self._begin))
                handles.append(part.register_forward_hook(self._end, always_call=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _begin(self, part: nn.Module, args: Any) -> None:
        if not self._open:  # a forward of the whole network; the first may only be what a Network infers its facts by
            self.answers.clear()
            self._runs, self._fired = 0, False
        if part is self.target:
            if self.tap.at_input and self._runs == (self.tap.call or 0):
                self._fire()
            self._runs += 1
        self._open.append([])

    def _end(self, part: nn.Module, args: Any, out: Any) -> None:
        inside = self._open.pop()
        if part is self.target and not self.tap.at_input and self._runs == (self.tap.call or 0) + 1:
            self._fire()
        if self._open and not self._fired:
            del inside  # it lies within this one
            self._open[-1].append((part, _copied(out)))

    def _fire(self) -> None:
        if self._fired:
            return
        self._fired = True
        for frame in self._open:
            for part, answer in frame:
                self.answers.setdefault(part, []).append(answer)


def _copied(value: Any) -> Any:
    """Of an answer, what later in-place operations cannot reach."""
    return _tiled(value, 1)()


@contextmanager
def _replaying(
    answers: Mapping[nn.Module, list[Callable[[], Any]]],
    target: nn.Module,
    tap: Tap,
    features: torch.Tensor,
    used: list[bool],
) -> Iterator[None]:
    """Modules answer from what was recorded; then the target once with the features, or of them."""
    parts = dict.fromkeys([*answers, target])
    own = {part: part.__dict__.get("forward") for part in parts}
    try:
        for part in parts:
            last = features if part is target else None
            part.forward = _answering(part.forward, answers.get(part, []), last, tap, used)
        yield
    finally:
        for part, before in own.items():
            part.__dict__.pop("forward", None)
            if before is not None:
                part.forward = before


def _answering(
    forward: Callable[..., Any],
    answers: list[Callable[[], Any]],
    features: torch.Tensor | None,
    tap: Tap,
    used: list[bool],
) -> Callable[..., Any]:
    left = iter(answers)

    def answer(*args: Any, **kwargs: Any) -> Any:
        recorded = next(left, None)
        if recorded is not None:
            return recorded()
        if features is None or used:
            return forward(*args, **kwargs)
        used.append(True)
        if not tap.at_input:
            return features.clone()
        if not args or not isinstance(args[0], torch.Tensor):
            raise TapError(f"{tap}: only a first positional tensor can be replaced")
        return forward(features.clone(), *args[1:], **kwargs)

    return answer
