"""The analysis: conductance of blocks along LAM's path, its completeness, and the proof with controls."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import Watcher
from sr_hooks.attribution import make_objective, make_path
from sr_hooks.core import progress_bar
from sr_hooks.errors import ImageError
from sr_hooks.figures import MAP_OPTIONS, FigureOptions
from sr_hooks.images import Region, Window, as_batch
from sr_hooks.inference import prepare_input
from sr_hooks_conductance.finetuning import ConductanceResult, as_python
from sr_hooks_conductance.path_sums import OUTPUT, Integral, PathSums, Question, sums_along
from sr_hooks_conductance.proof import Agreement, Proof, agreement, prove
from sr_hooks_conductance.units import Unit, units_of
from sr_hooks_conductance.words import verdict_of

__all__ = ["Conductance", "ConductanceOptions", "ConductanceWatcher"]

_START, _MOST = 16, 128  # steps
_CONTROLS = ("mean |activation|", "|gradient x activation|")


@dataclass(frozen=True)
class ConductanceOptions:
    """Options of layer conductance."""

    layers: Any = sr_hooks.option(
        "blocks", "blocks: the network's repeated blocks, by what they add to their input; or taps, patterns such as "
        "body.*.conv1, by their outputs",
    )  # fmt: skip
    window: Any = sr_hooks.option(
        None, "top, left, size in output pixels, a mask, or auto: the liveliest place; by default the whole output",
        checked=False,
    )  # fmt: skip
    path: Any = sr_hooks.option("blur", "from which baseline to the image, as sr-hooks lam has it", checked=False)
    objective: Any = sr_hooks.option(
        "gradient", "what of the window is explained, as sr-hooks lam has it", checked=False
    )
    gt: Any = sr_hooks.option(
        None, "the ground truth: then the proof is the dB lost without each layer, else the output's change",
        checked=False,
    )  # fmt: skip
    steps: int | None = sr_hooks.option(
        None, "steps of the path; by default 16, doubled while the completeness gap is above 0.5 %, up to 128",
        at_least=2, at_most=10_000,
    )  # fmt: skip
    top: float = sr_hooks.option(0.25, "share of the layers that is named for fine-tuning", at_least=0.01, at_most=1)
    batch: int = sr_hooks.option(2, "nodes that go through at once, at most", at_least=1)
    seed: int = sr_hooks.option(0, "of the intervals and of a random path", at_least=0)


class ConductanceWatcher(Watcher):
    """Checks named layers before the run; "blocks" are those that the network has."""

    def check(self, network: sr_hooks.Network) -> None:
        options = self.options
        try:
            if options.layers == "blocks":
                self.options = replace(options, layers="all")
            super().check(network)
        finally:
            self.options = options


class Conductance(sr_hooks.Analysis[ConductanceOptions]):
    """Which layers made this window, or the whole output?

    The conductance of a layer (arXiv 1805.12233) at a position is the sum over channels of the integral, along the path
    from the blurred image to the image, of dD/dy times dy/dt; y is what the block adds, D is LAM's objective.

    Arrays, for L layers: `conductance` (L,) mean |C| over positions, `signed` (L,) sum, `direct` (L,) the sum that
    reaches the output through no other layer, `change` (L,) and with a ground truth `lost_db` (L,) of the proof,
    `map_<i>` (h,w) signed, where a layer has a grid; `output`, `lr`.
    """

    name = "conductance"
    options_type = ConductanceOptions
    result_type = ConductanceResult
    watcher_type = ConductanceWatcher
    figure_options = MAP_OPTIONS
    better: ClassVar = {"agreement": "higher"}
    explains: ClassVar = {
        "agreement": "Spearman's rank correlation over layers of the conductance with the proof: what the output loses "
        "without each layer. Near 1, the scores say which layers matter; below 0.5 they hardly do.",
        "agreement_low": "The lower end of the 95 % interval of the agreement. At or below 0 nothing can be told.",
        "completeness_gap": "How much of the objective's change the sum over the layers misses. Below 1 % is complete.",
    }

    def run(self, network: sr_hooks.Network, images: Any, options: ConductanceOptions) -> Any:
        prepared = prepare_input(network, images, window=options.window, frame="middle", regions=True)
        windows = prepared.windows or (None,)
        results = [_explain(network, image, window, options) for image in prepared.images for window in windows]
        return results[0] if len(results) == 1 else results

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_conductance.figure import conductance_figure

        return conductance_figure(result, options)


def _explain(
    network: sr_hooks.Network, image: torch.Tensor, window: Window | None, options: ConductanceOptions
) -> sr_hooks.Result:
    x = image.to(network.device)
    window = window or Window(0, 0, *network.output_size(*image.shape[-2:]))
    units = units_of(network, x, options.layers)
    path, objective = make_path(options.path, seed=options.seed), make_objective(options.objective, gt=options.gt)
    question = Question(network, x, units, objective, window, path)
    truth = _truth(network, image, options.gt)
    with progress_bar("conductance", unit="passes") as bar:
        sums = _integrated(question, options, bar)
        proof = prove(question, truth, bar)
    return _result(question, sums, proof, options)


def _truth(network: sr_hooks.Network, image: torch.Tensor, gt: Any) -> torch.Tensor | None:
    if gt is None:
        return None
    truth, size = as_batch(gt, what="the ground truth", bands="any"), network.output_size(*image.shape[-2:])
    if tuple(truth.shape[-2:]) != tuple(size):
        raise ImageError(f"the ground truth is {tuple(truth.shape[-2:])}, and the output {tuple(size)}")
    return truth


def _integrated(question: Question, options: ConductanceOptions, bar: Any) -> PathSums:
    steps = options.steps or _START
    sums = sums_along(question, steps + steps % 2, options.batch, bar)
    while options.steps is None and _gap(sums) > 0.005 and steps < _MOST:
        steps *= 2
        sums = sums_along(question, steps, options.batch, bar)
    return sums


def _gap(sums: PathSums) -> float:
    return abs(sums.completeness() - sums.change) / max(abs(sums.change), 1e-12)


def _result(question: Question, sums: PathSums, proof: Proof, options: ConductanceOptions) -> sr_hooks.Result:
    units = question.units
    scores = np.array([_score(sums, unit) for unit in units])
    signed = np.array([_sum(sums.total, unit) for unit in units])
    direct = np.array([_sum(sums.direct, unit) for unit in units])
    controls = {
        name: np.array([sum(sums.last[str(tap)][i] for tap in unit.taps) for unit in units])
        for i, name in enumerate(_CONTROLS)
    }
    agreed = agreement(scores, controls, proof.effect, options.seed)
    order = [int(i) for i in np.argsort(-scores, kind="stable")]
    chosen = [units[i].name for i in order[: max(1, round(options.top * len(units)))]]
    errors = [_error(sums, unit) for unit in units]
    rows = [
        {
            "layer": unit.name,
            "part": "added" if unit.added else "output",
            "conductance": float(scores[i]),
            "error": errors[i],
            "signed": float(signed[i]),
            "direct": float(direct[i]),
            "change_without": float(proof.change[i]),
            **({} if proof.lost is None else {"lost_db": float(proof.lost[i])}),
            **{name: float(values[i]) for name, values in controls.items()},
        }
        for i, unit in enumerate(units)
    ]
    scalars = _scalars(sums, proof, agreed, chosen, rows, question.length()) | {
        "window": list(question.window.as_tuple())
    }
    arrays = {"conductance": scores, "signed": signed, "direct": direct, "change": proof.change}
    if proof.lost is not None:
        arrays["lost_db"] = proof.lost
    image = question.image[0] if question.image.ndim == 4 else question.image[0, question.image.shape[1] // 2]
    arrays |= {"lr": image.cpu().numpy(), "output": proof.output} | _maps(sums, units, question.image)
    provenance = {"objective": question.objective.name, "path": question.path.name, "seed": options.seed}
    if isinstance(question.window, Region):
        arrays["region"] = np.asarray(question.window.on_canvas(*proof.output.shape[-2:]), dtype=bool)
    return ConductanceResult("conductance", arrays, scalars, provenance, verdict_of(scalars))


def _scalars(
    sums: PathSums, proof: Proof, agreed: Agreement, chosen: list[str], rows: list[dict[str, Any]], path_length: float
) -> dict[str, Any]:
    scale = max(abs(sums.change), 1e-12)
    output = float(torch.as_tensor(sums.total[OUTPUT].fine).sum())
    return {
        "completeness_gap": _gap(sums),
        "output_gap": abs(output - sums.change) / scale,
        "gap_of_half_the_nodes": abs(sums.completeness(coarse=True) - sums.change) / scale,
        "objective_change": sums.change,
        "path_length": path_length,
        "around": float(torch.as_tensor(sums.direct[":input"].fine).sum()),
        "nodes": sums.nodes,
        "error": sum(row["error"] for row in rows) / max(sum(row["conductance"] for row in rows), 1e-30),
        "agreement": agreed.value,
        "agreement_low": agreed.low,
        "agreement_high": agreed.high,
        "controls": agreed.controls,
        "best_control": agreed.best,
        "excess_low": agreed.excess_low,
        "largest_change": float(proof.change.max()),
        "largest_loss": None if proof.lost is None else float(proof.lost.max()),
        "finetune": chosen,
        "finetune_python": as_python(chosen),
        "layers": rows,
    }


def _score(sums: PathSums, unit: Unit, rule: str = "fine") -> float:
    """The mean of |C| over positions, summed over the runs of a layer that runs several times."""
    return sum(float(torch.as_tensor(getattr(sums.total[str(tap)], rule)).abs().mean()) for tap in unit.taps)


def _error(sums: PathSums, unit: Unit) -> float:
    """The stated error of a score: a third of what leaving out every second node changes, as trapezoids have it."""
    change = 0.0
    for tap in unit.taps:
        integral = sums.total[str(tap)]
        change += float((torch.as_tensor(integral.fine) - torch.as_tensor(integral.coarse)).abs().mean())
    return change / 3


def _sum(integrals: dict[str, Integral], unit: Unit) -> float:
    return math.fsum(float(torch.as_tensor(integrals[str(tap)].fine).sum()) for tap in unit.taps)


def _maps(sums: PathSums, units: list[Unit], image: torch.Tensor) -> dict[str, np.ndarray]:
    maps = {}
    for i, unit in enumerate(units):
        values = [_on_grid(torch.as_tensor(sums.total[str(tap)].fine), image) for tap in unit.taps]
        if values[0].ndim == 2 and len({value.shape for value in values}) == 1:
            maps[f"map_{i}"] = torch.stack(values).sum(dim=0).float().cpu().numpy()
    return maps


def _on_grid(values: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Values of tokens (L,) as (h,w), where L is the input's size padded to a multiple of some window."""
    if values.ndim != 1:
        return values
    for window in range(1, 65):
        height, width = (-(-side // window) * window for side in image.shape[-2:])
        if height * width == len(values):
            return values.view(height, width)
    return values
