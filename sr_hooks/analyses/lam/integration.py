"""Compute LAM results from images and windows: group windows, place nodes along the path, sum gradients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from sr_hooks.analyses.lam.clips import clip_scalars, clip_words
from sr_hooks.analyses.lam.precision import Deviation, deviation_of
from sr_hooks.analyses.lam.published import integrate_as_published
from sr_hooks.analyses.lam.result import LamResult, Origin
from sr_hooks.analyses.lam.verdict import judge
from sr_hooks.attribution.image_paths import ImagePath, PerFrame, Within, arc_length, make_path
from sr_hooks.attribution.input_gradients import Gradients, Sample, Tally
from sr_hooks.attribution.objectives import make_objective
from sr_hooks.attribution.quadrature import Bisection, Node
from sr_hooks.attribution.receptive_field.proved_cones import WindowCone, WindowCones
from sr_hooks.errors import NetworkError, OptionError
from sr_hooks.images.image import sha256_of
from sr_hooks.images.windows import Window
from sr_hooks.inference.calibration import ExecutionPlan, calibrate
from sr_hooks.networks.network import Network
from sr_hooks.statistics import measures

if TYPE_CHECKING:
    from sr_hooks.analyses.lam.options import LamOptions

__all__ = ["Explanation", "Question"]

_WHOLE_PICTURE = 0.04  # the cone's share of the work from which the whole output is computed for the picture

_LENGTH_OF_ALL = 256 * 256  # pixels up to which the path's length is that of whole images, with or without a cone


class Question:
    """What all images of one call have in common: network, windows, options, and the cones of the windows."""

    def __init__(self, network: Network, windows: list[Window], options: LamOptions, progress: Any) -> None:
        self.network, self.windows, self.options, self.progress = network, windows, options, progress
        self.objective = make_objective(options.objective, gt=options.gt)
        path = make_path(options.path, seed=options.seed)
        self.path = PerFrame(path) if network.frames else path
        self._window_cones: dict[tuple[Any, ...], WindowCones] = {}

    def window_cones(self, shape: tuple[int, ...], precision: str) -> WindowCones | None:
        """Of the windows, for images of this shape; None where the option `cone` is off."""
        if self.options.cone == "off" or self.network.frames:
            return None
        if (shape, precision) not in self._window_cones:
            cones = WindowCones(self.network, self.objective, self.windows, shape, precision)
            self._window_cones[shape, precision] = cones
        return self._window_cones[shape, precision]

    def images_at_once(self, shape: tuple[int, ...]) -> int:
        """How many images are explained together: a batch of an accelerator's; one on a CPU, where it gains nothing."""
        if self.network.device.type == "cpu" or self.options.compat:
            return 1
        return calibrate(self.network, shape, self.options.precision).batch


@dataclass
class _WindowIntegral:
    """The integral of one window of one image on the canvas, its nodes and error estimate, and what was counted."""

    attribution: torch.Tensor
    nodes: list[Node]
    error: float | None
    tally: Tally
    plan: ExecutionPlan
    deviation: Deviation | None = None
    cone: dict[str, Any] | str | None = None


