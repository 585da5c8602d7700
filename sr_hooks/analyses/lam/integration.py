"""Compute LAM results from images and windows: group windows, place nodes along the path, sum gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch

from sr_hooks.analyses.lam.published import integrate_as_published
from sr_hooks.analyses.lam.question import Question
from sr_hooks.analyses.lam.result import LamResult, Origin
from sr_hooks.analyses.lam.verdict import Deviation, clip_scalars, clip_words, deviation_of, judge
from sr_hooks.attribution.image_paths import ImagePath, Within, arc_length
from sr_hooks.attribution.input_gradients import Gradients, Sample, Tally
from sr_hooks.attribution.quadrature import Bisection, Node
from sr_hooks.attribution.receptive_field.own_output import OwnOutput, apart, own_output
from sr_hooks.attribution.receptive_field.proved_cones import WindowCone, WindowCones
from sr_hooks.errors import OptionError
from sr_hooks.images.image import as_batch, sha256_of
from sr_hooks.images.regions import Region, region_psnr_of_part
from sr_hooks.images.windows import Box
from sr_hooks.inference.calibration import ExecutionPlan, calibrate
from sr_hooks.results.result import with_warnings
from sr_hooks.statistics import measures

__all__ = ["Explanation"]

_WHOLE_PICTURE = 0.04  # the cone's share of the work from which the whole output is computed for the picture

_SAME = 1e-3  # of the output's spread: what layouts and rounding explain stays far below
_SAME_REDUCED = 0.3  # the same in a reduced precision, whose deviation is measured elsewhere
_LENGTH_OF_ALL = 256 * 256  # pixels up to which the path's length is that of whole images, with or without a cone


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
    unrepeatable: float = 0.0  # by how much two outputs for the image differ, where they do


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
        if window_cones and not self._shows_all(window_cones) and not window_cones.confirm():
            window_cones = self.question.window_cones(shape, self.precision, again=True)
        groups: list[WindowCone | None] = [*window_cones.groups] if window_cones and window_cones.groups else [None]
        near = None if window_cones is None or self._shows_all(window_cones) else window_cones.groups
        outputs = [own_output(self.network, image, near) for image in self.images]
        integrals: dict[tuple[int, int], _WindowIntegral] = {}
        for group in groups:
            integrals |= self._compared(group, plan, window_cones.reason if window_cones else "", outputs)
        return [
            self._result(image, index, integrals[row, index], outputs[row])
            for row, image in enumerate(self.images)
            for index in range(len(self.windows))
        ]

    def _shows_all(self, window_cones: WindowCones) -> bool:
        """Whether the whole output is computed for the picture, and so can be compared with the cone's."""
        share = sum(group.share for group in window_cones.groups)
        picture = "window" if self.question.saves_memory else self.options.picture
        return not window_cones.groups or picture == "whole" or (picture == "auto" and share >= _WHOLE_PICTURE)

    def _compared(
        self, group: WindowCone | None, plan: ExecutionPlan, reason: str, outputs: list[OwnOutput]
    ) -> dict[tuple[int, int], _WindowIntegral]:
        """The integrals of a group's windows; of the whole network where the cone's output is not the network's."""
        answers, at_images = self._integrate(group, plan, reason)
        off = max((_apart(part, outputs[row], group) for row, part in at_images.items()), default=0.0)
        if off <= (_SAME if self.precision == "float32" else _SAME_REDUCED):
            return answers
        if group is None:
            return {key: replace(answer, unrepeatable=off) for key, answer in answers.items()}
        for row, image in enumerate(self.images):
            outputs[row] = own_output(self.network, image)
        reason = f"on this image the cone's output and the network's own differ by {off:.1e} of its spread"
        return self._compared(None, plan, reason, outputs)

    def _gradients(self, plan: ExecutionPlan, group: WindowCone | None, precision: str) -> Gradients:
        return Gradients(self.network, self.question.objective, self.windows, plan, precision, group)

    def _integrate(
        self, group: WindowCone | None, plan: ExecutionPlan, reason: str
    ) -> tuple[dict[tuple[int, int], _WindowIntegral], dict[int, torch.Tensor]]:
        """By image and window the integral; and by image the output at the image itself, as far as it is computed."""
        indices = group.indices if group else tuple(range(len(self.windows)))
        gradients = self._gradients(plan, group, self.precision)
        path = Within(self.question.path, group.inputs) if group else self.question.path
        steps = None if self.options.steps == "auto" else int(self.options.steps)
        requested = [(row, index) for row in range(len(self.images)) for index in indices]
        rules = {key: Bisection(tolerance=self.options.tolerance, steps=steps) for key in requested}
        tallies, at_images = self._bisect(gradients, path, rules)
        exact = self._exactly(group, plan) if self.precision != "float32" else None
        answers = {}
        for (row, index), rule in rules.items():
            answers[row, index] = _WindowIntegral(
                self._on_canvas(rule.integral(), group),
                rule.nodes,
                rule.error,
                tallies[row, index],
                gradients.plan,
                deviation_of(rule.nodes, partial(_sample, exact, index)) if exact else None,
                _facts(group) if group else (f"off: {reason}" if reason else None),
            )
        return answers, at_images

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
        canvas = torch.zeros_like(self.images[0], dtype=torch.float32)
        canvas[(..., *group.inputs.slices)] = attribution
        return canvas

    def _bisect(
        self, gradients: Gradients, path: ImagePath, rules: dict[tuple[int, int], Bisection]
    ) -> tuple[dict[tuple[int, int], Tally], dict[int, torch.Tensor]]:
        """Feed the rules of each image (row) and window (index) until none asks for more."""
        height, width = self.images[0].shape[-2:]
        measured = self.question.path if height * width <= _LENGTH_OF_ALL else path
        times = [arc_length(measured, image) for image in self.images]
        tallies, at_images = {key: Tally() for key in rules}, dict[int, torch.Tensor]()
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
                return tallies, at_images
            joined = torch.cat(points)
            wanted = [
                [i for (r, i), request in requests.items() if r == row and position in request]
                for row, position in requested
            ]
            ends = [
                at
                for at, (row, position) in enumerate(requested)
                if position == 1 and _is_image(joined[at], self.images[row][0], gradients.window_cone)
            ]
            samples = gradients(joined, wanted, with_output=ends)
            at_images |= {requested[at][0]: _output_of(samples[at]) for at in ends}
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
        output = own_output(self.network, image)
        out = []
        for index, window in enumerate(self.windows):
            published = integrate_as_published(self.network, image, window, steps, self.question.progress)
            integral = _WindowIntegral(published.attribution, published.nodes, None, published.tally, ExecutionPlan())
            out.append(self._result(image, index, integral, output))
        return out

    def _result(self, image: torch.Tensor, index: int, integral: _WindowIntegral, output: OwnOutput) -> LamResult:
        window, nodes, attribution = self.windows[index], integral.nodes, integral.attribution
        h, w = image.shape[-2:]
        change = nodes[-1].value - nodes[0].value
        total = sum(float(channel.double().sum()) for channel in attribution[0])
        # Not over the change alone: attributions of both signs may cancel to almost none of it.
        size = max(sum(float(channel.double().abs().sum()) for channel in attribution[0]), abs(change))
        gap = abs(total - change) / size if size > 0 else 0.0
        arrays = {
            "attribution": attribution[0].numpy(),
            "lr": image[0].numpy(),
            "nodes": np.array([node.position for node in nodes]),
        }
        top, left, height, width = window.as_tuple()
        box, shown = output.around(Box(top, top + height, left, left + width))
        whole = box.size == output.size
        arrays["output" if whole else "output_part"] = shown[0].numpy()
        if isinstance(window, Region):
            arrays["region"] = window.on_canvas(*output.size)
        values = measures.attribution_map(arrays["attribution"])
        if self.options.compat:
            values = values / values.max() + 1e-7 if values.max() > 0 else values
        concentration = measures.gini(values)
        scalars = {
            "window": list(window.as_tuple()),
            "canvas": {"input": [h, w], "output": list(output.size)},
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
        if not whole:
            scalars["output_part"] = [box.top, box.left, *box.size]
        if self.options.gt is not None:
            scalars["window_psnr"] = region_psnr_of_part(
                shown, (box.top, box.left), output.size, as_batch(self.options.gt, what="the ground truth"), window
            )
        plan = integral.plan
        provenance = {
            "input_sha256": sha256_of(image),
            "objective": self.question.objective.name,
            "execution": {"channels_last": plan.channels_last, "batch": plan.batch},
            "seed": self.options.seed,
        }
        if isinstance(window, Region):
            provenance["region_sha256"] = window.sha256()
        verdict = judge(scalars, values, integral.tally.broken, self.options.tolerance)
        if integral.unrepeatable:
            warning = f"not repeatable: two forwards on this very image differ by {100 * integral.unrepeatable:.2g} %"
            verdict = with_warnings(verdict, [warning])
            provenance["warnings"] = [warning]
        if self.network.frames:
            scalars |= clip_scalars(self.network, image, values)
            verdict += clip_words(scalars)
        result = LamResult("lam", arrays, scalars, provenance, verdict)
        result.origin = Origin(self.network, self.options)
        return result


def _output_of(samples: dict[int, Sample]) -> torch.Tensor:
    return cast("torch.Tensor", next(iter(samples.values())).output)


def _is_image(point: torch.Tensor, image: torch.Tensor, group: WindowCone | None) -> bool:
    """Whether a point of the path is the image itself; a path of a plugin may end elsewhere."""
    return torch.allclose(point, image[(..., *group.inputs.slices)] if group else image, atol=1e-5)


def _apart(part: torch.Tensor, output: OwnOutput, group: WindowCone | None) -> float:
    """How far an output computed for the gradients is from the network's own."""
    return apart(part, output.at(group.output) if group else output.parts[0][1])


def _sample(gradients: Gradients, index: int, point: torch.Tensor) -> Sample:
    return gradients(point, [[index]])[0][index]


def _facts(group: WindowCone) -> dict[str, Any]:
    """What a result records of the cone: its input's box, its share of the work, and what it stops at."""
    box = group.inputs
    input_box = {"top": box.top, "left": box.left, "height": box.size[0], "width": box.size[1]}
    return {"input": input_box, "work": round(group.share, 4), "stops_at": group.barrier or None}
