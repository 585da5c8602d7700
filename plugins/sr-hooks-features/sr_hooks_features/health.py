"""The analysis `health`: size, spread and silence of features by layer, over a training, and the first NaN at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import WatchContext, Watcher
from sr_hooks.core import progress_bar
from sr_hooks.figures import FigureOptions
from sr_hooks.inference import prepare_input
from sr_hooks_features.alarm import Alarm
from sr_hooks_features.layout import innermost, maps_of, observe, taps_of
from sr_hooks_features.sums import ChannelSums, bound
from sr_hooks_features.words import health_verdict

__all__ = ["Health", "HealthOptions"]

NUMBERS = ("max", "entropy", "kurtosis", "dead")


@dataclass(frozen=True)
class HealthOptions:
    """Options of health."""

    layers: Any = sr_hooks.option(
        "innermost", "taps, patterns such as body.*, all convolutions, or innermost: every layer without parts"
    )
    alarm: bool = sr_hooks.option(True, "in training: name the first layer that becomes NaN or infinite at once")


class HealthWatcher(Watcher):
    """Health at due iterations, with the history of the run, and an alarm at every step."""

    def __init__(self, kind: type[sr_hooks.Analysis[Any]], options: Any, context: WatchContext) -> None:
        super().__init__(kind, options, context)
        self.alarm = Alarm(context)
        self.history: dict[str, list[Any]] = {name: [] for name in ("iteration", *NUMBERS)}

    def check(self, network: sr_hooks.Network) -> None:
        if self.options.layers != "innermost":
            super().check(network)

    def install(self, network: sr_hooks.Network) -> Iterable[Any]:
        return [self.alarm.listen(network.module)] if self.options.alarm else []

    def wants_steps(self) -> bool:
        return bool(self.options.alarm)

    def before_step(self, network: sr_hooks.Network, optimizer: torch.optim.Optimizer, iteration: int) -> None:
        self.alarm.check(network, iteration)

    def due(self, network: sr_hooks.Network, iteration: int) -> Any:
        result = super().due(network, iteration)
        assert isinstance(result, sr_hooks.Result)
        rows = [result.arrays[name].tolist() for name in NUMBERS]
        if self.history["max"] and len(self.history["max"][-1]) != len(rows[0]):
            self.history = {name: [] for name in self.history}
        for name, value in zip(self.history, (iteration, *rows), strict=True):
            self.history[name].append(value)
        result.arrays |= {f"history_{name}": np.array(values, float) for name, values in self.history.items()}
        return result

    def estimate(self, forward: float) -> float:
        return forward * 8 * max(len(self.context.images), 1)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = {name: list(values) for name, values in state["history"].items()}


class Health(sr_hooks.Analysis[HealthOptions]):
    """Are the features of all layers of a sound size, with no dead channels and no NaN?

    Arrays, each (layers,): `max` the largest |feature|; `entropy` of the channels' shares of the energy over log C,
    from 0 (one channel has all) to 1; `kurtosis` of all values (3 for a normal distribution); `dead` channels;
    `nonfinite` values. Watched: `history_iteration` (T,), and `history_max` (T,layers) and so on. On features that grow
    without bound see arXiv 2504.06629. An activation that is a function and no layer is seen as the input of the next
    layer: name `conv:in`.
    """

    name = "health"
    options_type = HealthOptions
    watcher_type = HealthWatcher
    together = True
    watch_images = 5
    better: ClassVar = {"max": "lower", "entropy": "higher"}
    explains: ClassVar = {
        "max": "The largest |feature| of any layer; half precision ends at 65504.",
        "entropy": "The least entropy over layers of the channels' shares of the energy, 1 where all have the same.",
    }

    @torch.no_grad()
    def run(self, network: sr_hooks.Network, images: Any, options: HealthOptions) -> sr_hooks.Result:
        inputs = prepare_input(network, images).images
        first = inputs[0].to(network.device)
        taps = innermost(network, first) if options.layers == "innermost" else taps_of(network, options.layers, first)
        sums = {tap: ChannelSums() for tap in taps}
        with progress_bar("health", len(inputs), unit="images") as bar:
            for lr in inputs:
                size = lr.shape
                observe(network, lr, taps, lambda tap, f, s=size: sums[tap].add(maps_of(f, tap, s, strict=False)))
                bar.update(1)
        rows = [{"layer": tap, **each.row()} for tap, each in sums.items()]
        arrays = {
            name: np.array([np.nan if row[name] is None else row[name] for row in rows], float)
            for name in (*NUMBERS, "nonfinite")
        }
        scalars = {
            "layers": rows,
            "images": len(inputs),
            "max": float(arrays["max"].max()),
            "entropy": float(arrays["entropy"].min()),
            "dead": int(arrays["dead"].sum()),
            "nonfinite": int(arrays["nonfinite"].sum()),
            "first_nonfinite": next((row["layer"] for row in rows if row["nonfinite"]), None),
            "fires_at_most": bound(len(inputs)),
        }
        verdict = health_verdict(rows, len(inputs), scalars["fires_at_most"])
        return sr_hooks.Result("health", arrays, scalars, {}, verdict)

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_features.health_figure import health_figure

        return health_figure(result, options)
