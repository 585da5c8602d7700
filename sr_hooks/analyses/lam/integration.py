"""Compute LAM results from images and windows: group windows, integrate along the path, complete the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from sr_hooks.analyses.lam.published import integrate_as_published
from sr_hooks.analyses.lam.question import Question
from sr_hooks.analyses.lam.result import LamResult, Origin
from sr_hooks.analyses.lam.verdict import Deviation, clip_scalars, clip_words, deviation_of, judge
from sr_hooks.attribution.image_paths import ImagePath, Within, curves_of
from sr_hooks.attribution.input_gradients import Gradients
from sr_hooks.attribution.path_integrals import Integrand, Key, PathIntegral, mean_of
from sr_hooks.attribution.receptive_field.own_output import OwnOutput, apart, own_output
from sr_hooks.attribution.receptive_field.proved_cones import WindowCone, WindowCones
from sr_hooks.attribution.receptive_field.trace import Untraceable
from sr_hooks.errors import OptionError
from sr_hooks.images.image import as_batch, sha256_of
from sr_hooks.images.regions import Region, region_psnr_of_part
from sr_hooks.images.windows import Box
from sr_hooks.inference.calibration import ExecutionPlan, calibrate, to_cpu
from sr_hooks.results.result import with_warnings
from sr_hooks.statistics import measures

__all__ = ["Explanation"]

_WHOLE_PICTURE = 0.04  # the cone's share of the work from which the whole output is computed for the picture

_SAME = 1e-3  # of the output's spread: what layouts and rounding explain stays far below
_SAME_REDUCED = 0.3  # the same in a reduced precision, whose deviation is measured elsewhere
_SEVERAL = 1.5  # of several curves each is this much more exact, for their mean is smaller than each of them
_LENGTH_OF_ALL = 256 * 256  # pixels up to which the path's length is that of whole images, with or without a cone


@dataclass(frozen=True)
class _WindowIntegral:
    """The integral of one window of one image on the canvas, and how it was computed."""

    integral: PathIntegral
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
        plan = self.question.strategy.planned(calibrate(self.network, shape, self.precision), self.network, shape)
        window_cones = self.question.window_cones(shape, self.precision)
        if window_cones and not self._shows_all(window_cones) and not window_cones.confirm():
            window_cones = self.question.window_cones(shape, self.precision, again=True)
        groups: list[WindowCone | None] = [*window_cones.groups] if window_cones and window_cones.groups else [None]
        near = None if window_cones is None or self._shows_all(window_cones) else window_cones.groups
        outputs = [self._own(image, plan, near) for image in self.images]
        integrals: dict[Key, _WindowIntegral] = {}
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
    ) -> dict[Key, _WindowIntegral]:
        """The integrals of a group's windows; of the whole network where the cone's output is not the network's."""
        try:
            answers, at_images = self._integrate(group, plan, reason)
        except Untraceable as error:  # only the recording for one image succeeded
            self._show_all(outputs, plan)
            return self._compared(None, plan, f"its operations on a batch are not known: {error}", outputs)
        bar = _SAME if self.precision == "float32" else _SAME_REDUCED
        off = _apart(at_images, outputs, group)
        if off <= bar:
            return answers
        if group is None:
            return {key: replace(answer, unrepeatable=off) for key, answer in answers.items()}
        self._show_all(outputs, plan)
        off = _apart(at_images, outputs, group)
        if off <= bar:  # windows of attention begin elsewhere in a part of the image than in the image
            return answers
        reason = f"on this image the cone's output and the network's own differ by {off:.1e} of its spread"
        return self._compared(None, plan, reason, outputs)

    def _own(self, image: torch.Tensor, plan: ExecutionPlan, near: Sequence[WindowCone] | None) -> OwnOutput:
        """The network's own output for an image, near the cones' outputs or whole, in the calibrated layout."""
        with self.network.channels_last(plan.channels_last):
            return own_output(self.network, plan.lay_out(image), near)

    def _show_all(self, outputs: list[OwnOutput], plan: ExecutionPlan) -> None:
        """Exchange outputs of a part for those of the whole image."""
        for row, image in enumerate(self.images):
            outputs[row] = self._own(image, plan, None)

    def _gradients(self, plan: ExecutionPlan, group: WindowCone | None, precision: str) -> Gradients:
        return Gradients(self.network, self.question.objective, self.windows, plan, precision, group)

    def _integrate(
        self, group: WindowCone | None, plan: ExecutionPlan, reason: str
    ) -> tuple[dict[Key, _WindowIntegral], dict[int, torch.Tensor]]:
        """By image and window the integral; and by image the output at the image itself, as far as it is computed."""
        gradients = self._gradients(plan, group, self.precision)
        curves = [self._along(curve, gradients, group) for curve in curves_of(self.question.path)]
        integrals = {key: mean_of([curve[key] for curve in curves]) for key in curves[0]}
        exact = self._exactly(group, plan) if self.precision != "float32" else None
        answers = {}
        for (row, index), integral in integrals.items():
            answers[row, index] = _WindowIntegral(
                replace(integral, attribution=self._on_canvas(integral.attribution, group)),
                gradients.plan,
                deviation_of(integral.nodes(), partial(_gradients_at, exact, index)) if exact else None,
                _facts(group) if group else (f"off: {reason}" if reason else None),
            )
        at_images = {row: each.at_image for (row, _), each in integrals.items() if each.at_image is not None}
        return answers, at_images

    def _along(self, curve: ImagePath, gradients: Gradients, group: WindowCone | None) -> dict[Key, PathIntegral]:
        """The integrals of all images and of the windows of the group along one curve."""
        height, width = self.images[0].shape[-2:]
        path = Within(curve, group.inputs) if group else curve
        integrand = Integrand(
            gradients,
            path,
            curve if height * width <= _LENGTH_OF_ALL else path,
            torch.cat(self.images) if len(self.images) > 1 else self.images[0],
            group.indices if group else tuple(range(len(self.windows))),
            self.options.tolerance / (_SEVERAL if len(curves_of(self.question.path)) > 1 else 1),
            None if self.options.steps == "auto" else int(self.options.steps),
            self.question.progress,
        )
        return self.question.strategy.integrals(integrand)

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
            out.append(self._result(image, index, _WindowIntegral(published, ExecutionPlan()), output))
        return out

    def _result(self, image: torch.Tensor, index: int, answer: _WindowIntegral, output: OwnOutput) -> LamResult:
        window, integral = self.windows[index], answer.integral
        attribution, change = integral.attribution, integral.change
        h, w = image.shape[-2:]
        total = sum(float(channel.double().sum()) for channel in attribution[0])
        # Not over the change alone: attributions of both signs may cancel to almost none of it.
        size = max(sum(float(channel.double().abs().sum()) for channel in attribution[0]), abs(change))
        gap = abs(total - change) / size if size > 0 else 0.0
        arrays = {
            "attribution": attribution[0].numpy(),
            "lr": image[0].numpy(),
            "nodes": np.array(integral.positions),
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
            "precision_deviation": answer.deviation.map if answer.deviation else None,
            "di_deviation": answer.deviation.diffusion_index if answer.deviation else None,
            "objective_change": change,
            "steps": integral.gradients - (1 if self.options.compat else 0),
            "rule": "gradients" if integral.secants is None else "secants",
            "nonfinite": integral.tally.nonfinite,
            "output_range": [integral.tally.low, integral.tally.high],
            "healed": self.network.clones_outputs,
            "cone": answer.cone,
        }
        if not whole:
            scalars["output_part"] = [box.top, box.left, *box.size]
        if self.options.gt is not None:
            scalars["window_psnr"] = region_psnr_of_part(
                shown,
                (box.top, box.left),
                output.size,
                as_batch(self.options.gt, what="the ground truth", bands=shown.shape[1]),
                window,
            )
        plan = answer.plan
        provenance = {
            "input_sha256": sha256_of(image),
            "objective": self.question.objective.name,
            "execution": {"channels_last": plan.channels_last, "batch": plan.batch},
            "seed": self.options.seed,
        }
        if isinstance(window, Region):
            provenance["region_sha256"] = window.sha256()
        verdict = judge(scalars, values, integral.tally.broken, self.options.tolerance)
        if answer.unrepeatable:
            warning = f"not repeatable: two forwards on this very image differ by {100 * answer.unrepeatable:.2g} %"
            verdict = with_warnings(verdict, [warning])
            provenance["warnings"] = [warning]
        if self.network.frames:
            scalars |= clip_scalars(self.network, image, values)
            verdict += clip_words(scalars)
        result = LamResult("lam", arrays, scalars, provenance, verdict)
        result.origin = Origin(self.network, self.options)
        return result


def _apart(parts: dict[int, torch.Tensor], outputs: list[OwnOutput], group: WindowCone | None) -> float:
    """How far the outputs computed for the gradients are from the network's own."""
    own = (outputs[row].at(group.output) if group else outputs[row].parts[0][1] for row in parts)
    return max(map(apart, parts.values(), own), default=0.0)


def _gradients_at(gradients: Gradients, index: int, points: torch.Tensor) -> torch.Tensor:
    return to_cpu(gradients(points, [[index]] * len(points)).gradients)[0]


def _facts(group: WindowCone) -> dict[str, Any]:
    """What a result records of the cone: its input's box, its share of the work, and what it stops at."""
    box = group.inputs
    input_box = {"top": box.top, "left": box.left, "height": box.size[0], "width": box.size[1]}
    return {"input": input_box, "work": round(group.share, 4), "stops_at": group.barrier or None}
