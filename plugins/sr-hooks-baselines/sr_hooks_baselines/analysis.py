"""The analysis: LAMs of one window along several paths, their diffusion indices and rank correlations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.errors import OptionError
from sr_hooks.inference import prepare_input
from sr_hooks.statistics import distance_to_window, local_correlation, rank_correlation
from sr_hooks_baselines.words import verdict_of

__all__ = ["Baselines", "BaselinesOptions"]

_BASELINES = ("blur", "linear:black", "linear:mean", "gaussian", "uniform", "linear:maxdistance")


@dataclass(frozen=True)
class BaselinesOptions:
    """Options of the comparison of baselines."""

    window: Any = sr_hooks.option(
        "auto", "top, left, size in output pixels, a mask, or auto: the liveliest place", checked=False
    )
    folder: str | None = sr_hooks.option(
        None, "a folder of images as the network takes them: adds the baseline expected:FOLDER, the average over them"
    )
    baselines: Any = sr_hooks.option(
        _BASELINES, "paths, at least two, as --path of sr-hooks lam takes them", checked=False
    )
    objective: str = sr_hooks.option("gradient", "what of the window is explained, as sr-hooks lam has it")
    tolerance: float = sr_hooks.option(0.04, "estimated relative error of each map at which its integral ends")
    seed: int = sr_hooks.option(0, "of noise, and of the images of the folder", at_least=0)


class Baselines(sr_hooks.Analysis[BaselinesOptions]):
    """How much do the map and its diffusion index depend on the baseline?"""

    name = "baselines"
    options_type = BaselinesOptions

    def run(self, network: sr_hooks.Network, images: Any, options: BaselinesOptions) -> sr_hooks.Result:
        paths = _paths(options)
        prepared = prepare_input(network, images, window=options.window, clips=False, one_batch=True, regions=True)
        (lr,), (window,) = prepared.images, prepared.windows
        if len(lr) > 1:
            raise OptionError(f"one image at a time: {len(lr)} were given")
        maps, rows, arrays = [], [], {"lr": lr[0].cpu().numpy()}
        for i, path in enumerate(paths):
            result = sr_hooks.lam(
                network, lr, window=window, path=path, objective=options.objective, tolerance=options.tolerance,
                seed=options.seed,
            )  # fmt: skip
            maps.append(np.asarray(result.map, dtype=np.float64))
            arrays[f"attribution_{i}"] = result.attribution
            rows.append(
                {
                    "baseline": path,
                    "diffusion_index": result.diffusion_index,
                    "effective_pixels": result.scalars["effective_pixels"],
                    "completeness_gap": result.completeness_gap,
                    "error": result.error,
                    "steps": result.steps,
                    "verdict": result.verdict,
                }
            )
        canvas = result.scalars["canvas"]["output"]
        arrays["output"] = result.picture
        distance = distance_to_window(*lr.shape[-2:], window, network.scale)
        everywhere = _matrix(maps, lambda a, b: float(np.nan_to_num(rank_correlation(a, b))))
        nearby = _matrix(maps, lambda a, b: local_correlation(a, b, distance))
        indices = [row["diffusion_index"] for row in rows]
        pairs = np.triu_indices(len(rows), 1)
        scalars = {
            "baselines": rows,
            "rank_correlations": everywhere.tolist(),
            "local_correlations": nearby.tolist(),
            "least_correlation": float(everywhere[pairs].min()),
            "least_local_correlation": float(nearby[pairs].min()),
            "di_low": min(indices),
            "di_high": max(indices),
            "di_spread": max(indices) - min(indices),
            "window": list(window.as_tuple()),
            "canvas": canvas,
        }
        provenance = {"seed": options.seed, "paths": paths}
        return sr_hooks.Result("baselines", arrays, scalars, provenance, verdict_of(scalars))

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: Any = None) -> Any:
        from sr_hooks_baselines.figure import baselines_figure

        return baselines_figure(result, options)


def _paths(options: BaselinesOptions) -> list[str]:
    """The names of the paths, each once."""
    stated = options.baselines
    names = [stated] if isinstance(stated, str) else list(stated) if isinstance(stated, Sequence) else []
    if options.folder is not None:
        names.append(f"expected:{options.folder}")
    names = [str(name) for name in dict.fromkeys(names)]
    if len(names) < 2:
        raise OptionError(f"baselines: at least two paths are compared, and there are {names}")
    return names


def _matrix(maps: Sequence[np.ndarray], correlation: Any) -> np.ndarray:
    """(B,B) of a correlation of maps, 1 on the diagonal."""
    values = np.eye(len(maps))
    for i in range(len(maps)):
        for j in range(i):
            values[i, j] = values[j, i] = correlation(maps[i], maps[j])
    return values
