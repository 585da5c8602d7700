"""The figure of a causal effect map."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from sr_hooks import Result
from sr_hooks.figures import FigureOptions, MapView, Panel, Slot, compose, style
from sr_hooks.images import Window
from sr_hooks_cem.verdict import own_blocks

__all__ = ["cem_figure"]


def cem_figure(result: Result, options: FigureOptions) -> Any:
    """Output with the window, input with reach, the signed effect, how sure it is, and LAM on the same blocks."""
    lr, output, window = result.arrays["lr"], result.arrays["output"], Window(*result.scalars["window"])
    view = MapView(output.shape[-2:], options, image=lr, window=window)
    title = f"output, window {window.height}×{window.width}: {result.scalars['base_psnr']:.2f} dB"
    panels = [
        view.image_panel("output", output, title, extra=0.35),
        view.image_panel("input", lr, f"input {lr.shape[-2]}×{lr.shape[-1]}; white: reach", extra=0.35,
                         after=partial(_reach, reach=result.scalars["reach"])),
        *_maps(result, view),
    ]  # fmt: skip
    name = result.provenance["network"]["name"]
    return compose(
        panels,
        options,
        title=f"{name}: what a window owes to each block",
        notes=result.verdict,
        width=14 if "lam" in result.arrays else 11.4,
    )


def _reach(slot: Slot, reach: Any) -> None:
    style.window_box(slot.axes, tuple(reach), thin=True)


def _maps(result: Result, view: MapView) -> list[Panel]:
    """The effect and its enlarged part, half of its interval, and LAM."""
    effect, side, lr = result.arrays["effect"], result.scalars["block_side"], result.arrays["lr"]
    blocks: dict[str, Any] = {"canvas": lr.shape[-2:], "pixel": side}
    scale = result.arrays["output"].shape[-1] / lr.shape[-1]
    outside = ~own_blocks(effect.shape, side, result.scalars["window"], scale)  # inside, effects dwarf all others
    limit = _largest(np.abs(effect), outside)
    panels = view.map_panels(
        "map", effect, "dB lost without the block", "dB; clipped inside the window",
        signed=True, largest=limit, unit=limit, **blocks,
    )  # fmt: skip

    half = (result.arrays["high"] - result.arrays["low"]) / 2
    fine = result.arrays["draws"] == result.arrays["draws"].max()
    known = np.where(np.isfinite(half) & fine, half, np.nan)
    most = _largest(np.nan_to_num(known), outside)
    panels += view.map_panels(
        "interval", known, "half of its 95 % interval", "dB; grey: coarse or out of reach",
        largest=most, unit=most, power=1.0, after=_grey, zoomed=False, **blocks,
    )  # fmt: skip
    if "lam" in result.arrays:
        rho = result.scalars["lam_correlation"]
        title = "LAM by block" + ("" if rho is None else f", rank correlation {rho:.2f}")
        panels += view.map_panels("lam", result.arrays["lam"], title, "|attribution| / max", zoomed=False, **blocks)
    return panels


def _grey(slot: Slot) -> None:
    if slot.look.overlay == "apart":
        slot.axes.set_facecolor("#dddddd")


def _largest(values: np.ndarray, where: np.ndarray) -> float:
    """The end of a scale, to two digits."""
    largest = float(values[where].max()) if where.any() else 0.0
    return float(f"{max(largest or float(values.max()), 1e-6):.2g}")
