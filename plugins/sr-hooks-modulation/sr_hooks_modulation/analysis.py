"""The analysis: each image with its own condition, the mean, another image's, another degradation's, and none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import sr_hooks
from sr_hooks import capture, intervene
from sr_hooks.analyses import make_inputs
from sr_hooks.core import progress_bar
from sr_hooks.errors import OptionError
from sr_hooks.hooks import replace
from sr_hooks.images import psnr
from sr_hooks.statistics import interval, separability
from sr_hooks_modulation.recording import find_modulations, run_with

__all__ = ["Modulation", "ModulationOptions"]

_SCENARIOS = ("mean", "other image", "other class", "zero")
Condition = list[torch.Tensor]
"""The tensors of one image's condition, in the order of the places."""


@dataclass(frozen=True)
class ModulationOptions:
    """Options of modulation."""

    layers: Any = sr_hooks.option(
        None, "taps whose outputs are the condition (a prompt, a condition branch); by default feature * a + b is "
        "found in the operations", checked=False,
    )  # fmt: skip
    degradations: Any = sr_hooks.option(
        ("blur:2", "noise:15"), "the classes: at least two, e.g. blur:2 noise:15 jpeg:30"
    )
    crop: int | None = sr_hooks.option(
        96, "centre crop of the images, since conditions must have equal sizes", at_least=8
    )
    seed: int = sr_hooks.option(0, "of degradations and intervals", at_least=0)


class Modulation(sr_hooks.Analysis[ModulationOptions]):
    """What does the network's condition change, and does it know the degradation?"""

    name = "modulation"
    options_type = ModulationOptions
    takes = "hr"

    @torch.no_grad()
    def run(self, network: sr_hooks.Network, images: Any, options: ModulationOptions) -> sr_hooks.Result:
        inputs = make_inputs(
            network, images, options.degradations, crop=options.crop, clip=True, seed=options.seed
        ).in_the_middle()
        if len(inputs.names) < 2 or len(inputs) < 2:
            raise OptionError("modulation compares classes and images: give two degradations and two images at least")
        lrs = [[lr.to(network.device) for lr in row] for row in inputs.lr]
        places = _Places(network, lrs[0][0], options.layers)
        classes, count = len(inputs.names), len(inputs)
        own: dict[tuple[int, int], Condition] = {}
        plain = np.zeros((classes, count))
        gains = {name: np.zeros((classes, count)) for name in ("own", *_SCENARIOS)}
        with progress_bar("modulation", classes * count * 6, unit="outputs") as bar:
            for i, gt in enumerate(inputs.gt):
                for k in range(classes):
                    output, own[k, i] = places.run(lrs[i][k])
                    plain[k, i] = float(psnr(output, gt.to(output)))
                    bar.update(1)
            mean = [_mean(each) for each in zip(*own.values(), strict=True)]
            for (k, i), condition in own.items():
                others = {
                    "own": condition,
                    "mean": mean,
                    "other image": own[k, (i + 1) % count],
                    "other class": own[(k + 1) % classes, i],
                    "zero": places.none(condition),
                }
                for name, values in others.items():
                    output, _ = places.run(lrs[i][k], values)
                    gains[name][k, i] = float(psnr(output, inputs.gt[i].to(output))) - plain[k, i]
                    bar.update(1)
        return _result(network, places, inputs, gains, plain, own, options)

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: Any = None) -> Any:
        from sr_hooks_modulation.figure import modulation_figure

        return modulation_figure(result, options)


class _Places:
    """Where the condition enters: modulations found in the operations, or named taps."""

    def __init__(self, network: sr_hooks.Network, image: torch.Tensor, layers: Any) -> None:
        self.network = network
        self.taps = [] if layers is None else [layers] if isinstance(layers, str) else [str(tap) for tap in layers]
        self.sites = [] if self.taps else find_modulations(network, image)
        if not self.taps and not self.sites:
            raise OptionError(
                f"no modulation in {network.name}: nowhere is a feature multiplied by, and added to, what does not "
                "depend on the feature; name the layers whose outputs are the condition: layers=..."
            )

    def run(self, image: torch.Tensor, condition: Condition | None = None) -> tuple[torch.Tensor, Condition]:
        """The output, and the condition that the network made for the image."""
        if self.sites:
            values = None
            if condition is not None:
                pairs = iter(condition)
                values = {site: (next(pairs), next(pairs)) for site in self.sites}
            output, own = run_with(self.network, image, self.sites, values)
            return output, [tensor for site in self.sites for tensor in own[site]]
        if condition is None:
            with capture(self.network, self.taps) as features:
                output = self.network(image)
            return output, [features[tap].clone() for tap in self.taps]
        with intervene(self.network, {tap: replace(t) for tap, t in zip(self.taps, condition, strict=True)}):
            return self.network(image), condition

    def none(self, condition: Condition) -> Condition:
        """No modulation: factors of 1 and summands of 0; of named layers, 0."""
        make = [torch.ones_like, torch.zeros_like] if self.sites else [torch.zeros_like]
        return [make[i % len(make)](tensor) for i, tensor in enumerate(condition)]


