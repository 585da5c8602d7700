"""The figure of attention maps of a clip: a row for each layer, with the weights on each frame."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.figures import FigureOptions, MapView, compose
from sr_hooks.images import Window
from sr_hooks_attention.maps.figure import heading, ring_of, shortened

__all__ = ["clip_figure"]

_LAYERS = 6  # that are drawn; of more, evenly spaced
_FRAMES = 5  # that are drawn, the nearest to the query's
_WIDE = 2.0  # inches of a frame


def clip_figure(result: sr_hooks.Result, options: FigureOptions) -> Any:
    """Panels frame_<t>, used_<t>, weights_<i>_<t>, rollout_<t>, rollout_control_<t>; maps of a row have one scale."""
    scalars, clip = result.scalars, result.arrays["lr"]
    frame, count = int(scalars["query_frame"]), len(clip)
    first = min(max(frame - _FRAMES // 2, 0), max(count - _FRAMES, 0))
    frames = list(range(first, min(first + _FRAMES, count)))
    one = len(scalars["query"]) == 1
    window = None if one else Window(*scalars["window"])
    ring = partial(ring_of, query=scalars["query"]) if one else None
    size = result.arrays["output"].shape[-2:]
    views = {t: MapView(size, options, image=clip[t], window=window if t == frame else None) for t in frames}
    panels = [
        view.image_panel(
            f"frame_{t}", clip[t], f"frame {t}" + ", with the query" * (t == frame), starts_row=t == first, least=1.2,
            after=ring if t == frame else None,
        )
        for t, view in views.items()
    ]  # fmt: skip
    for name, title, values in _rows(result):
        largest = max(float(np.nanmax(values)), 1e-30)
        for t, view in views.items():
            share = float(values[t].sum() / max(float(values.sum()), 1e-30))
            text = f"{title if t == first else ''}\n{share:.0%} in frame {t}"
            panels += view.map_panels(
                f"{name}_{t}", values[t], text, "weight / largest", largest=largest, least=1.2, extra=0.3,
                starts_row=t == first, zoomed=t == frame and name in ("used", "weights_0"),
                after=ring if t == frame else None,
            )  # fmt: skip
    where = f"pixel {tuple(scalars['query'][0])}" if one else f"output window {tuple(scalars['window'])}"
    title = f"{result.provenance['network']['name']}: what does {where} of frame {frame} attend to?"
    return compose(panels, options, title=title, notes=result.verdict, width=max(_WIDE * len(frames), 5.0))


def _rows(result: sr_hooks.Result) -> list[tuple[str, str, np.ndarray]]:
    """Name, title and (T,h,w) of each row of maps; heads are averaged."""
    scalars, rows = result.scalars, []
    if "used" in result.arrays:
        title = {"lam": "LAM of the query", "gradient": "gradient of the query"}[scalars["check"]]
        rows.append(("used", title, result.arrays["used"]))
    drawn = [index for index in range(len(scalars["layers"])) if f"weights_{index}" in result.arrays]
    for position in sorted({round(v) for v in np.linspace(0, len(drawn) - 1, min(_LAYERS, len(drawn)))}):
        index = drawn[position]
        values, row = result.arrays[f"weights_{index}"], scalars["layers"][index]
        values = values.mean(axis=0) if values.ndim == 4 else values
        rows.append((f"weights_{index}", f"{shortened(row['layer'])}: {heading(row)}", values))
    for name, title in (("rollout", "rollout"), ("rollout_control", "rollout of shuffled weights")):
        if name in result.arrays:
            rows.append((name, title, result.arrays[name]))
    return rows
