"""The analysis `attention-map`: the weights of a query on the image in every attention, checked against LAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import WatchContext, Watcher
from sr_hooks.errors import NetworkError, TapError, nearest
from sr_hooks.figures import MAP_OPTIONS, FigureOptions
from sr_hooks.images import Window
from sr_hooks.inference import prepare_input
from sr_hooks_attention.finding import Event, Site, acting, find
from sr_hooks_attention.maps.check import agreement, used_pixels
from sr_hooks_attention.maps.layers import Seen, arrays_of, row_of, seen_of
from sr_hooks_attention.maps.positions import Positions
from sr_hooks_attention.maps.query import query_of
from sr_hooks_attention.maps.rollout import rollout
from sr_hooks_attention.maps.rows import Query
from sr_hooks_attention.maps.words import summary, verdict

__all__ = ["AttentionMap", "AttentionMapOptions"]

_AUTO = 8  # sites of which auto draws the weights
_DRAWS = 19  # of the rollout's control


@dataclass(frozen=True)
class AttentionMapOptions:
    """Options of attention maps."""

    query: Any = sr_hooks.option(
        "auto",
        "whose weights: y,x of an input pixel; top,left,size of a window in output pixels; or auto: the pixel in the "
        "middle of the liveliest place",
        checked=False,
    )
    layers: Any = sr_hooks.option(
        "auto",
        "sites of attention by name or pattern such as *.overlap_attn, all, or auto: at most eight, evenly spaced over "
        "depth",
        checked=False,
    )
    heads: Literal["mean", "apart"] = sr_hooks.option("mean", "average the heads, or give each its own map")
    rollout: bool = sr_hooks.option(
        False, "also carry the weight back over all layers (attention rollout), and do so with shuffled weights"
    )
    frame: Literal["middle"] | int = sr_hooks.option(
        "middle", "of a network over clips: the output frame that the query makes, a number from 0, or middle"
    )
    check: Literal["lam", "gradient", "none"] = sr_hooks.option(
        "lam", "what the weights are compared with: the LAM of the same pixel, its gradient, or nothing"
    )
    seed: int = sr_hooks.option(0, "of the shuffled weights", at_least=0)


@dataclass(frozen=True)
class AttentionMapWatchOptions(AttentionMapOptions):
    """Keys of an `attention-map:` block in an option file."""

    check: Literal["lam", "gradient", "none"] = sr_hooks.option(
        "gradient", "what the weights are compared with: the LAM of the same pixel, its gradient, or nothing"
    )


class AttentionMapWatcher(Watcher):
    """Refuses before training a network without attention, a query outside of the image, and unknown layers."""

    def __init__(self, kind: type[sr_hooks.Analysis[Any]], options: Any, context: WatchContext) -> None:
        super().__init__(kind, replace(options, seed=options.seed or context.seed), context)

    def check(self, network: sr_hooks.Network) -> None:
        super().check(network)
        for image in self.context.images:
            _, lr, _, _ = _inputs(network, image, self.options)
            _chosen(network, find(network, lr), self.options.layers)

    def estimate(self, forward: float) -> float:
        """Three passes that are followed, each at some three times its time, and those of the check."""
        check = {"lam": 60, "gradient": 4, "none": 0}[self.options.check]
        return forward * len(self.context.images) * (10 + check + (20 if self.options.rollout else 0))


class AttentionMap(sr_hooks.Analysis[AttentionMapOptions]):
    """What does a pixel of the image read in each attention of the network?

    Arrays, for layer i of `scalars["layers"]`, on the input's grid: `weights_<i>` (h,w), or (heads,h,w) with heads
    apart, where the layer `shows` pixels; of a clip (T,h,w) and (heads,T,h,w). `entries_<i>` (m,) of a dictionary;
    `channels_<i>` of attention among channels, the gate (C,) or the mixture (...,C,C). `used` (h,w) is the check's map;
    `rollout` and `rollout_control` (h,w); of a clip all three are (T,h,w). `lr`, `output`.
    """

    name = "attention-map"
    options_type = AttentionMapOptions
    watch_options_type = AttentionMapWatchOptions
    watcher_type = AttentionMapWatcher
    figure_options = MAP_OPTIONS
    better: ClassVar = {"agreeing": "higher"}
    explains: ClassVar = {
        "agreeing": "The share of the layers whose weights lie on the pixels that the output uses, more than shuffled "
        "weights do; 0.05 is chance.",
        "read_rank": "Mean over layers of the rank, by use, of the pixels that the query reads: 1 if all weight is at "
        "the pixel used most, 0.5 if weights have nothing to do with use.",
        "mean_distance": "Mean over layers of the distance from the query to what it reads, in input pixels.",
    }

    def run(
        self, network: sr_hooks.Network, images: Any, options: AttentionMapOptions
    ) -> sr_hooks.Result | list[sr_hooks.Result]:
        """A result for each image, one after the other; the query is in each."""
        results = []
        sites: dict[torch.Size, list[Site]] = {}
        for image in prepare_input(network, images, frame=options.frame).images:
            if image.shape not in sites:
                sites[image.shape] = find(network, image.to(network.device))
            results.append(self._of_image(network, image, sites[image.shape], options))
        return results[0] if len(results) == 1 else results

    def _of_image(
        self, network: sr_hooks.Network, image: torch.Tensor, sites: Sequence[Site], options: AttentionMapOptions
    ) -> sr_hooks.Result:
        network, lr, query, window = _inputs(network, image, options)
        by_itself = bool(query.frames) and options.layers == "auto"  # layers of other frames are left out below
        chosen = _chosen(network, sites, "all" if by_itself else options.layers)
        output, seen = _read(network, lr, sites, {site.key for site in chosen}, query)
        if by_itself:
            chosen = _spaced([site for site in chosen if not seen[site.key].elsewhere] or chosen)
        arrays = {"lr": lr[0].float().cpu().numpy(), "output": output[0].float().cpu().numpy()}
        used = None
        if options.check != "none":
            used = used_pixels(network, lr, window, options.check)
            arrays["used"] = used.astype(np.float32)
        rows = []
        for index, site in enumerate(chosen):
            rows.append(row_of(site, seen[site.key], query, used, options.seed))
            arrays |= arrays_of(index, seen[site.key], query, options.heads)
        scalars: dict[str, Any] = {
            **summary(rows),
            "layers": rows,
            "query": [list(pixel) for pixel in query.pixels],
            "window": list(window.as_tuple()),
            "check": options.check,
            "sites": len(sites),
        }
        if query.frames:
            scalars |= {"frame": network.frame, "query_frame": query.frame}
        if options.rollout:
            placed = [(site, seen[site.key].size) for site in sites if seen[site.key].placed]
            scalars |= _rolled(network, lr, placed, query, used, options, arrays)
        provenance = {"seed": options.seed}
        return sr_hooks.Result(self.name, arrays, scalars, provenance, verdict(network.name, scalars))

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_attention.maps.clip_figure import clip_figure
        from sr_hooks_attention.maps.figure import attention_map_figure

        draw = clip_figure if result.arrays["lr"].ndim == 4 else attention_map_figure
        return draw(result, options or FigureOptions())


def _inputs(
    network: sr_hooks.Network, image: Any, options: AttentionMapOptions
) -> tuple[sr_hooks.Network, torch.Tensor, Query, Window]:
    """The network, at the query's frame if it is over clips; its input; the query, and the output that it makes."""
    prepared = prepare_input(network, image, window="auto", frame=options.frame, one_batch=True, regions=True)
    (lr,), (lively,) = prepared.images, prepared.windows
    lr = lr.to(network.device)
    frames = frame = 0
    if network.frames:
        frames = lr.shape[1]
        index = network.frame_index(frames, options.frame)
        frame = min(max(round(network.returned_frames(frames)[index]), 0), frames - 1)
        network = network.at_frame(index)
    query, window = query_of(network, options.query, (lr.shape[-2], lr.shape[-1]), lively, frames, frame)
    return network, lr, query, window


