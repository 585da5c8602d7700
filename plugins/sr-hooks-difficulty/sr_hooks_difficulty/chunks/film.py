"""The film of chunks: each frame of the clip beside its groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, Look, draw_map
from sr_hooks.figures.style import INK, image_of, new_figure, pixels
from sr_hooks_difficulty.chunks.figure import group_colours

__all__ = ["chunks_film"]

_WIDTH = 6.4  # inches


def chunks_film(results: Sequence[sr_hooks.Result]) -> list[np.ndarray]:
    """(H,W,3) uint8 pictures, one for each frame of each result."""
    return [picture for result in results for picture in _pictures(result)]


def _pictures(result: sr_hooks.Result) -> list[np.ndarray]:
    from matplotlib.patches import Patch

    canvas, side = tuple(result.provenance["canvas"]), float(result.provenance["patch_in_output_pixels"])
    look, rows = Look(FigureOptions(), _WIDTH), result.scalars["groups"]
    figure = new_figure(_WIDTH, _WIDTH / 2 * canvas[0] / canvas[1] + 0.75)
    left, right = figure.subplots(1, 2)
    labels = [f"{row['group'] + 1}: {row['psnr']:.1f} dB" for row in rows]
    handles = [
        Patch(facecolor=colour, edgecolor=INK, linewidth=0.3, label=label)
        for colour, label in zip(group_colours(look, len(rows)), labels, strict=True)
    ]
    if len(rows) <= 8:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(rows), 4), frameon=False, fontsize=7)
    pictures = []
    for index, frame in enumerate(result.arrays["frames"]):
        for axes in (left, right):
            axes.clear()
            axes.set_axis_off()
        left.imshow(image_of(frame / 255.0))
        draw_map(
            right, look, result.arrays["groups"][index].astype(np.float64), ends=(0.0, len(rows) - 1.0), power=1.0,
            canvas=canvas, pixel=side,
        )  # fmt: skip
        left.set_title(f"frame {index}", fontsize=8, color=INK)
        right.set_title("groups by PSNR, 1 is the hardest", fontsize=8, color=INK)
        pictures.append(pixels(figure))
    return pictures