def _mean(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """In float64, so that the mean of equal tensors is that tensor."""
    return torch.stack([tensor.double() for tensor in tensors]).mean(dim=0).to(tensors[0])


def _result(
    network: sr_hooks.Network,
    places: _Places,
    inputs: Any,
    gains: dict[str, np.ndarray],
    plain: np.ndarray,
    own: dict[tuple[int, int], Condition],
    options: ModulationOptions,
) -> sr_hooks.Result:
    rows = []
    for k, degradation in enumerate(inputs.names):
        for name in ("own", *_SCENARIOS):
            low, high = interval(gains[name][k], options.seed)
            change = float(gains[name][k].mean())
            rows.append({"degradation": degradation, "condition": name, "db": change, "low": low, "high": high})
    points = np.stack([_vector(condition) for condition in own.values()])
    labels, groups = np.array([k for k, _ in own]), np.array([i for _, i in own])
    constant = bool(np.ptp(points, axis=0).max() == 0)
    apart = separability(None if constant else points, labels, groups, seed=options.seed)
    scalars: dict[str, Any] = {
        "rows": rows,
        "places": [vars(site) for site in places.sites] or places.taps,
        "psnr": dict(zip(inputs.names, plain.mean(axis=1).tolist(), strict=True)),
        "share_between_classes": None if constant else apart.share,
        "p": None if constant else apart.p,
        "constant": constant,
    } | {f"db/{name}": float(gains[name].mean()) for name in _SCENARIOS}
    arrays = {"conditions": points.astype(np.float32), "labels": labels}
    arrays |= {f"db_{name.replace(' ', '_')}": value for name, value in gains.items()}
    provenance = {"seed": options.seed, **inputs.describe()}
    return sr_hooks.Result("modulation", arrays, scalars, provenance, _verdict(scalars, gains, network.name))


def _vector(condition: Condition) -> np.ndarray:
    """The mean over positions of each channel, all places one after the other."""
    return np.concatenate(
        [(t[0].double().reshape(t.shape[1], -1).mean(1) if t.ndim > 1 else t.double()).cpu().numpy() for t in condition]
    )


def _verdict(scalars: dict[str, Any], gains: dict[str, np.ndarray], name: str) -> str:
    if np.abs(gains["own"]).max() > 0:
        return "not repeatable: with its own condition put back the output is another, so nothing can be read."
    if scalars["constant"]:
        return f"the condition of {name} is the same for every image and degradation: it changes nothing."

    def worst(condition: str) -> tuple[str, float, float, float] | None:
        """The degradation that loses most with this condition, where its interval is below zero."""
        rows = [row for row in scalars["rows"] if row["condition"] == condition and row["high"] < 0]
        rows.sort(key=lambda row: row["db"])
        return tuple(rows[0][key] for key in ("degradation", "db", "low", "high")) if rows else None  # type: ignore[return-value]

    parts = []
    for condition in ("other class", "other image"):
        loss = worst(condition)
        if loss is None:
            parts.append(f"cannot tell whether {condition}'s condition matters (no interval is below 0 dB)")
        else:
            parts.append(
                f"{condition}'s condition costs {-loss[1]:.2f} dB on {loss[0]} ({loss[2]:+.2f} to {loss[3]:+.2f})"
            )
    share, p = scalars["share_between_classes"], scalars["p"]
    if share is not None:
        chance = "" if p is None else f" (p {p:.3f})"
        parts.append(f"{share:.0%} of the condition's variance is between degradations{chance}")
    return "; ".join(parts) + "."
