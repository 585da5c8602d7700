"""Bind one analysis to a training run: choose its network and images, make its watcher, check all before training."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from sr_hooks.analyses.base import Watcher, blamed
from sr_hooks.analyses.watch_context import WatchContext
from sr_hooks.errors import OptionError
from sr_hooks.images.clips import by_frames
from sr_hooks.images.image import downsample
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import plain_copy
from sr_hooks.training.config import AnalysisPlan, located
from sr_hooks.training.distributed import Ranks
from sr_hooks.training.watch_images import named_clips

__all__ = ["ImageSource", "RunFacts", "bind"]

ImageSource = Callable[[AnalysisPlan, int], tuple[Sequence[torch.Tensor], Sequence[str]]]
"""Gives the images that an analysis looks at, and their names."""

_FIRST_PICTURE = 1.0  # seconds to import matplotlib and draw, in the estimate of a first run
_CROP = 128  # pixels, of the image on which a forward pass is timed


@dataclass(frozen=True)
class RunFacts:
    """What every analysis may know of the training run."""

    folder: Path | None
    base: Path
    seed: int
    total: int | None
    ranks: Ranks
    draws: bool = False  # whether a sink draws figures
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("sr_hooks"))


def bind(
    plan: AnalysisPlan, networks: Mapping[str, Network], images: ImageSource, facts: RunFacts
) -> tuple[Watcher, str, float]:
    """The watcher, the name of the network that the watcher looks at, and the seconds that the first run may take.

    Raises:
        SRHooksError: what the block asks for cannot be done; the message has the block's name.
    """
    which = plan.schedule.network or ("ema" if "ema" in networks else "raw")
    if which not in networks:
        raise OptionError(f"{plan.where}: network is {which!r}, and this run has only {', '.join(networks)}")
    network = networks[which]
    with located(plan.where), network.prepared(), blamed(plan.kind, "check"):
        clips = named_clips(plan, facts.base, network.channels) if network.frames else None
        chosen, names = clips or images(plan, network.channels)
        context = WatchContext(
            images=tuple(chosen),
            image_names=tuple(names),
            seed=facts.seed,
            folder=facts.folder,
            base=facts.base,
            make_network=lambda: plain_copy(network.module),
            where=plan.where,
            rank=facts.ranks.rank,
            world_size=facts.ranks.size,
            total_iterations=facts.total,
            log=facts.log,
        )
        watcher = plan.kind.watcher_type(plan.kind, plan.options, context)
        watcher.check(network)
        seconds = watcher.estimate(_forward_seconds(network, context.images, plan.kind.takes))
        return watcher, which, seconds + (_FIRST_PICTURE if facts.draws else 0.0)


def _forward_seconds(network: Network, images: Sequence[torch.Tensor], takes: str) -> float:
    """Seconds of one forward pass on the first image, from one on a corner of it."""
    if not images:
        image = torch.full((1, network.channels, 64, 64), 0.5)
    else:
        image = images[0] if takes == "lr" else by_frames(partial(downsample, scale=network.scale), images[0])
    corner = image[..., :_CROP, :_CROP].to(network.device)
    with torch.no_grad():
        start = time.perf_counter()
        network(corner).sum().item()
        seconds = time.perf_counter() - start
    return seconds * (image[0, 0].numel() / corner[0, 0].numel())