def _chosen(network: sr_hooks.Network, sites: Sequence[Site], layers: Any) -> list[Site]:
    """The sites that `layers` names; gates of places and pixels have no query, and are left out."""
    able = [site for site in sites if site.kind not in ("spatial", "pixel")]
    if not able:
        raise NetworkError(
            f"{network.name} has {len(sites)} gates of places or pixels, and no attention that a query reads: run the "
            "analysis attention, which measures gates"
        )
    if layers == "all":
        return able
    if layers == "auto":
        return _spaced(able)
    several = layers.split(",") if isinstance(layers, str) else layers if isinstance(layers, Sequence) else [layers]
    patterns = [str(part).strip() for part in several]
    for pattern in patterns:
        if not any(_matches(site.name, pattern) for site in able):
            names = [site.name for site in able]
            raise TapError(f"no attention {pattern!r} in {network.name}; {nearest(pattern, names)}")
    return [site for site in able if any(_matches(site.name, pattern) for pattern in patterns)]


def _spaced(sites: Sequence[Site]) -> list[Site]:
    """At most eight, evenly spaced over depth."""
    return [sites[i] for i in sorted({round(v) for v in np.linspace(0, len(sites) - 1, min(_AUTO, len(sites)))})]


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)  # a name with [1] is no pattern of itself


def _read(
    network: sr_hooks.Network, lr: torch.Tensor, sites: Sequence[Site], keys: set[tuple[str, int, int]], query: Query
) -> tuple[torch.Tensor, dict[tuple[str, int, int], Seen]]:
    """One forward pass: the output, and of every site what was seen; weights are read where `keys` names them."""
    kinds = {site.key: site.kind for site in sites}
    seen = {key: Seen(0) for key in kinds}

    with torch.no_grad(), Positions(lr) as positions:

        def note(event: Event) -> None:
            if event.key in kinds:
                with positions.resting():
                    seen[event.key] = seen_of(event, kinds[event.key], positions, query, event.key in keys)

        with acting(network, note):
            output = network(lr)
    return output, seen


def _rolled(
    network: sr_hooks.Network,
    lr: torch.Tensor,
    placed: Sequence[tuple[Site, int]],
    query: Query,
    used: np.ndarray | None,
    options: AttentionMapOptions,
    arrays: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Rollout and its control into the arrays; its numbers."""
    if not placed:
        raise NetworkError(f"{network.name} has no attention whose positions are known: set rollout to false")
    carried = rollout(network, lr, placed, query, draws=_DRAWS, seed=options.seed).cpu().numpy()
    arrays["rollout"] = carried[0].reshape(query.shape).astype(np.float32)
    arrays["rollout_control"] = carried[1:].mean(axis=0).reshape(query.shape).astype(np.float32)
    numbers: dict[str, Any] = dict.fromkeys(("rollout_read_rank", "rollout_control", "rollout_p"))
    if used is not None:
        reach = carried.max(axis=0) > 0
        result = agreement(carried[0], used.ravel(), reach, carried[1:])
        numbers = dict(zip(numbers, (result.read_rank, result.control, result.p), strict=True))
    return numbers | {"rollout_layers": len(placed)}
