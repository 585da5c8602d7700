"""Attention, found by what a network does: what each is worth, what its gate is like, and whether it follows detail.

After the attention in attention network (Chen et al., arXiv 2104.09497), which asks whether every attention helps:
each is put out of work in two ways. **Opened**, the gate is 1, or each position of a window gets itself alone.
**Levelled**, the gate is its own mean over the image, or all positions of a window weigh alike: what then is lost is
what attention gained by telling channels or places apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import Analysis, WatchContext, Watcher
from sr_hooks.degradations import make_lr, parse_degradation
from sr_hooks.errors import ImageError
from sr_hooks.figures import FigureOptions
from sr_hooks.inference import prepare_input
from sr_hooks.statistics import interval
from sr_hooks_attention.effects import HOW, Measured, measure
from sr_hooks_attention.finding import Site, find
from sr_hooks_attention.maps import AttentionMap, AttentionMapOptions
from sr_hooks_attention.words import verdict

__all__ = [
    "Attention",
    "AttentionMap",
    "AttentionMapOptions",
    "AttentionOptions",
    "AttentionWatchOptions",
    "AttentionWatcher",
]

STATISTICS = ("mean", "spread", "saturation", "sparsity", "correlation")


@dataclass(frozen=True)
class AttentionOptions:
    """Options of the attention probe."""

    size: int = sr_hooks.option(64, "side of the centre crop of each input, in input pixels")
    most: int = sr_hooks.option(
        64, "sites put out of work one by one, evenly spaced over depth; kinds always are", at_most=1_000_000
    )
    degradation: Any = sr_hooks.option("clean", "how inputs are made of the images: clean, blur:2, noise:20, ...")
    colour: Literal["rgb", "y"] = sr_hooks.option("rgb", "PSNR over rgb or y, the luma")
    seed: int = sr_hooks.option(0, "of the degradation and the intervals")

    def __post_init__(self) -> None:
        if self.size < 8 or self.most < 0 or self.seed < 0:
            raise ValueError("size must be at least 8, most and seed 0 or more")


@dataclass(frozen=True)
class AttentionWatchOptions(AttentionOptions):
    """Keys of an `attention:` block in an option file. Seed 0 is the run's seed."""

    size: int = sr_hooks.option(48, "side of the centre crop of each input, in input pixels")
    most: int = sr_hooks.option(
        8, "sites put out of work one by one, evenly spaced over depth; kinds always are", at_most=1_000_000
    )


class AttentionWatcher(Watcher):
    """Refuses before training a network without attention."""

    def __init__(self, kind: type[Analysis[Any]], options: Any, context: WatchContext) -> None:
        super().__init__(kind, replace(options, seed=options.seed or context.seed), context)

    def check(self, network: sr_hooks.Network) -> None:
        super().check(network)
        find(network, _pairs(network, list(self.context.images[:1]), self.options)[0][0].to(network.device))

    def estimate(self, forward: float) -> float:
        """One pass, and two for each of some sites and kinds, on crops."""
        if not self.context.images:
            return 60 * forward
        pixels = self.context.images[0][0, 0].numel() / 16
        share = min(self.options.size**2 / pixels, 1.0)
        return forward * share * len(self.context.images) * (3 + 2 * (self.options.most + 2)) * 1.5


class Attention(Analysis[AttentionOptions]):
    """What is each attention worth, and what is its gate like?"""

    name = "attention"
    figure_options = ("colormap", "scale", "overlay", "crop")
    options_type = AttentionOptions
    takes = "hr"
    watcher_type = AttentionWatcher
    watch_options_type = AttentionWatchOptions
    watch_images = 4

    def run(self, network: sr_hooks.Network, images: Any, options: AttentionOptions) -> sr_hooks.Result:
        pairs = _pairs(network, images, options)
        sites = find(network, pairs[0][0].to(network.device))
        groups = {site.name: {site.key} for site in _spaced(sites, options.most)}
        kinds = list(dict.fromkeys(site.kind for site in sites))
        groups |= {f"all {kind}": {site.key for site in sites if site.kind == kind} for kind in kinds}
        if len(kinds) > 1:
            groups["all"] = {site.key for site in sites}
        border = round(max(network.scale, 1))
        measured = measure(network, pairs, sites, groups, border=border, colour=options.colour)
        return _result(network, pairs, sites, measured, options)

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_attention.figure import attention_figure

        return attention_figure(result, options or FigureOptions())


