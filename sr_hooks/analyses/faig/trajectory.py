"""FAIG's integral along the weights of a training run: on the straight lines between the due iterations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sr_hooks.analyses.degraded_pairs import Inputs
from sr_hooks.attribution.weight_paths import StraightPath, WeightGradients, inner_product
from sr_hooks.inference.calibration import to_cpu
from sr_hooks.networks.network import Network

__all__ = ["STILL", "FreeSum", "Trajectory"]

Tensors = list[torch.Tensor]
STILL = 0.01  # share of the loss below which its change counts as none: relative to nothing, nothing is near
_CLOSE = 0.005  # of the loss's change: what a sum may miss of it before a stretch is halved


@dataclass
class _Point:
    """A point of the way: parameters, and for each degradation the probe loss and its gradient."""

    weights: dict[str, torch.Tensor]
    losses: list[float]
    gradients: list[Tensors]


class Trajectory:
    """Running sums of sum_k (g_k + g_{k+1}) / 2 * (theta_{k+1} - theta_k), elementwise, one a degradation.

    g is the gradient of the probe loss: the sum of squared differences over all probe images of one degradation. The
    sum over all elements is the probe loss's change, on any way. A stretch whose sum misses its change by 0.5 % is
    halved, by gradients at the middles of the chord, at most `refine` times, unless the whole way's sum is as near.
    Memory: four gradients a degradation and three sets of weights, however long the run. Other than on the straight
    path, absolute values are taken after the sum over images: per image there would have to be as many sums as images.

    Attributes:
        points: where gradients were taken, chord middles included.
        start_losses, start_weights: at the first point.
    """

    def __init__(self, network: Network, inputs: Inputs, *, refine: int = 5) -> None:
        self.inputs, self.refine = inputs, refine
        self.names = [name for name, p in network.module.named_parameters() if p.is_floating_point()]
        self._last = self._look(network, _path(_weights(network)), 1.0)
        self.sums = [[torch.zeros_like(g) for g in row] for row in self._last.gradients]
        self.start_losses = list(self._last.losses)
        self.start_weights = self._last.weights
        self.points = 1

    @property
    def losses(self) -> list[float]:
        """Of each degradation's probes, at the latest point."""
        return list(self._last.losses)

    def chord(self) -> StraightPath:
        """The straight line from the first point's weights to the latest point's."""
        return StraightPath(self.start_weights, self._last.weights, self.names)

    def attributed(self) -> list[float]:
        """Signed sums over all parameters: what the probe losses' changes should be."""
        return [_total(row) for row in self.sums]

    def values(self, row: int) -> dict[str, torch.Tensor]:
        """Parameter name to |sum| for one degradation."""
        return {name: value.abs() for name, value in zip(self.names, self.sums[row], strict=True)}

    def move_to(self, network: Network) -> None:
        """Go straight from the latest point to where the network is now."""
        path = StraightPath(self._last.weights, _weights(network), self.names)
        now = self._look(network, path, 1.0)
        step = [path.difference(name).float() for name in self.names]
        mean = [
            [(a + b) / 2 for a, b in zip(*rows, strict=True)]
            for rows in zip(self._last.gradients, now.gradients, strict=True)
        ]
        self.points += 1
        for halving in range(self.refine):
            if self._is_close(mean, step, now):
                break
            pieces = 2**halving
            for piece in range(pieces):
                middle = self._look(network, path, (piece + 0.5) / pieces)
                for row, gradients in zip(mean, middle.gradients, strict=True):
                    if piece == 0:
                        torch._foreach_mul_(row, 0.5)
                    torch._foreach_add_(row, gradients, alpha=0.5 / pieces)
                self.points += 1
        for row, gradients in zip(self.sums, mean, strict=True):
            torch._foreach_addcmul_(row, gradients, step)
        self._last = now

    def _is_close(self, mean: Sequence[Tensors], step: Tensors, now: _Point) -> bool:
        """Whether, for every degradation, this stretch or else the whole way adds up to its loss's change."""
        for row, so_far, before, after, start in zip(
            mean, self.attributed(), self._last.losses, now.losses, self.start_losses, strict=True
        ):
            change = float(inner_product(row, step))
            stretch, whole = abs(change - (after - before)), abs(so_far + change - (after - start))
            enough = max(abs(after - start), STILL * start)
            if stretch > _CLOSE * max(abs(after - before), STILL * start) and whole > _CLOSE * enough:
                return False
        return True

    def _look(self, network: Network, path: StraightPath, t: float) -> _Point:
        engine = WeightGradients(network, path)
        engine.move_to(t)
        losses, gradients = list[torch.Tensor](), list[Tensors]()
        for column in range(len(self.inputs.names)):
            total = torch.zeros((), dtype=torch.float64, device=network.device)
            row = [torch.zeros_like(path.end[name], dtype=torch.float32) for name in self.names]
            for lrs, gt in zip(self.inputs.lr, self.inputs.gt, strict=True):
                loss, gradient = engine(lrs[column], gt)
                torch._foreach_add_(row, [g.float() for g in gradient])
                total += loss
            losses.append(total)
            gradients.append(row)
        return _Point(dict(path.end), to_cpu(torch.stack(losses))[0].tolist(), gradients)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {
            "names": list(self.names), "sums": self.sums, "points": self.points, "start_losses": self.start_losses,
            "start_weights": self.start_weights,
            "weights": self._last.weights, "losses": self._last.losses, "gradients": self._last.gradients,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        device = self.sums[0][0].device
        if list(state["names"]) != self.names or len(state["sums"]) != len(self.sums):
            raise ValueError("the running sums are of another network or of other degradations")

        def on_device(rows: Sequence[Sequence[torch.Tensor]]) -> list[Tensors]:
            return [[value.to(device) for value in row] for row in rows]

        self.sums, self.points = on_device(state["sums"]), int(state["points"])
        self.start_losses = [float(value) for value in state["start_losses"]]
        weights = {name: value.to(device) for name, value in state["weights"].items()}
        start = state.get("start_weights", weights)  # of a run that an older version began: nothing to mask
        self.start_weights = {name: value.to(device) for name, value in start.items()}
        self._last = _Point(weights, [float(value) for value in state["losses"]], on_device(state["gradients"]))


class FreeSum:
    """The same sum on the training loss itself, from the gradients that stand in `.grad` before every step.

    Every batch has its own loss, so the sum is the loss's change only on average over batches. The trapezoid rule
    halves what a batch's gradient and the step that it caused have in common by chance. Costs two copies of the
    parameters and three passes over them a step.
    """

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.steps = 0
        self._weights: dict[str, torch.Tensor] = {}
        self._gradients: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def before_step(self, parameters: Mapping[str, torch.nn.Parameter]) -> None:
        """Add the stretch from the step before to here; parameters without a gradient are left out."""
        ready = {name: p for name, p in parameters.items() if p.grad is not None and not p.grad.is_sparse}
        fresh = [name for name in ready if name not in self.sums]
        for name in fresh:
            self.sums[name] = torch.zeros_like(ready[name], dtype=torch.float32)
            self._weights[name] = ready[name].detach().clone()
            self._gradients[name] = _gradient(ready[name]).clone()
        names = [name for name in ready if name not in set(fresh)]
        if names:
            now = [ready[name].detach() for name in names]
            gradients = [_gradient(ready[name]) for name in names]
            weights, before = [self._weights[n] for n in names], [self._gradients[n] for n in names]
            torch._foreach_add_(before, gradients)
            torch._foreach_sub_(weights, now)  # the step, with its sign turned
            torch._foreach_addcmul_([self.sums[n] for n in names], before, [w.float() for w in weights], value=-0.5)
            torch._foreach_copy_(weights, now)
            torch._foreach_copy_(before, gradients)
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "steps": self.steps, "weights": self._weights, "gradients": self._gradients}

    def load_state_dict(self, state: Mapping[str, Any], move: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
        """`move` brings a tensor to the device of the parameter of that name."""
        self.steps = int(state["steps"])
        self.sums, self._weights, self._gradients = (
            {name: move(name, value) for name, value in state[key].items()} for key in ("sums", "weights", "gradients")
        )


def _gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad.detach().float()


def _weights(network: Network) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in network.module.named_parameters()}


def _path(weights: dict[str, torch.Tensor]) -> StraightPath:
    return StraightPath(weights, weights, list(weights))


def _total(row: Tensors) -> float:
    return float(torch.stack([value.double().sum() for value in row]).sum()) if row else 0.0
