"""The analysis `features`: pictures of channels on one scale a layer, their composite, and what is dead of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import WatchContext, Watcher
from sr_hooks.core import progress_bar
from sr_hooks.errors import OptionError
from sr_hooks.faithfulness import shuffled
from sr_hooks.figures import MAP_OPTIONS, FigureOptions
from sr_hooks.inference import prepare_input
from sr_hooks_features.layout import maps_of, observe, shrunk, taps_of
from sr_hooks_features.pictures import composite_of, saliency_of
from sr_hooks_features.sums import ChannelSums, bound
from sr_hooks_features.words import features_verdict

__all__ = ["Features", "FeaturesOptions"]

Key = tuple[str, int]
"""A tap, and the frame."""

COUNTS = ("dead", "constant", "saturated")


@dataclass(frozen=True)
class FeaturesOptions:
    """Options of features."""

    layers: Any = sr_hooks.option("auto", "taps, patterns such as body.*, auto (the deep feature), or all convolutions")
    top: int = sr_hooks.option(64, "channels whose maps are kept, of each layer", at_least=1, at_most=65536)
    order: Literal["std", "saliency", "index"] = sr_hooks.option(
        "std", "by standard deviation over the image, by |gradient| of the objective (CSM), or as they are"
    )
    objective: str = sr_hooks.option("gradient", "of order: saliency, as sr-hooks lam has it")
    side: int = sr_hooks.option(
        128, "longest side of the maps that are kept; larger ones are shrunk", at_least=8, at_most=4096
    )
    shown: int = sr_hooks.option(0, "which image the maps are of, from 0; the statistics are over all", at_least=0)
    control: bool = sr_hooks.option(True, "also count in the network with its weights shuffled")
    seed: int = sr_hooks.option(0, "of the shuffled weights", at_least=0)
    channels: Any = sr_hooks.option(None, "layer to the channels that are kept, instead of an order", flag=False)


@dataclass(frozen=True)
class FeaturesWatchOptions(FeaturesOptions):
    """Keys of a `features:` block in an option file."""

    top: int = sr_hooks.option(16, "channels whose maps are kept, of each layer", at_least=1, at_most=65536)
    control: bool = sr_hooks.option(False, "also count in the network with its weights shuffled")


class FeaturesWatcher(Watcher):
    """Shows the same channels at every iteration: those that came first at the first due one."""

    def __init__(self, kind: type[sr_hooks.Analysis[Any]], options: Any, context: WatchContext) -> None:
        super().__init__(kind, options, context)
        self.options = replace(options, seed=options.seed or context.seed)

    def check(self, network: sr_hooks.Network) -> None:
        super().check(network)
        if self.context.images:
            taps_of(network, self.options.layers, self.context.images[0].to(network.device))

    def due(self, network: sr_hooks.Network, iteration: int) -> Any:
        results = super().due(network, iteration)
        if self.options.channels is None and isinstance(results, sr_hooks.Result):
            rows = results.scalars["layers"]
            self.options = replace(self.options, channels={_name(row): row["shown"] for row in rows})
        return results

    def estimate(self, forward: float) -> float:
        return forward * 3 * (len(self.context.images) * (1 + self.options.control) + 1)

    def state_dict(self) -> dict[str, Any]:
        return {"channels": self.options.channels} if self.options.channels is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.options = replace(self.options, channels=state.get("channels"))


class Features(sr_hooks.Analysis[FeaturesOptions]):
    """What do the channels of a layer look like, and which are dead, constant or saturated?

    Arrays for row i of `scalars["layers"]`, which is a layer or, of a clip, one frame of it: `maps_<i>` (channels,h,w),
    the maps of the channels that the row's `shown` numbers; `composite_<i>` (3,h,w) in [0, 1], the first three
    principal components over all channels; `activation_<i>` (h,w), mean |feature| over channels; and `input` (C,h,w).
    Maps whose side is over `side` are shrunk by area means; a row's `shape` is that of the feature, and statistics are
    of it.
    """

    name = "features"
    options_type = FeaturesOptions
    watch_options_type = FeaturesWatchOptions
    watcher_type = FeaturesWatcher
    together = True
    watch_images = 5
    figure_options = MAP_OPTIONS
    better: ClassVar = {"dead_share": "lower"}
    explains: ClassVar = {
        "dead_share": "The share of channels that are 0 everywhere on all images, over all layers looked at."
    }

    @torch.no_grad()
    def run(self, network: sr_hooks.Network, images: Any, options: FeaturesOptions) -> sr_hooks.Result:
        inputs = prepare_input(network, images).images
        if options.shown >= len(inputs):
            raise OptionError(f"shown is {options.shown}, and there are {len(inputs)} images, counted from 0")
        picture = inputs[options.shown]
        taps = taps_of(network, options.layers, inputs[0].to(network.device))
        other = shuffled(network, options.seed) if options.control else None
        with progress_bar("features", len(inputs) * (1 + bool(other)), unit="images") as bar:
            sums = counted(network, inputs, taps, bar)
            control = counted(other, inputs, taps, bar) if other is not None else {}
        saliency = (
            saliency_of(network, picture, taps, options.objective)
            if options.order == "saliency" and options.channels is None
            else {}
        )
        pages: dict[Key, tuple[dict[str, Any], dict[str, torch.Tensor]]] = {}

        def look(tap: str, feature: torch.Tensor) -> None:
            for frame, maps in enumerate(maps_of(feature, tap, picture.shape)):
                key = tap, frame
                row: dict[str, Any] = {"layer": tap, **({"frame": frame} if _frames(sums, tap) > 1 else {})}
                row |= sums[key].row()
                if control:
                    row |= {f"control_{name}": control[key].row()[name] for name in COUNTS}
                row["shown"] = _chosen(options, row, sums[key], saliency.get(key))
                pages[key] = row, _pictures(row, maps.float(), options.side)

        observe(network, picture, taps, look)
        order = sorted(pages, key=lambda key: (taps.index(key[0]), key[1]))
        rows = [pages[key][0] for key in order]
        arrays = {"input": _frame(picture)}
        for index, key in enumerate(order):
            arrays |= {f"{name}_{index}": value.cpu().numpy() for name, value in pages[key][1].items()}
        scalars = _totals(rows, len(inputs))
        scalars["output_size"] = list(network.output_size(picture.shape[-2], picture.shape[-1]))
        return sr_hooks.Result(
            "features", arrays, scalars, {"seed": options.seed}, features_verdict(scalars, options.order)
        )

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_features.figure import features_figure

        return features_figure(result, options)

    @classmethod
    def film(cls, results: list[sr_hooks.Result]) -> dict[str, list[np.ndarray]]:
        """For each layer its pictures over the iterations of a run, (H,W,3) uint8, on one colour scale."""
        from sr_hooks_features.figure import features_film

        return features_film(results)


def counted(
    network: sr_hooks.Network, inputs: Sequence[torch.Tensor], taps: Sequence[str], bar: Any
) -> dict[Key, ChannelSums]:
    """Sums over the images for each tap and frame; the features of one image are in memory at a time."""
    sums: dict[Key, ChannelSums] = {}
    for lr in inputs:

        def look(tap: str, feature: torch.Tensor, lr: torch.Tensor = lr) -> None:
            for frame, maps in enumerate(maps_of(feature, tap, lr.shape)):
                sums.setdefault((tap, frame), ChannelSums()).add(maps[None])

        observe(network, lr, taps, look)
        bar.update(1)
    return sums


def _pictures(row: dict[str, Any], maps: torch.Tensor, side: int) -> dict[str, torch.Tensor]:
    """What is kept of a feature (C,h,w); its shapes go into the row."""
    small = shrunk(maps, side)
    composite, row["composite_share"] = composite_of(small)
    stored = small[torch.as_tensor(row["shown"], device=small.device)]
    row["shape"], row["stored"] = list(maps.shape), list(stored.shape)
    activation = shrunk(maps.abs().mean(dim=0, keepdim=True), side)[0]
    return {"maps": stored, "composite": composite, "activation": activation}


def _frames(sums: Mapping[Key, ChannelSums], tap: str) -> int:
    return sum(name == tap for name, _ in sums)


def _name(row: Mapping[str, Any]) -> str:
    """What a row is called: the tap, and the frame where there are several."""
    return f"{row['layer']}, frame {row['frame']}" if "frame" in row else str(row["layer"])


def _chosen(
    options: FeaturesOptions, row: Mapping[str, Any], count: ChannelSums, saliency: np.ndarray | None
) -> list[int]:
    """The channels that are kept, in order; channels of equal measure by their number."""
    fixed = (options.channels or {}).get(_name(row))
    if fixed is not None:
        if any(not 0 <= int(channel) < row["channels"] for channel in fixed):
            raise OptionError(f"channels of {_name(row)}: {list(fixed)}, and the layer has {row['channels']}, from 0")
        return [int(channel) for channel in fixed]
    measure = {"std": count.spread, "saliency": saliency, "index": None}[options.order]
    order = np.arange(row["channels"]) if measure is None else np.argsort(-measure, kind="stable")
    return [int(channel) for channel in order[: options.top]]


def _frame(picture: torch.Tensor) -> np.ndarray:
    """(C,h,w): the image, or the middle frame of the clip."""
    image = picture[0]
    array: np.ndarray = (image[len(image) // 2] if image.ndim == 4 else image).cpu().numpy()
    return array


def _totals(rows: list[dict[str, Any]], images: int) -> dict[str, Any]:
    channels = max(sum(row["channels"] for row in rows), 1)
    totals: dict[str, Any] = {"layers": rows, "images": images, "channels": channels}
    for key in COUNTS:
        totals[key] = sum(row[key] for row in rows)
        if f"control_{key}" in rows[0]:
            totals[f"control_{key}"] = sum(row[f"control_{key}"] for row in rows)
    totals["dead_share"] = totals["dead"] / channels
    totals["fires_at_most"] = bound(images)
    return totals