def _pairs(
    network: sr_hooks.Network, images: Any, options: AttentionOptions
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(LR, HR) centre crops; sides are whole multiples of what the network pads to, so that nothing is padded."""
    parse_degradation(options.degradation)
    pairs = []
    for index, image in enumerate(prepare_input(network, images, clips=False).images):
        lr = make_lr(image, options.degradation, scale=network.scale, seed=options.seed, first=index)
        sides = [min(options.size, side) // network.multiple * network.multiple for side in lr.shape[-2:]]
        if min(sides) < 1:
            raise ImageError(
                f"image {index} gives an input of {lr.shape[-2]}x{lr.shape[-1]} pixels, of which size {options.size} "
                f"leaves less than {network.multiple}, what {network.name} pads to: give larger images or a larger size"
            )
        top, left = ((have - side) // 2 for have, side in zip(lr.shape[-2:], sides, strict=True))
        y, x, height, width = (round(v * network.scale) for v in (top, left, *sides))
        crop = lr[..., top : top + sides[0], left : left + sides[1]]
        pairs.append((crop, image[..., y : y + height, x : x + width]))
    return pairs


def _spaced(sites: Sequence[Site], most: int) -> list[Site]:
    """At most so many, the first and the last among them."""
    if len(sites) <= most:
        return list(sites)
    return [sites[i] for i in sorted({round(v) for v in np.linspace(0, len(sites) - 1, most)})]


def _result(
    network: sr_hooks.Network,
    pairs: Sequence[tuple[torch.Tensor, torch.Tensor]],
    sites: Sequence[Site],
    measured: Measured,
    options: AttentionOptions,
) -> sr_hooks.Result:
    names = list(dict.fromkeys(name for _, name in measured.changes))
    rows: list[dict[str, Any]] = []
    for site in sites:
        seen = measured.statistics[site.name]
        row: dict[str, Any] = {"site": site.name, "kind": site.kind, **_changed(measured, site.name, options.seed)}
        for key in STATISTICS:
            values = np.array([each[key] for each in seen])
            row[key] = None if np.isnan(values).all() else float(np.nanmean(values))
        row["adapts"] = _adapts(measured.gates.get(site.name, []))
        rows.append(row)
    totals = [{"group": name, **_changed(measured, name, options.seed)} for name in names if name.startswith("all")]
    scalars: dict[str, Any] = {"sites": len(sites), "psnr": float(measured.psnr.mean()), "images": len(pairs)}
    for total in totals:
        label = total["group"].removeprefix("all ")
        scalars |= {f"{how}/{label}": total[how] for how in HOW if total[how] is not None}
    scalars |= {"table": rows, "groups": totals}
    arrays = {f"changes_{how}": np.stack([measured.changes[how, name] for name in names]) for how in HOW}
    arrays |= {"psnr": measured.psnr, "input": pairs[0][0][0].cpu().numpy()}
    for number, (name, places) in enumerate(measured.maps.items()):
        arrays[f"map_{number}"] = places
        scalars.setdefault("maps", []).append(name)
    provenance = {"seed": options.seed, "changed": names}
    return sr_hooks.Result("attention", arrays, scalars, provenance, verdict(network.name, rows, totals, len(pairs)))


def _changed(measured: Measured, name: str, seed: int) -> dict[str, Any]:
    """Mean change of PSNR over the images with its interval, in both ways; None where not tried or not possible."""
    row: dict[str, Any] = {}
    for how in HOW:
        values = measured.changes.get((how, name), np.full(1, np.nan))
        known = not np.isnan(values).any()
        low, high = interval(values, seed) if known and len(values) > 1 else (None, None)
        row |= {how: float(values.mean()) if known else None, f"{how}_low": low, f"{how}_high": high}
    return row


def _adapts(gates: Sequence[np.ndarray]) -> float | None:
    """Of channel gates over several images, the share of their variance that lies between images; 0 is constant."""
    if len(gates) < 2 or len({len(gate) for gate in gates}) > 1:
        return None
    table = np.stack(gates)
    whole = float(table.var())
    return float(table.var(axis=0).mean() / whole) if whole > 1e-24 else 0.0


@sr_hooks.hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Attention, AttentionMap]
