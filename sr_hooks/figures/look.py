"""`Look`: the colours, scale and font sizes that figure options come to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from sr_hooks.figures.options import LEAST_POINTS, FigureOptions

__all__ = ["Look", "paper_red"]

_SMALLEST_SHARE = 1e-4  # where a logarithmic scale begins, as a share of the maximum
_POINTS, _NARROW_POINTS, _NARROW = 8.0, 7.0, 5.0  # text of wide and of narrow figures; inches


@cache
def paper_red() -> Any:
    """The colours of LAM's paper: white to red to dark red, the upper half of matplotlib's `seismic`."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["seismic"](np.linspace(0.5, 1, 256)), name="lam_red")


def _power(exponent: float, values: Any) -> Any:
    return np.sign(values) * np.abs(values) ** exponent


@dataclass(frozen=True)
class Look:
    """What options come to in a figure of a known width.

    Attributes:
        options: the options of the figure.
        width: of the whole figure, in inches.
    """

    options: FigureOptions
    width: float

    @property
    def is_paper(self) -> bool:
        return self.options.look == "paper"

    @property
    def overlay(self) -> str:
        return self.options.overlay or ("red" if self.is_paper else "apart")

    @property
    def scale(self) -> str:
        return self.options.scale or ("linear" if self.is_paper else "sqrt")

    @property
    def colormap(self) -> Any:
        """The colour map of maps, as matplotlib takes it: the option, rcParams if changed, or the look's own."""
        import matplotlib

        if self.options.colormap is not None:
            return self.options.colormap
        if self.overlay == "red" or self.is_paper:
            return paper_red()
        stated = matplotlib.rcParams["image.cmap"]
        return "inferno" if stated == matplotlib.rcParamsDefault["image.cmap"] else stated

    @property
    def signed_colormap(self) -> Any:
        """The colour map of values of both signs: the option, or blue to white to red."""
        return self.options.colormap or "RdBu_r"

    def norm(self, power: float | None = None, *, signed: bool = False) -> Any:
        """The shares of a map's largest value, from 0 or from -1 to 1, by the scale.

        `power` is the exponent where no scale is stated and the look is not the paper's.
        """
        from matplotlib.colors import FuncNorm, LogNorm, Normalize, PowerNorm, SymLogNorm

        exponent = self._exponent(power)
        if signed:
            if self.scale == "log":
                return SymLogNorm(100 * _SMALLEST_SHARE, vmin=-1, vmax=1, clip=True)
            return FuncNorm((partial(_power, exponent), partial(_power, 1 / exponent)), -1, 1, clip=True)
        if self.scale == "log":
            return LogNorm(_SMALLEST_SHARE, 1, clip=True)
        return Normalize(0, 1) if exponent == 1 else PowerNorm(exponent, 0, 1)

    def _exponent(self, power: float | None) -> float:
        if power is not None and self.options.scale is None and not self.is_paper:
            return power
        return 1.0 if self.scale == "linear" else 0.5

    @property
    def ticks(self) -> list[float]:
        """Where the colour bar of `norm` has ticks."""
        return self.ticks_of(None)

    def ticks_of(self, power: float | None, *, signed: bool = False) -> list[float]:
        """Where the colour bar of `norm` with the same arguments has ticks."""
        if self.scale == "log":
            ticks = [0.01, 0.1, 1.0] if signed else [1e-4, 1e-2, 1.0]
        else:
            exponent = self._exponent(power)
            ticks = {1.0: [0, 0.5, 1], 0.5: [0, 0.1, 0.5, 1]}.get(exponent, [0, 0.01, 0.1, 1])
            if signed:
                ticks = [0, 0.5, 1] if exponent == 1 else [0, 0.25, 1]
        return sorted({*ticks, *(-tick for tick in ticks)}) if signed else ticks

    @property
    def text(self) -> float:
        """Points of the main text."""
        import matplotlib

        if self.options.font_size is not None:
            return self.options.font_size
        stated = float(matplotlib.rcParams["font.size"])
        if stated != matplotlib.rcParamsDefault["font.size"]:
            return max(stated, LEAST_POINTS)
        return _POINTS if self.width >= _NARROW else _NARROW_POINTS

    @property
    def small(self) -> float:
        """Points of ticks and labels of colour bars."""
        return max(self.text - 1, LEAST_POINTS)

    @property
    def heading(self) -> float:
        """Points of the title of the figure."""
        return self.text + 1