class Explanation:
    """All windows of a few images of one size.

    Windows of a group share a forward wherever their paths have a node in common, and images share batches.
    """

    def __init__(self, question: Question, images: torch.Tensor) -> None:
        self.question, self.images = question, images.cpu().split(1)
        self.network, self.windows, self.options = question.network, question.windows, question.options
        self.precision = self.options.precision

    def results(self) -> list[LamResult]:
        """The results, image by image and window by window."""
        if self.options.compat == "lam_demo":
            return [result for image in self.images for result in self._published(image)]
        shape = tuple(self.images[0].shape[1:])
        plan = calibrate(self.network, shape, self.precision)
        window_cones = self.question.window_cones(shape, self.precision)
        groups: list[WindowCone | None] = [*window_cones.groups] if window_cones and window_cones.groups else [None]
        share = sum(group.share for group in groups if group)
        whole = self.options.picture == "whole" or (self.options.picture == "auto" and share >= _WHOLE_PICTURE)
        outputs = [self._output(image, groups, plan, whole=whole or None in groups) for image in self.images]
        integrals: dict[tuple[int, int], _WindowIntegral] = {}
        for group in groups:
            integrals |= self._integrate(group, plan, window_cones.reason if window_cones else "")
        return [
            self._result(image, index, integrals[row, index], outputs[row])
            for row, image in enumerate(self.images)
            for index in range(len(self.windows))
        ]

    def _output(
        self, image: torch.Tensor, groups: list[WindowCone | None], plan: ExecutionPlan, *, whole: bool
    ) -> torch.Tensor:
        """(1,C,H,W), NaN where it is not computed.

        Raises:
            NetworkError: what is computed of it is not finite.
        """
        height, width = self.network.output_size(*image.shape[-2:])
        if whole:
            with torch.no_grad():
                output = self.network(image.to(self.network.device)).float().cpu()
            self._demand_finite(output)
            return output
        output = torch.full((1, 0, height, width), torch.nan)
        for group in cast("list[WindowCone]", groups):
            box, shown = group.inputs, group.output
            gradients = self._gradients(plan, group, self.precision)
            part = gradients.output(image[..., box.top : box.bottom, box.left : box.right])
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

    def _gradients(self, plan: ExecutionPlan, group: WindowCone | None, precision: str) -> Gradients:
        return Gradients(self.network, self.question.objective, self.windows, plan, precision, group)

    def _integrate(
        self, group: WindowCone | None, plan: ExecutionPlan, reason: str
    ) -> dict[tuple[int, int], _WindowIntegral]:
        indices = group.indices if group else tuple(range(len(self.windows)))
        gradients = self._gradients(plan, group, self.precision)
        path = Within(self.question.path, group.inputs) if group else self.question.path
        steps = None if self.options.steps == "auto" else int(self.options.steps)
        requested = [(row, index) for row in range(len(self.images)) for index in indices]
        rules = {key: Bisection(tolerance=self.options.tolerance, steps=steps) for key in requested}
        tallies = self._bisect(gradients, path, rules)
        exact = self._exactly(group, plan) if self.precision != "float32" else None
        integrals = {}
        for (row, index), rule in rules.items():
            integrals[row, index] = _WindowIntegral(
                self._on_canvas(rule.integral(), group),
                rule.nodes,
                rule.error,
                tallies[row, index],
                gradients.plan,
                deviation_of(rule.nodes, partial(_sample, exact, index)) if exact else None,
                _facts(group) if group else (f"off: {reason}" if reason else None),
            )
        return integrals

    def _exactly(self, group: WindowCone | None, plan: ExecutionPlan) -> Gradients:
        """The same gradients in float32."""
        if group is not None:
            cones = self.question.window_cones(tuple(self.images[0].shape[1:]), "float32")
            group = next((g for g in cones.groups if g.indices == group.indices), None) if cones else None
        return self._gradients(plan, group, "float32")

    def _on_canvas(self, attribution: torch.Tensor, group: WindowCone | None) -> torch.Tensor:
        """Zero wherever the window does not depend on the input."""
        if group is None:
            return attribution
        out, box = torch.zeros_like(self.images[0], dtype=torch.float32), group.inputs
        out[..., box.top : box.bottom, box.left : box.right] = attribution
        return out

    def _bisect(
        self, gradients: Gradients, path: ImagePath, rules: dict[tuple[int, int], Bisection]
    ) -> dict[tuple[int, int], Tally]:
        """Feed the rules of each image (row) and window (index) until none asks for more."""
        height, width = self.images[0].shape[-2:]
        measured = self.question.path if height * width <= _LENGTH_OF_ALL else path
        times = [arc_length(measured, image) for image in self.images]
        tallies = {key: Tally() for key in rules}
        while True:
            requests = {key: rule.request() for key, rule in rules.items()}
            requested, points = [], []
            for row, image in enumerate(self.images):
                positions = sorted(
                    {position for key, request in requests.items() if key[0] == row for position in request}
                )
                requested += [(row, position) for position in positions]
                if positions:
                    points.append(path(image, [times[row](position) for position in positions]))
            if not requested:
                return tallies
            joined = torch.cat(points)
            wanted = [
                [i for (r, i), request in requests.items() if r == row and position in request]
                for row, position in requested
            ]
            samples = gradients(joined, wanted)
            self.question.progress.update(len(requested))
            for key, rule in rules.items():
                nodes = []
                for at, (row, position) in enumerate(requested):
                    if row == key[0] and key[1] in samples[at]:
                        sample = samples[at][key[1]]
                        tallies[key].add(sample)
                        nodes.append(Node(position, joined[at : at + 1], sample.gradient, sample.value))
                rule.feed(nodes)

    def _published(self, image: torch.Tensor) -> list[LamResult]:
        options = self.options
        if self.network.frames:
            raise OptionError("compat='lam_demo' is the published procedure, which is of images: not of clips")
        if options.precision != "float32" or options.path != "blur" or options.objective != "gradient":
            raise OptionError("compat='lam_demo' is the published procedure: float32, path blur, objective gradient")
        steps = 50 if options.steps == "auto" else int(options.steps)
        output = self._output(image, [None], ExecutionPlan(), whole=True)
        out = []
        for index, window in enumerate(self.windows):
            published = integrate_as_published(self.network, image, window, steps, self.question.progress)
            integral = _WindowIntegral(published.attribution, published.nodes, None, published.tally, ExecutionPlan())
            out.append(self._result(image, index, integral, output))
        return out

    def _result(self, image: torch.Tensor, index: int, integral: _WindowIntegral, output: torch.Tensor) -> LamResult:
        window, nodes, attribution = self.windows[index], integral.nodes, integral.attribution
        h, w = image.shape[-2:]
        change = nodes[-1].value - nodes[0].value
        total = float(attribution.double().sum())
        # Not over the change alone: attributions of both signs may cancel to almost none of it.
        size = max(float(attribution.double().abs().sum()), abs(change))
        gap = abs(total - change) / size if size > 0 else 0.0
        arrays = {
            "attribution": attribution[0].numpy(),
            "lr": image[0].numpy(),
            "output": output[0].numpy(),
            "nodes": np.array([node.position for node in nodes]),
        }
        values = measures.attribution_map(arrays["attribution"])
        if self.options.compat:
            values = values / values.max() + 1e-7 if values.max() > 0 else values
        concentration = measures.gini(values)
        scalars = {
            "window": list(window.as_tuple()),
            "canvas": {"input": [h, w], "output": list(output.shape[-2:])},
            "diffusion_index": (1 - concentration) * 100,
            "effective_pixels": (1 - concentration) * values.size,
            "gini": concentration,
            "completeness_gap": gap,
            "error": integral.error,
            "precision_deviation": integral.deviation.map if integral.deviation else None,
            "di_deviation": integral.deviation.diffusion_index if integral.deviation else None,
            "objective_change": change,
            "steps": len(nodes) - (1 if self.options.compat else 0),
            "nonfinite": integral.tally.nonfinite,
            "output_range": [integral.tally.low, integral.tally.high],
            "healed": self.network.clones_outputs,
            "cone": integral.cone,
        }
        plan = integral.plan
        provenance = {
            "input_sha256": sha256_of(image),
            "objective": self.question.objective.name,
            "execution": {"channels_last": plan.channels_last, "batch": plan.batch},
            "seed": self.options.seed,
        }
        verdict = judge(scalars, values, integral.tally.broken, self.options.tolerance)
        if self.network.frames:
            scalars |= clip_scalars(self.network, image, values)
            verdict += clip_words(scalars)
        result = LamResult("lam", arrays, scalars, provenance, verdict)
        result.origin = Origin(self.network, self.options)
        return result


def _sample(gradients: Gradients, index: int, point: torch.Tensor) -> Sample:
    return gradients(point, [[index]])[0][index]


def _facts(group: WindowCone) -> dict[str, Any]:
    """What a result records of the cone: its input's box, its share of the work, and what it stops at."""
    box = group.inputs
    input_box = {"top": box.top, "left": box.left, "height": box.size[0], "width": box.size[1]}
    return {"input": input_box, "work": round(group.share, 4), "stops_at": group.barrier or None}
