"""FAIG in a training run: which filters learn to remove which degradation, measured while the network trains."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sr_hooks.analyses.base import Watcher
from sr_hooks.analyses.degraded_pairs import Inputs, make_inputs
from sr_hooks.analyses.faig.baseline import blend, pick
from sr_hooks.analyses.faig.filters import Filters
from sr_hooks.analyses.faig.result import FaigResult
from sr_hooks.analyses.faig.trajectory import STILL, FreeSum, Trajectory
from sr_hooks.analyses.faig.verdict import relative_gap
from sr_hooks.analyses.provenance import provenance_of
from sr_hooks.core.options import option
from sr_hooks.degradations.parsing import parse_degradations
from sr_hooks.errors import OptionError
from sr_hooks.images.metrics import psnr
from sr_hooks.networks.network import Network

__all__ = ["FaigWatchOptions", "FaigWatcher"]

TRAINING = "training loss"
MASKED = 0.01  # the share of filters that is masked
_GAP = 0.05


@dataclass(frozen=True)
class FaigWatchOptions:
    """Keys of `faig:` in an option file, beside the shared ones (every, images, ...)."""

    degradations: Any = option(("blur:2", "noise:25.5"), "of the probes")
    crop: int | None = option(
        96, "centre crop of the probe images, side in HR pixels at most; null for whole images", at_least=1
    )
    refine: int = option(
        5,
        "how often at most a stretch between due steps is halved where its sum misses the change",
        at_least=0,
        at_most=6,
    )
    probes: bool = option(True, "gradients of the probes' loss at every due step")
    free: bool = option(False, "also sum the training loss's own gradients at every step, which cost next to nothing")
    biases: bool = option(False, "score biases too (experimental)")

    def __post_init__(self) -> None:
        if not 0 <= self.refine <= 6:
            raise ValueError(f"refine is {self.refine}: halvings, 0 to 6")
        if self.crop is not None and self.crop < 1:
            raise ValueError(f"crop is {self.crop}: it is a side in pixels")
        if not self.probes and not self.free:
            raise ValueError("with probes: false and free: false there is nothing to do")
        parse_degradations(self.degradations)


class FaigWatcher(Watcher):
    """FAIG along the real trajectory, from the first step on: a probe's gradient at each due step, or every step's own.

    Only the first rank holds sums. Its probes need no other rank; and the gradients that it sees before an optimizer's
    step are, under DistributedDataParallel, already the mean over all ranks.
    """

    options: FaigWatchOptions

    def check(self, network: Network) -> None:
        self.filters = Filters.of(network.module, biases=self.options.biases)
        self.trajectory: Trajectory | None = None
        self.free = FreeSum()
        self.inputs: Inputs | None = None
        self._device = network.device
        self._own: dict[int, bool] = {}
        if not self.options.probes:
            return
        if not self.context.images:
            raise OptionError(f"{self.context.where or 'faig'}: the probes need ground-truth images")
        sides = [side for image in self.context.images for side in image.shape[-2:]]
        crop = None if self.options.crop is None else min(self.options.crop, *sides)
        self.inputs = make_inputs(
            network, list(self.context.images), self.options.degradations, crop=crop, seed=self.context.seed
        )
        if self.context.rank == 0:
            with torch.enable_grad():
                self.trajectory = Trajectory(network.whole(), self.inputs, refine=self.options.refine)

    def estimate(self, forward: float) -> float:
        """A gradient costs three forward passes; one point a stretch, and as many again where it is halved."""
        if self.inputs is None:
            return forward
        share = self.inputs.gt[0].numel() / self.context.images[0].numel()
        return 6 * forward * share * len(self.inputs) * len(self.inputs.names)

    def wants_steps(self) -> bool:
        return self.options.free

    def before_step(self, network: Network, optimizer: torch.optim.Optimizer, iteration: int) -> None:
        if not self.options.free or self.context.rank != 0:
            return
        parameters = dict(network.module.named_parameters())
        if id(optimizer) not in self._own:
            network_parameters = {id(p) for p in parameters.values()}
            trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
            self._own[id(optimizer)] = not trained.isdisjoint(network_parameters)
        if self._own[id(optimizer)]:
            self.free.before_step(parameters)

    def due(self, network: Network, iteration: int) -> Sequence[FaigResult]:
        begin = time.perf_counter()
        results = []
        with network.prepared(), torch.inference_mode(False), torch.enable_grad():
            if self.trajectory is not None:
                self.trajectory.move_to(network.whole())
                results.append(self._of_probes(network, self.trajectory))
            if self.options.free and self.free.sums:
                results.append(self._of_training(network))
            common = provenance_of(self.kind.name, network, self.options)
        for result in results:
            result.provenance = {**common, "seconds": round(time.perf_counter() - begin, 4), **result.provenance}
        return results

    def _of_probes(self, network: Network, way: Trajectory) -> FaigResult:
        assert self.inputs is not None
        scores = torch.stack([self.filters.reduce(way.values(row)) for row in range(len(self.inputs.names))])
        attributed, before, after = way.attributed(), way.start_losses, way.losses
        gaps = [relative_gap(a, n - b) for a, b, n in zip(attributed, before, after, strict=True)]
        changes = ", ".join(
            f"{name} {b:.4g} to {n:.4g}" for name, b, n in zip(self.inputs.names, before, after, strict=True)
        )
        verdict = (
            f"trajectory: {way.points} points, the sum over all parameters misses the probe losses' change ({changes}) "
            f"by {max(gaps):.2g} at most; absolute values after the sum over {len(self.inputs)} images."
        )
        still = [n for n, b, a in zip(self.inputs.names, before, after, strict=True) if abs(a - b) < STILL * b]
        if still:
            verdict = f"the loss hardly changed for {', '.join(still)}, so its gap means little; " + verdict
        elif max(gaps) > _GAP:
            verdict = "not settled, watch more often or refine more; " + verdict
        facts = {
            "points": way.points,
            "images": len(self.inputs),
            "gradients": way.points * len(self.inputs) * len(scores),
        }
        scalars = self._scalars(list(self.inputs.names), scores, attributed, before, after, gaps, facts)
        provenance = {"seed": self.context.seed, **self.inputs.describe()}
        result = FaigResult("faig", {"scores": scores.float().numpy()}, scalars, provenance, verdict)
        result.scalars["masked_db_lost"] = self._lost(network, way, result)
        return result

    @torch.no_grad()
    def _lost(self, network: Network, way: Trajectory, result: FaigResult) -> list[float]:
        """For each degradation the mean PSNR in dB that its probes lose with the top 1 % of filters as at the start."""
        assert self.inputs is not None
        lost, whole = [], network.whole()
        for row, name in enumerate(self.inputs.names):
            chosen = pick(result.ranking(name), MASKED)
            masked = blend(whole, way.chord(), self.filters, chosen, 0.0, f"{whole.name}, masked")
            drops = [
                self._psnr(whole, lrs[row], gt) - self._psnr(masked, lrs[row], gt)
                for lrs, gt in zip(self.inputs.lr, self.inputs.gt, strict=True)
            ]
            lost.append(sum(drops) / len(drops))
        return lost

    def _psnr(self, network: Network, lr: torch.Tensor, gt: torch.Tensor) -> float:
        output = network(lr.to(network.device)).clamp(0, 1)
        pair = (image.reshape(-1, *image.shape[-3:]) for image in (output, gt.to(output)))
        return float(psnr(*pair).mean())

    def _of_training(self, network: Network) -> FaigResult:
        values = {name: value.abs() for name, value in self.free.sums.items()}
        scores = self.filters.reduce(values)[None]
        attributed = [sum(float(value.double().sum()) for value in self.free.sums.values())]
        verdict = (
            f"trajectory of the training loss: {self.free.steps} steps, their own gradients; batches differ in loss, "
            f"so there is no completeness to check. Attributed change {attributed[0]:.4g}."
        )
        facts = {"points": self.free.steps, "images": 0, "gradients": 0}
        scalars = self._scalars([TRAINING], scores, attributed, [], [], [], facts)
        return FaigResult("faig", {"scores": scores.float().numpy()}, scalars, {"seed": self.context.seed}, verdict)

    def _scalars(
        self,
        names: list[str],
        scores: torch.Tensor,
        attributed: list[float],
        before: list[float],
        after: list[float],
        gaps: list[float],
        facts: dict[str, int],
    ) -> dict[str, Any]:
        return {
            "path": "trajectory",
            "degradations": names,
            "filters": self.filters.count,
            "images": facts["images"],
            "steps": facts["points"],
            "gradients": facts["gradients"],
            "completeness_gap": max(gaps) if gaps else None,
            "completeness_gaps": gaps,
            "error": None,
            "top_overlap": None,
            "split_half_overlap": None,
            "baseline_loss": before,
            "target_loss": after,
            "attributed": attributed,
            "identical": not bool(np.any(scores.numpy())),
            "compat": None,
            "layers": self.filters.plain(),
        }

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {}
        if self.trajectory is not None:
            state["trajectory"] = self.trajectory.state_dict()
        if self.options.free and self.context.rank == 0:
            state["free"] = self.free.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.trajectory is not None and "trajectory" in state:
            self.trajectory.load_state_dict(state["trajectory"])
        if self.options.free and "free" in state and self.context.rank == 0:
            self.free.load_state_dict(state["free"], lambda name, value: value.to(self._device))
