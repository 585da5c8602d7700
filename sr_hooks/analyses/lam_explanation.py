"""From one image and its windows to LAM results: groups of windows, nodes along the path, what they add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from sr_hooks import measures
from sr_hooks.analyses.lam_demo import integrate_as_published
from sr_hooks.analyses.lam_result import LamResult, Origin
from sr_hooks.analyses.lam_verdict import judge
from sr_hooks.analysis import sha256_of
from sr_hooks.errors import NetworkError, OptionError
from sr_hooks.execution import Plan, calibrate
from sr_hooks.gradients import Gradients
from sr_hooks.influence import Influence, Influences
from sr_hooks.network import Network
from sr_hooks.objectives import make_objective
from sr_hooks.paths import ImagePath, Within, arc_length, make_path
from sr_hooks.quadrature import Bisection, Node
from sr_hooks.windows import Window

if TYPE_CHECKING:
    from sr_hooks.analyses.lam import LamOptions

__all__ = ["Explanation", "Question"]

_WHOLE_PICTURE = 0.04  # the cone's share of the work from which the whole output is computed for the picture

_LENGTH_OF_ALL = 256 * 256  # pixels up to which the path's length is that of whole images, with or without a cone


class Question:
    """What all images of one call have in common: network, windows and options, and the cones found for them."""

    def __init__(self, network: Network, windows: list[Window], options: LamOptions, progress: Any) -> None:
        self.network, self.windows, self.options, self.progress = network, windows, options, progress
        self.objective = make_objective(options.objective, gt=options.gt)
        self.path = make_path(options.path, seed=options.seed)
        self._influences: dict[tuple[Any, ...], Influences] = {}

    def influences(self, shape: tuple[int, ...], precision: str) -> Influences | None:
        """Of the windows, for images of this shape; None where the option `cone` is off."""
        if self.options.cone == "off":
            return None
        if (shape, precision) not in self._influences:
            found = Influences(self.network, self.objective, self.windows, shape, precision)
            self._influences[shape, precision] = found
        return self._influences[shape, precision]


@dataclass
class _Found:
    """Of one window: its integral in the canvas, nodes, error estimate, and what the gradients' owner noted."""

    attribution: torch.Tensor
    nodes: list[Node]
    error: float | None
    nonfinite: int
    gradients: Gradients
    deviation: float | None = None
    cone: dict[str, Any] | str | None = None


