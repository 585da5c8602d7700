"""The figure: the output with its window, and for each layer HiResCAM beside Grad-CAM."""

from __future__ import annotations

from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures.style import INK, MAP_COLOURS, caption, image_of, new_figure, panel, plain, window_box

__all__ = ["cam_figure"]

_LAYERS = 4  # drawn


def cam_figure(result: sr_hooks.Result) -> Any:
    """One row a layer, of the last four; both maps of a row over their own largest value."""
    rows = list(enumerate(result.scalars["layers"]))[-_LAYERS:]
    figure = new_figure(9.0, 1.0 + 2.9 * len(rows))
    output = result.arrays["output"]
    window = tuple(result.scalars["window"])
    for (index, row), axes in zip(rows, figure.subplots(len(rows), 3, squeeze=False), strict=True):
        axes[0].imshow(image_of(output))
        window_box(axes[0], window)
        panel(axes[0], "output and window")
        for place, (key, name) in enumerate((("map", "HiResCAM"), ("control", "Grad-CAM (control)")), start=1):
            values = np.clip(result.arrays[f"{key}_{index}"], 0, None)
            factor = output.shape[-2] / values.shape[0], output.shape[-1] / values.shape[1]
            axes[place].imshow(
                (values / max(float(values.max()), 1e-30)) ** 0.5, cmap=MAP_COLOURS, vmin=0, vmax=1,
                interpolation="nearest",
            )  # fmt: skip
            top, left, height, width = window
            box = (top / factor[0], left / factor[1], height / factor[0], width / factor[1])
            window_box(axes[place], box, thin=True)
            share = row["share_in_window" if key == "map" else "control_share_in_window"]
            panel(axes[place], f"{name}, {plain(row['layer'], 24)}: {share:.1%} in the window")
    name = plain(result.provenance["network"]["name"])
    figure.suptitle(
        f"{name}: which places of a layer does the window rest on? (colours: square root of the share of the maximum)",
        fontsize=10, color=INK, x=0.01, ha="left",
    )  # fmt: skip
    caption(figure, result.verdict, width=125)
    return figure
