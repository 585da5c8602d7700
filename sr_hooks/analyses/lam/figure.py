"""The figure of a LAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sr_hooks.figures.style import (
    INK,
    MAP_COLOURS,
    PAPER_COLOURS,
    caption,
    colour_bar,
    image_of,
    new_figure,
    panel,
    plain,
    window_box,
)

if TYPE_CHECKING:
    from sr_hooks.analyses.lam.result import LamResult

__all__ = ["lam_figure"]


def lam_figure(result: LamResult) -> Any:
    """Output with the window, input, attribution map, its density over the input, and the window enlarged."""
    from matplotlib.colors import PowerNorm

    lr, output, values = result.arrays["lr"], result.picture, result.map
    h, w = values.shape
    zoom = output.shape[-1] / w
    top, left, height, width = result.window
    colours = PAPER_COLOURS if result.provenance["options"]["compat"] else MAP_COLOURS
    aspect = h / w
    figure = new_figure(14, 0.72 + 2.75 * min(max(aspect, 0.4), 2.0))
    panels = figure.subplots(1, 5)

    panels[0].imshow(image_of(output), interpolation="lanczos")
    window_box(panels[0], (top, left, height, width))
    partly = np.isnan(result.arrays["output"]).any()
    title = f"output {output.shape[-2]}×{output.shape[-1]}, window {height}×{width}"
    panel(panels[0], "bicubic, and output at the window" if partly else title)
    panels[1].imshow(image_of(output[:, top : top + height, left : left + width]), interpolation="nearest")
    panel(panels[1], f"the window, at ({top}, {left})")
    panels[2].imshow(image_of(lr), interpolation="nearest")
    small = (top / zoom, left / zoom, height / zoom, width / zoom)
    window_box(panels[2], small)
    panel(panels[2], f"input {h}×{w}")

    shown = panels[3].imshow(
        values / max(float(values.max()), 1e-30), cmap=colours, norm=PowerNorm(0.5, 0, 1), interpolation="nearest"
    )
    panel(panels[3], f"LAM, DI {result.diffusion_index:.2f}, {result.effective_pixels:.0f} effective pixels")
    window_box(panels[3], small, thin=True)
    colour_bar(figure, shown, panels[3], "|attribution| / max", [0, 0.1, 0.5, 1])

    density = result.kde()
    share = density / max(float(density.max()), 1e-30)
    panels[4].imshow(np.repeat(image_of(lr).mean(axis=2, keepdims=True), 3, axis=2), interpolation="nearest")
    laid = panels[4].imshow(
        share, cmap=colours, alpha=np.clip(np.sqrt(share), 0, 0.85), vmin=0, vmax=1, interpolation="bicubic"
    )
    panel(panels[4], "density of the map, over the input")
    colour_bar(figure, laid, panels[4], "density / max", [0, 0.5, 1])

    name = result.provenance["network"]["name"]
    figure.suptitle(plain(f"{name}: which input pixels made this window?"), fontsize=11, color=INK, x=0.01, ha="left")
    checked = f" Checks: {result.card.overall}" if result.card is not None else ""
    caption(figure, result.verdict + checked)
    return figure
