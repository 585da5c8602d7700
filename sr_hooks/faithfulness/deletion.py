"""The check by deletion and insertion: blur the input pixels that the map ranks first, and measure the window."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from sr_hooks.core.seeds import generator
from sr_hooks.faithfulness.subject import Subject
from sr_hooks.images.image import blur
from sr_hooks.images.regions import inside
from sr_hooks.inference.batches import in_batches
from sr_hooks.inference.calibration import ExecutionPlan
from sr_hooks.results.card import FAILS, PASSES, UNDECIDED, Verdict
from sr_hooks.statistics.map_correlation import distance_to_window, half_width

__all__ = ["NAME", "areas", "budgets", "judge"]

NAME = "deletion and insertion"
STD = 1.2  # of the blur, in input pixels; LAM's path begins with the same blur
_STILL = 1e-5  # RMS change of the window, in [0, 1]; below, blurring the whole image has no effect


@dataclass(frozen=True)
class Curves:
    """The window's error as a share of the error with the whole image blurred: (K,) each, for K budgets of pixels."""

    deletion: np.ndarray
    insertion: np.ndarray


def judge(subject: Subject, *, draws: int, seed: int, plan: ExecutionPlan, tick: Callable[[], object]) -> Verdict:
    """Compare the map's curves with the curves of random pixels and of the pixels nearest to the window.

    The area between two curves is how far the map's deletion curve lies above the other and its insertion curve below,
    averaged over both and over doublings of the number of pixels, as a share of the error with the whole image blurred.
    """
    h, w = subject.image.shape[-2:]
    budget = budgets(h * w)
    probe = _Probe(subject, plan)
    if probe.whole < _STILL:
        sentence = f"re-blurring the whole image changes the window by {probe.whole:.1g} of [0, 1]: nothing to rank"
        return Verdict(NAME, UNDECIDED, sentence, {"whole": probe.whole})
    rng = generator(seed, "orders")
    values = subject.map
    distance = distance_to_window(h, w, subject.window, subject.network.scale)
    own = probe.curves(_order(-values, rng), budget)
    tick()
    others: dict[str, list[Curves]] = {"random": [], "nearest": []}
    for _ in range(draws):
        others["random"].append(probe.curves(rng.permutation(h * w), budget))
        others["nearest"].append(probe.curves(_order(distance, rng), budget))
        tick()
    ahead = {name: [areas(own, other, budget) for other in curves] for name, curves in others.items()}
    area = {name: float(np.mean(curves)) for name, curves in ahead.items()}
    # Random: could the map be one more random order? Nearest: is the map better than the average of these orders?
    width = {name: half_width(curves, of_next=name == "random") for name, curves in ahead.items()}
    figures = {
        "pixels": budget,
        "whole": probe.whole,
        "map": _as_lists([own]),
        **{name: _as_lists(curves) for name, curves in others.items()},
        "area": area,
        "half_width": width,
        "draws": draws,
    }
    return Verdict(NAME, *_judged(area, width, bool(values.any())), figures)


def _judged(area: dict[str, float], width: dict[str, float], any_value: bool) -> tuple[str, str]:
    facts = "; area between the curves " + ", ".join(
        f"{area[name]:+.3f} ± {width[name]:.3f} against {name} pixels" for name in ("random", "nearest")
    )
    if not any_value:
        return FAILS, "the map is zero everywhere and ranks nothing"
    ahead = {name: area[name] - width[name] > 0 for name in area}
    if ahead["nearest"] and not ahead["random"]:
        return UNDECIDED, "better than the pixels nearest to the window, but random orders scatter too far" + facts
    if not ahead["random"]:
        return FAILS, "the pixels that the map ranks first matter to the window no more than random ones" + facts
    if ahead["nearest"]:
        return PASSES, "the pixels that the map ranks first matter most" + facts
    if area["nearest"] + width["nearest"] < 0:
        return UNDECIDED, "better than random pixels, and worse than the pixels nearest to the window" + facts
    return UNDECIDED, "better than random pixels, but not told from the pixels nearest to the window" + facts


def budgets(pixels: int) -> list[int]:
    """The numbers of pixels that are blurred: 1, 2, 4, ... and all pixels."""
    return [*(2**i for i in range(math.ceil(math.log2(max(pixels, 2))))), pixels]


def areas(own: Curves, other: Curves, budget: list[int]) -> float:
    """How far `own` is ahead of `other`: the mean over doublings of the budget, and over deletion and insertion."""
    ahead = ((own.deletion - other.deletion) + (other.insertion - own.insertion)) / 2
    doublings = np.log2(budget)
    return float((np.diff(doublings) * (ahead[1:] + ahead[:-1])).sum() / 2 / doublings[-1])


def _order(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pixel indices, smallest value first, equal values in random order."""
    return np.lexsort((rng.random(values.size), values.ravel()))


def _as_lists(curves: list[Curves]) -> dict[str, list[float]]:
    """The means over the draws, and the half-widths of their intervals if there are several draws."""
    lists = {}
    for name in ("deletion", "insertion"):
        stacked = np.stack([getattr(curve, name) for curve in curves])
        lists[name] = stacked.mean(axis=0).tolist()
        if len(curves) > 1:
            lists[f"{name}_half_width"] = [half_width(column.tolist()) for column in stacked.T]
    return lists


class _Probe:
    """Runs the network on partly re-blurred images."""

    def __init__(self, subject: Subject, plan: ExecutionPlan) -> None:
        self.subject, self.plan = subject, plan
        self.sharp, self.soft = subject.image, blur(subject.image, [STD])
        self.intact = self._window(self.sharp)
        self.norm = float((self._window(self.soft) - self.intact).norm())
        self.whole = self.norm / math.sqrt(subject.window.area * self.intact.shape[1])

    def curves(self, order: np.ndarray, budget: list[int]) -> Curves:
        h, w = self.sharp.shape[-2:]
        position = np.empty(order.size, dtype=np.int64)
        position[order] = np.arange(order.size)
        chosen = torch.from_numpy(np.stack([position < count for count in budget]).reshape(-1, 1, h, w))
        return Curves(
            self._errors(torch.where(chosen, self.soft, self.sharp)),
            self._errors(torch.where(chosen, self.sharp, self.soft)),
        )

    def _errors(self, images: torch.Tensor) -> np.ndarray:
        change = (self._window(images) - self.intact).flatten(1)
        errors: np.ndarray = (torch.linalg.vector_norm(change, dim=1) / self.norm).numpy()
        return errors

    def _window(self, images: torch.Tensor) -> torch.Tensor:
        network, window, plan = self.subject.network, self.subject.window, self.plan

        def run(part: slice) -> torch.Tensor:
            return inside(window, window.crop(network(plan.lay_out(images[part].to(network.device)))).double().cpu())

        with network.channels_last(plan.channels_last):
            return torch.cat([out for _, out in in_batches(len(images), run, batch=plan.batch)])
