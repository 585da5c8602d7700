"""The check by other baselines (Sturmfels et al., Distill 2020): compare the map with LAM's from four baselines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sr_hooks.faithfulness.subject import Subject
from sr_hooks.results.card import FAILS, PASSES, UNDECIDED, Verdict
from sr_hooks.statistics.map_correlation import HALF, distance_to_window, local_correlation, rank_correlation_or_zero
from sr_hooks.statistics.measures import diffusion_index

__all__ = ["BASELINES", "NAME", "judge"]

NAME = "other baselines"
BASELINES = {"blur": "blur", "black": "linear:black", "mean": "linear:mean", "noise": "gaussian"}


def judge(subject: Subject, *, seed: int, tick: Callable[[], object]) -> Verdict:
    """Correlate the map's ranks with LAM's map from each baseline, and measure the spread of the diffusion index."""
    h, w = subject.image.shape[-2:]
    distance = distance_to_window(h, w, subject.window, subject.network.scale)
    own = subject.map
    everywhere, nearby, indices = {}, {}, {}
    for name, path in BASELINES.items():
        other = np.abs(subject.lam(subject.network, path=path, seed=seed).sum(axis=0, dtype=np.float64))
        everywhere[name] = rank_correlation_or_zero(own, other)
        nearby[name] = local_correlation(own, other, distance)
        indices[name] = diffusion_index(other)
        tick()
    figures = {
        "correlation": everywhere,
        "local_correlation": nearby,
        "diffusion_index": {"this map": diffusion_index(own), **indices},
        "limit": HALF,
        "seed": seed,
    }
    low, high = min(indices.values()), max(indices.values())
    worst = min(everywhere, key=lambda name: everywhere[name])
    facts = (
        f"rank correlation {everywhere[worst]:.2f} or more (least with {worst}), {min(nearby.values()):.2f} to "
        f"{max(nearby.values()):.2f} among pixels of equal distance to the window; DI {low:.2f} to {high:.2f}"
    )
    if everywhere[worst] > HALF:
        return Verdict(NAME, PASSES, f"black, blur, noise and mean put the weight in the same places: {facts}", figures)
    if max(everywhere.values()) > HALF:
        apart = ", ".join(name for name, value in everywhere.items() if value <= HALF)
        return Verdict(NAME, UNDECIDED, f"where the weight lies depends on the baseline ({apart}): {facts}", figures)
    return Verdict(NAME, FAILS, f"no baseline puts the weight where the map has it: {facts}", figures)
