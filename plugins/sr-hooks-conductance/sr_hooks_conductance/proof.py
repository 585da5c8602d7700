"""The proof: each unit is put out of work, and what the window loses by that is compared with the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sr_hooks.core import generator
from sr_hooks.images import Window, inside
from sr_hooks.statistics import rank_correlation
from sr_hooks_conductance.path_sums import Question

__all__ = ["Agreement", "Proof", "agreement", "prove"]

_RESAMPLES = 2000


@dataclass(frozen=True)
class Proof:
    """What the window loses without each unit.

    Attributes:
        change: (L,) root mean square change of the window's pixels, white being 1.
        lost: (L,) dB of PSNR lost against the ground truth; None without one.
        output: (C,H,W) the network's own output.
    """

    change: np.ndarray
    lost: np.ndarray | None
    output: np.ndarray

    @property
    def effect(self) -> np.ndarray:
        """The quantity that scores are compared with."""
        return self.change if self.lost is None else self.lost


@torch.no_grad()
def prove(question: Question, truth: torch.Tensor | None, bar: Any) -> Proof:
    """Run the network once as it is, and once without each unit."""
    network, window = question.network, question.window
    x = question.image.to(network.device)
    whole = network(x).float()
    own = None if truth is None else _error(whole.clamp(0, 1), truth.to(whole), window)
    change, lost = [], []
    for unit in question.units:
        with unit.out_of_work(network.module):
            without = network(x).float()
        change.append(_error(without, whole, window) ** 0.5)
        if truth is not None and own is not None:
            error = _error(without.clamp(0, 1), truth.to(whole), window)
            lost.append(10 * float(np.log10(max(error, 1e-12) / max(own, 1e-12))))
        bar.update(1)
    return Proof(np.array(change), np.array(lost) if lost else None, whole[0].cpu().numpy())


def _error(one: torch.Tensor, two: torch.Tensor, window: Window) -> float:
    squares = inside(window, (window.crop(one) - window.crop(two)).double().square())
    return float(squares.sum()) / float(window.area * one.shape[1])


@dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation over units of scores and proof, with 95 % bootstrap intervals over units.

    Attributes:
        value, low, high: of the conductance.
        controls: of each control.
        excess_low: the lower end of the interval of the conductance's correlation less the best control's.
        best: the name of that control.
    """

    value: float
    low: float
    high: float
    controls: dict[str, float]
    excess_low: float
    best: str


def agreement(scores: np.ndarray, controls: dict[str, np.ndarray], effect: np.ndarray, seed: int) -> Agreement:
    """How well the scores, and each control, rank the units as the proof does; NaN becomes 0."""
    value = _correlation(scores, effect)
    of_controls = {name: _correlation(each, effect) for name, each in controls.items()}
    best = max(of_controls, key=lambda name: of_controls[name])
    if len(scores) < 3:
        return Agreement(value, -1.0, 1.0, of_controls, -2.0, best)
    rng = generator(seed, "units")
    own, less = [], []
    for _ in range(_RESAMPLES):
        chosen = rng.integers(len(scores), size=len(scores))
        own.append(_correlation(scores[chosen], effect[chosen]))
        less.append(own[-1] - _correlation(controls[best][chosen], effect[chosen]))
    low, high = np.percentile(own, [2.5, 97.5])
    return Agreement(value, float(low), float(high), of_controls, float(np.percentile(less, 2.5)), best)


def _correlation(scores: np.ndarray, effect: np.ndarray) -> float:
    return float(np.nan_to_num(rank_correlation(scores, effect)))
