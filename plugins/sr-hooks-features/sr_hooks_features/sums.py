"""Running sums of one layer over images: what each channel does, and whether the values are healthy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

__all__ = ["ChannelSums", "bound"]

SILENT = 1e-6  # of the layer's largest |value|: a channel that never exceeds that is dead
STILL = 1e-4  # of the channel's largest |value|: a channel that varies by less within each map is constant
STUCK = 0.5  # of the positions lie at an extreme of the channel that is not 0: the channel is saturated
_EXTREME = 1e-3  # of the extreme, or of the standard deviation where that is smaller
_VALUES = 1 << 22  # are looked at together, in double precision


def bound(maps: int) -> float:
    """The largest share of images on which a channel may fire that was silent on so many, with 95 %: 1 - 0.05^(1/n)."""
    return 1 - 0.05 ** (1 / maps) if maps else 1.0


@dataclass
class ChannelSums:
    """Sums over the maps (C,h,w) of one layer.

    Attributes:
        images: how many were added.
        positions: of the largest map; a channel of one value for an image, as after a mean over it, is not constant.
        nonfinite: values that were NaN or infinite; all other numbers leave them out.
        largest, spread, reach, stuck, squares: (C,) largest |value|; sums over images of the standard deviation over
            positions, and of the share of positions at an extreme; largest range within a map; sum of squares.
        broken: (C,) number of values that were not finite; such a channel is not called dead, constant or saturated.
    """

    images: int = 0
    positions: int = 0
    nonfinite: int = 0
    values: int = 0
    largest: np.ndarray = field(default_factory=lambda: np.zeros(0))
    spread: np.ndarray = field(default_factory=lambda: np.zeros(0))
    reach: np.ndarray = field(default_factory=lambda: np.zeros(0))
    stuck: np.ndarray = field(default_factory=lambda: np.zeros(0))
    squares: np.ndarray = field(default_factory=lambda: np.zeros(0))
    broken: np.ndarray = field(default_factory=lambda: np.zeros(0))
    powers: np.ndarray = field(default_factory=lambda: np.zeros(5))
    pivot: float = 0.0

    def add(self, maps: torch.Tensor) -> None:
        """Add one image: (N,C,h,w), of which N are parts of it."""
        channels = maps.shape[1]
        if not self.images:
            for name in ("largest", "spread", "reach", "stuck", "squares", "broken"):
                setattr(self, name, np.zeros(channels))
            mean = float(torch.nan_to_num(maps.float(), 0.0, 0.0, 0.0).mean())
            self.pivot = mean if math.isfinite(mean) else 0.0
        self.images += 1
        self.positions = max(self.positions, maps[:, 0].numel())
        step = max(_VALUES // max(maps[:, 0].numel(), 1), 1)
        for first in range(0, channels, step):
            part = slice(first, min(first + step, channels))
            self._add(maps[:, part].movedim(1, 0).flatten(1), part)

    def _add(self, rows: torch.Tensor, part: slice) -> None:
        finite = torch.isfinite(rows)
        self.nonfinite += int((~finite).sum())
        self.values += int(finite.sum())
        self.broken[part] += (~finite).sum(dim=1).cpu().numpy()
        x = torch.where(finite, rows, torch.zeros_like(rows)).double().cpu()
        low, high = x.amin(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)
        spread = x.std(dim=1, keepdim=True, correction=0)
        at_extreme = torch.zeros_like(x, dtype=torch.bool)
        for extreme in (low, high):
            at_extreme |= (x - extreme).abs() <= _EXTREME * torch.minimum(extreme.abs(), spread)
        at_extreme &= x != 0
        self.largest[part] = np.maximum(self.largest[part], torch.maximum(high, -low)[:, 0].numpy())
        self.reach[part] = np.maximum(self.reach[part], (high - low)[:, 0].numpy())
        self.spread[part] += spread[:, 0].numpy()
        self.stuck[part] += at_extreme.double().mean(dim=1).numpy()
        self.squares[part] += x.square().sum(dim=1).numpy()
        moved = torch.where(finite.cpu(), x - self.pivot, torch.zeros_like(x))
        self.powers += np.array([float(moved.pow(k).sum()) for k in range(5)])

    @property
    def dead(self) -> np.ndarray:
        """(C,) channels that are 0 on all images, but for a millionth of the layer's largest value."""
        return (self.broken == 0) & (self.largest <= SILENT * float(self.largest.max(initial=0.0)))

    @property
    def constant(self) -> np.ndarray:
        """(C,) channels that are not dead and have one value all over each image, of several positions."""
        return (self.broken == 0) & ~self.dead & (self.reach <= STILL * self.largest) & (self.positions > 1)

    @property
    def saturated(self) -> np.ndarray:
        """(C,) channels that vary, and lie at their largest or smallest value at half of the positions or more."""
        return (self.broken == 0) & ~self.dead & ~self.constant & (self.stuck / max(self.images, 1) >= STUCK)

    @property
    def entropy(self) -> float:
        """Of the channels' shares of the energy, over its largest value log C: 1 is evenly spread, 0 is one channel."""
        total = float(self.squares.sum())
        if total <= 0 or len(self.squares) < 2:
            return 0.0
        shares = self.squares / total
        entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum() / math.log(len(shares))
        return float(entropy) + 0.0  # of one channel it is -0.0

    @property
    def kurtosis(self) -> float | None:
        """Of all values: E (x - mean)^4 / variance^2, which is 3 for a normal distribution; None without variance."""
        one, two, three, four = (float(self.powers[k]) / max(self.values, 1) for k in range(1, 5))
        variance = two - one**2
        if not variance > 1e-12 * max(two, 1e-300):
            return None
        return (four - 4 * one * three + 6 * one**2 * two - 3 * one**4) / variance**2

    def row(self) -> dict[str, Any]:
        """The numbers of one layer for a result."""
        channels = len(self.largest)
        return {
            "channels": channels,
            "dead": int(self.dead.sum()),
            "constant": int(self.constant.sum()),
            "saturated": int(self.saturated.sum()),
            "dead_share": float(self.dead.mean()) if channels else 0.0,
            "dead_channels": np.flatnonzero(self.dead).tolist(),
            "max": float(self.largest.max(initial=0.0)),
            "entropy": self.entropy,
            "kurtosis": self.kurtosis,
            "nonfinite": self.nonfinite,
        }
