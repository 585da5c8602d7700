"""What each attention is worth: PSNR with it put out of work, image by image."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import sr_hooks
from sr_hooks.core import progress_bar
from sr_hooks.images import psnr
from sr_hooks_attention.finding import Event, Site, acting
from sr_hooks_attention.gates import high_pass, levelled, map_of, opened, statistics

__all__ = ["HOW", "Measured", "measure"]

HOW: dict[str, Callable[[Event], torch.Tensor | None]] = {"open": opened, "level": levelled}
_MAPS = 3


@dataclass
class Measured:
    """What was found on N images.

    Attributes:
        psnr: (N,) of the network as it is.
        changes: (how, group) to (N,) PSNR less that; NaN where it cannot be done. A group is a site's name or a kind.
        statistics: site's name to N of `gates.statistics`.
        gates: site's name to N gates of channels, for how they differ from image to image.
        maps: site's name to (h,w), of the first image.
    """

    psnr: np.ndarray
    changes: dict[tuple[str, str], np.ndarray]
    statistics: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    gates: dict[str, list[np.ndarray]] = field(default_factory=dict)
    maps: dict[str, np.ndarray] = field(default_factory=dict)


def measure(
    network: sr_hooks.Network,
    pairs: Sequence[tuple[torch.Tensor, torch.Tensor]],
    sites: Sequence[Site],
    groups: Mapping[str, Collection[tuple[str, int, int]]],
    *,
    border: int,
    colour: Any,
) -> Measured:
    """Run every image as it is, then with each group of sites opened and levelled.

    Args:
        pairs: (LR, HR), each (1,C,h,w).
        groups: name to the keys of the sites that are changed together.
    """
    measured = Measured(
        np.zeros(len(pairs)), {(how, name): np.full(len(pairs), np.nan) for how in HOW for name in groups}
    )
    with progress_bar("attention", len(pairs) * (1 + len(measured.changes)), unit="passes") as bar:
        for index, (lr, hr) in enumerate(pairs):

            def score(lr: torch.Tensor = lr, hr: torch.Tensor = hr) -> float:
                with torch.no_grad():
                    output = network(lr.to(network.device))
                bar.update(1)
                return float(psnr(output.clamp(0, 1), hr.to(output), border=border, colour=colour))

            with acting(network, _observer(measured, sites, lr.to(network.device), first=index == 0)):
                measured.psnr[index] = score()
            for (how, name), changes in measured.changes.items():
                change = _Change(HOW[how], groups[name])
                with acting(network, change):
                    value = score()
                if change.done:
                    changes[index] = value - measured.psnr[index]
    return measured


class _Change:
    """Changes the gates of some sites; `done` unless one of them could not be changed."""

    def __init__(self, how: Callable[[Event], torch.Tensor | None], keys: Collection[tuple[str, int, int]]) -> None:
        self.how, self.keys = how, keys
        self.changed, self.failed = 0, False

    def __call__(self, event: Event) -> torch.Tensor | None:
        if event.key not in self.keys:
            return None
        new = self.how(event)
        self.changed += new is not None
        self.failed |= new is None
        return new

    @property
    def done(self) -> bool:
        return self.changed > 0 and not self.failed


def _observer(
    measured: Measured, sites: Sequence[Site], lr: torch.Tensor, *, first: bool
) -> Callable[[Event], torch.Tensor | None]:
    names = {site.key: site.name for site in sites}
    energy = high_pass(lr)

    def observe(event: Event) -> None:
        name = names.get(event.key)
        if name is None:
            return
        measured.statistics.setdefault(name, []).append(statistics(event, energy))
        if event.kind == "channel":
            measured.gates.setdefault(name, []).append(event.gate[0].flatten().double().cpu().numpy())
        places = map_of(event, (lr.shape[-2], lr.shape[-1])) if first else None
        if places is not None and len(measured.maps) < _MAPS:
            measured.maps[name] = places.float().cpu().numpy()

    return observe