class Explanation:
    """All windows of one image. Windows of a group share a forward wherever their paths have a place in common."""

    def __init__(self, question: Question, image: torch.Tensor) -> None:
        self.question, self.image = question, image.cpu()
        self.network, self.windows, self.options = question.network, question.windows, question.options
        self.precision = self.options.precision

    def results(self) -> list[LamResult]:
        """One a window, in their order."""
        if self.options.compat == "lam_demo":
            return self._published()
        plan = calibrate(self.network, cast("tuple[int, int, int]", tuple(self.image.shape[1:])), self.precision)
        influences = self.question.influences(tuple(self.image.shape[1:]), self.precision)
        groups: list[Influence | None] = [*influences.groups] if influences and influences.groups else [None]
        share = sum(group.share for group in groups if group)
        whole = self.options.picture == "whole" or (self.options.picture == "auto" and share >= _WHOLE_PICTURE)
        output = self._output(groups, plan, whole=whole or None in groups)
        found: dict[int, _Found] = {}
        for group in groups:
            found |= self._integrate(group, plan, influences.reason if influences else "")
        return [self._result(index, found[index], output) for index in range(len(self.windows))]

    def _output(self, groups: list[Influence | None], plan: Plan, *, whole: bool) -> torch.Tensor:
        """(1,C,H,W), NaN where it is not computed.

        Raises:
            NetworkError: what is computed of it is not finite.
        """
        height, width = self.network.output_size(*self.image.shape[-2:])
        with torch.no_grad():
            if whole:
                output = self.network(self.image.to(self.network.device)).float().cpu()
                self._demand_finite(output)
                return output
            output = torch.full((1, 0, height, width), torch.nan)
            for group in cast("list[Influence]", groups):
                box, shown = group.inputs, group.output
                gradients = self._gradients(plan, group, self.precision)
                part = gradients.output(self.image[..., box.top : box.bottom, box.left : box.right])
                self._demand_finite(part)
                if not output.shape[1]:
                    output = torch.full((1, part.shape[1], height, width), torch.nan)
                output[..., shown.top : shown.bottom, shown.left : shown.right] = part
        return output

    def _demand_finite(self, output: torch.Tensor) -> None:
        broken = int((~torch.isfinite(output)).sum())
        if broken:
            raise NetworkError(
                f"{self.network.name} returns {broken} of {output.numel()} values that are NaN or infinite for this "
                "image: look at its weights, input_range and precision"
            )

    def _gradients(self, plan: Plan, group: Influence | None, precision: str) -> Gradients:
        return Gradients(self.network, self.question.objective, self.windows, plan, precision, group)

    def _integrate(self, group: Influence | None, plan: Plan, reason: str) -> dict[int, _Found]:
        indices = group.indices if group else tuple(range(len(self.windows)))
        gradients = self._gradients(plan, group, self.precision)
        path = Within(self.question.path, group.inputs) if group else self.question.path
        rules, nonfinite = self._bisect(gradients, path, indices)
        found = {}
        for place, index in enumerate(indices):
            rule = rules[place]
            found[index] = _Found(
                self._on_canvas(rule.integral(), group),
                rule.nodes,
                rule.error,
                nonfinite[place],
                gradients,
                self._deviation(index, rule.nodes, plan, group),
                _facts(group) if group else (f"off: {reason}" if reason else None),
            )
        return found

    def _on_canvas(self, attribution: torch.Tensor, group: Influence | None) -> torch.Tensor:
        """Zero wherever the window does not depend on the input."""
        if group is None:
            return attribution
        out, box = torch.zeros_like(self.image, dtype=torch.float32), group.inputs
        out[..., box.top : box.bottom, box.left : box.right] = attribution
        return out

    def _bisect(
        self, gradients: Gradients, path: ImagePath, indices: tuple[int, ...]
    ) -> tuple[list[Bisection], list[int]]:
        small = self.image.shape[-2] * self.image.shape[-1] <= _LENGTH_OF_ALL
        time_at = arc_length(self.question.path if small else path, self.image)
        steps = None if self.options.steps == "auto" else int(self.options.steps)
        rules = [Bisection(tolerance=self.options.tolerance, steps=steps) for _ in indices]
        nonfinite = [0] * len(rules)
        while True:
            requests = [rule.request() for rule in rules]
            places = sorted({place for request in requests for place in request})
            if not places:
                return rules, nonfinite
            points = path(self.image, [time_at(place) for place in places])
            wanted = [[indices[i] for i, request in enumerate(requests) if place in request] for place in places]
            samples = gradients(points, wanted)
            self.question.progress.update(len(places))
            for place_of, (index, rule) in enumerate(zip(indices, rules, strict=True)):
                mine = [
                    (place, points[row : row + 1], samples[row][index])
                    for row, place in enumerate(places)
                    if index in samples[row]
                ]
                nonfinite[place_of] += sum(sample.nonfinite for _, _, sample in mine)
                rule.feed([Node(place, point, sample.gradient, sample.value) for place, point, sample in mine])

    def _deviation(self, index: int, nodes: list[Node], plan: Plan, group: Influence | None) -> float | None:
        """Of a reduced precision: relative L2 distance of the weightiest node's share of the map to the float32 one."""
        if self.precision == "float32":
            return None
        ends = zip([nodes[0], *nodes[:-1]], [*nodes[1:], nodes[-1]], strict=True)
        strides = [after.point - before.point for before, after in ends]
        shares = [node.gradient * stride for node, stride in zip(nodes, strides, strict=True)]
        heaviest = max(range(len(nodes)), key=lambda i: float(shares[i].norm()))
        if group is not None:
            exact_cones = self.question.influences(tuple(self.image.shape[1:]), "float32")
            group = next((g for g in exact_cones.groups if index in g.indices), None) if exact_cones else None
        exact = self._gradients(plan, group, "float32")
        share = exact(nodes[heaviest].point, [[index]])[0][index].gradient * strides[heaviest]
        size = float(share.norm())
        return float((shares[heaviest] - share).norm()) / size if size > 0 else 0.0

    def _published(self) -> list[LamResult]:
        options = self.options
        if options.precision != "float32" or options.path != "blur" or options.objective != "gradient":
            raise OptionError("compat='lam_demo' is the published procedure: float32, path blur, objective gradient")
        steps = 50 if options.steps == "auto" else int(options.steps)
        output = self._output([None], Plan(), whole=True)
        out = []
        for index, window in enumerate(self.windows):
            found = integrate_as_published(self.network, self.image, window, steps, self.question.progress)
            said = _Found(found.attribution, found.nodes, None, found.nonfinite, found.gradients)
            out.append(self._result(index, said, output))
        return out

    def _result(self, index: int, found: _Found, output: torch.Tensor) -> LamResult:
        window, nodes, attribution = self.windows[index], found.nodes, found.attribution
        h, w = self.image.shape[-2:]
        change = nodes[-1].value - nodes[0].value
        total = float(attribution.double().sum())
        # Not over the change alone: attributions of both signs may cancel to almost none of it.
        size = max(float(attribution.double().abs().sum()), abs(change))
        gap = abs(total - change) / size if size > 0 else 0.0
        arrays = {
            "attribution": attribution[0].numpy(),
            "lr": self.image[0].cpu().numpy(),
            "output": output[0].numpy(),
            "nodes": np.array([node.place for node in nodes]),
        }
        values = measures.attribution_map(arrays["attribution"])
        if self.options.compat:
            values = values / values.max() + 1e-7 if values.max() > 0 else values
        concentration = measures.gini(values)
        scalars = {
            "window": list(window.as_tuple()),
            "canvas": {"input": [h, w], "output": list(output.shape[-2:])},
            "diffusion_index": (1 - concentration) * 100,
            "effective_pixels": (1 - concentration) * h * w,
            "gini": concentration,
            "completeness_gap": gap,
            "error": found.error,
            "precision_deviation": found.deviation,
            "objective_change": change,
            "steps": len(nodes) - (1 if self.options.compat else 0),
            "nonfinite": found.nonfinite,
            "output_range": [found.gradients.low, found.gradients.high],
            "healed": self.network.clones_outputs,
            "cone": found.cone,
        }
        plan = found.gradients.plan
        provenance = {
            "input_sha256": sha256_of(self.image),
            "objective": self.question.objective.name,
            "execution": {"channels_last": plan.channels_last, "batch": plan.batch},
            "seed": self.options.seed,
        }
        verdict = judge(scalars, values, found.gradients.broken_outputs, self.options.tolerance)
        result = LamResult("lam", arrays, scalars, provenance, verdict)
        result.origin = Origin(self.network, self.options)
        return result


def _facts(group: Influence) -> dict[str, Any]:
    """What a result records of the cone: its input's box, its share of the work, and what it stops at."""
    box = group.inputs
    place = {"top": box.top, "left": box.left, "height": box.size[0], "width": box.size[1]}
    return {"input": place, "work": round(group.share, 4), "stops_at": group.barrier or None}
