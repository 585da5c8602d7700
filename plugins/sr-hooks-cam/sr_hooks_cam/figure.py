"""The figure: the output with its window, and for each layer HiResCAM beside Grad-CAM."""

from __future__ import annotations

from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, MapView, Panel, compose
from sr_hooks.figures.style import plain
from sr_hooks.images import Window, parse_regions

__all__ = ["cam_figure"]

_LAYERS = 4  # drawn
_MAPS = (("map", "HiResCAM", "share_in_window"), ("control", "Grad-CAM (control)", "control_share_in_window"))


def cam_figure(result: sr_hooks.Result, options: FigureOptions | None = None) -> Any:
    """The panels are called output, and map_<i> and control_<i> of the last four layers; zoom is of the last map."""
    output = result.arrays["output"]
    view = MapView(output.shape[-2:], options, image=output, window=_window(result))
    panels: list[Panel] = []
    rows = list(enumerate(result.scalars["layers"]))
    for index, row in rows[-_LAYERS:]:
        panels.append(view.image_panel(f"output_{index}" if panels else "output", output, "output and window",
                                       starts_row=True, least=2.0, most=3.0))  # fmt: skip
        enlarged: list[Panel] = []
        for key, name, share in _MAPS:
            values = np.clip(result.arrays[f"{key}_{index}"], 0, None)
            title = f"{name}, {plain(row['layer'], 18)}: {row[share]:.1%}"
            last = index == rows[-1][0] and key == "map"
            own, *others = view.map_panels(
                f"{key}_{index}", values, title, "share of the maximum", zoomed=last, least=2.0, most=3.0
            )
            panels.append(own)
            enlarged += others
        panels += enlarged
    name = plain(result.provenance["network"]["name"])
    title = f"{name}: which places of a layer does the window rest on? (%: of the map's weight in the window)"
    return compose(panels, options, title=title, notes=result.verdict, width=9)


def _window(result: sr_hooks.Result) -> Window:
    if "region" in result.arrays:
        return parse_regions(result.arrays["region"].astype(bool))[0][0]
    return Window(*result.scalars["window"])
