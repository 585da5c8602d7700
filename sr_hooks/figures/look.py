"""`Look`: the colours, scale and font sizes that figure options come to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
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

    def norm(self) -> Any:
        """From 0 to 1, the shares of a map's maximum, by the scale."""
        from matplotlib.colors import LogNorm, Normalize, PowerNorm

        if self.scale == "log":
            return LogNorm(_SMALLEST_SHARE, 1, clip=True)
        return PowerNorm(0.5, 0, 1) if self.scale == "sqrt" else Normalize(0, 1)

    @property
    def ticks(self) -> list[float]:
        """Where the colour bar of `norm` has ticks."""
        return {"log": [1e-4, 1e-2, 1.0], "sqrt": [0, 0.1, 0.5, 1], "linear": [0, 0.5, 1]}[self.scale]

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
