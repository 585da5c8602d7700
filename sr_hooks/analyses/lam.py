"""LAM, local attribution maps (Gu and Dong, arXiv 2011.11036): which input pixels an output patch depends on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch

from sr_hooks import measures
from sr_hooks.analyses.lam_demo import integrate_as_published
from sr_hooks.analyses.lam_result import LamResult, Origin
from sr_hooks.analyses.lam_verdict import judge
from sr_hooks.analysis import Analysis, execute, sha256_of
from sr_hooks.errors import NetworkError, OptionError
from sr_hooks.execution import Plan, calibrate
from sr_hooks.gradients import Gradients
from sr_hooks.hookspecs import hookimpl
from sr_hooks.images import as_batch
from sr_hooks.network import Network
from sr_hooks.objectives import Objective, make_objective
from sr_hooks.options import from_mapping, option
from sr_hooks.paths import ImagePath, arc_length, make_path
from sr_hooks.progress import progress_bar
from sr_hooks.quadrature import Bisection, Node
from sr_hooks.results import Result
from sr_hooks.windows import Window, parse_windows

__all__ = ["Lam", "LamOptions", "LamResult", "lam"]


@dataclass(frozen=True)
class LamOptions:
    """Options of LAM."""

    window: Any = option(
        help="top,left,size or top,left,height,width in output pixels; several are several results",
        example="window=(96, 120, 16)",
    )
    objective: str | Callable[..., Any] | Objective = option(
        "gradient",
        "what of the window is explained: gradient, intensity, channel:K, gabor:ANGLE, residual, or a plugin's",
    )
    path: str | Callable[..., Any] | ImagePath = option(
        "blur",
        "where the integral starts: blur[:STD], linear:black|mean|blur, gaussian[:STD], uniform[:WIDTH], or a plugin's",
    )
    steps: Literal["auto"] | int = option("auto", "number of gradients, or auto: until the tolerance is met")
    tolerance: float = option(0.04, "estimated relative error of the attribution at which auto stops")
    precision: Literal["float32", "bfloat16"] = option("float32", "bfloat16 runs the network under autocast")
    compat: Literal["lam_demo"] | None = option(None, "lam_demo: the published procedure exactly, faults included")
    seed: int = option(0, "of the noise paths")
    gt: Any = option(None, "ground truth (1,C,H,W) for the objective loss", flag=False)

    def __post_init__(self) -> None:
        if isinstance(self.steps, int) and self.steps < 2:
            raise ValueError(f"steps is {self.steps}: an integral needs at least 2 gradients")
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"tolerance is {self.tolerance}: it must be above 0")
        parse_windows(self.window)


class Lam(Analysis[LamOptions]):
    """Which input pixels does an output patch depend on?"""

    name = "lam"
    options_type = LamOptions
    result_type = LamResult
    watch_names: ClassVar[Mapping[str, str]] = {"windows": "window"}
    better: ClassVar[Mapping[str, str]] = {"diffusion_index": "higher"}

    def run(self, network: Network, images: Any, options: LamOptions) -> LamResult | list[LamResult]:
        batch = as_batch(images)
        network.check(batch)
        windows, several = parse_windows(options.window)
        for window in windows:
            window.check(*network.output_size(*batch.shape[-2:]))
        results: list[LamResult] = []
        with progress_bar("LAM", unit="gradients") as progress:
            for image in batch.split(1):
                results += _Explanation(network, image, windows, options, progress).results()
        return results if several or len(batch) > 1 else results[0]

    @classmethod
    def figure(cls, result: Result) -> Any:
        from sr_hooks.figures.lam import lam_figure

        return lam_figure(cast("LamResult", result))


class _Explanation:
    """All windows of one image. Windows share a forward wherever their paths have a place in common."""

    def __init__(
        self, network: Network, image: torch.Tensor, windows: list[Window], options: LamOptions, progress: Any
    ) -> None:
        self.network, self.image, self.windows, self.options = network, image.cpu(), windows, options
        self.progress = progress
        self.output = self._plain_output()
        self.objective = make_objective(options.objective, gt=options.gt)

    def _plain_output(self) -> torch.Tensor:
        with torch.no_grad():
            output = self.network(self.image.to(self.network.device)).float().cpu()
        broken = int((~torch.isfinite(output)).sum())
        if broken:
            raise NetworkError(
                f"{self.network.name} returns {broken} of {output.numel()} values that are NaN or infinite for this "
                "image: look at its weights, input_range and precision"
            )
        return output

    def results(self) -> list[LamResult]:
        if self.options.compat == "lam_demo":
            return self._published()
        plan = calibrate(
            self.network, cast("tuple[int, int, int]", tuple(self.image.shape[1:])), self.options.precision
        )
        gradients = Gradients(self.network, self.objective, self.windows, plan, self.options.precision)
        rules, nonfinite = self._bisect(gradients)
        deviations = [self._deviation(index, rule.nodes, plan) for index, rule in enumerate(rules)]
        return [
            self._result(
                index,
                rules[index].integral(),
                rules[index].nodes,
                rules[index].error,
                nonfinite[index],
                gradients,
                deviations[index],
            )
            for index in range(len(self.windows))
        ]

    def _deviation(self, index: int, nodes: list[Node], plan: Plan) -> float | None:
        """Of a reduced precision: relative L2 distance of the weightiest node's share of the map to the float32 one."""
        if self.options.precision == "float32":
            return None
        ends = zip([nodes[0], *nodes[:-1]], [*nodes[1:], nodes[-1]], strict=True)
        strides = [after.point - before.point for before, after in ends]
        shares = [node.gradient * stride for node, stride in zip(nodes, strides, strict=True)]
        heaviest = max(range(len(nodes)), key=lambda i: float(shares[i].norm()))
        exact = Gradients(self.network, self.objective, self.windows, plan, "float32")
        share = exact(nodes[heaviest].point, [[index]])[0][index].gradient * strides[heaviest]
        size = float(share.norm())
        return float((shares[heaviest] - share).norm()) / size if size > 0 else 0.0

    def _bisect(self, gradients: Gradients) -> tuple[list[Bisection], list[int]]:
        path = make_path(self.options.path, seed=self.options.seed)
        time_at = arc_length(path, self.image)
        steps = None if self.options.steps == "auto" else int(self.options.steps)
        rules = [Bisection(tolerance=self.options.tolerance, steps=steps) for _ in self.windows]
        nonfinite = [0] * len(rules)
        while True:
            requests = [rule.request() for rule in rules]
            places = sorted({place for request in requests for place in request})
            if not places:
                return rules, nonfinite
            points = path(self.image, [time_at(place) for place in places])
            wanted = [[i for i, request in enumerate(requests) if place in request] for place in places]
            samples = gradients(points, wanted)
            self.progress.update(len(places))
            for index, rule in enumerate(rules):
                mine = [
                    (place, points[row : row + 1], samples[row][index])
                    for row, place in enumerate(places)
                    if index in samples[row]
                ]
                nonfinite[index] += sum(sample.nonfinite for _, _, sample in mine)
                rule.feed([Node(place, point, sample.gradient, sample.value) for place, point, sample in mine])

    def _published(self) -> list[LamResult]:
        if self.options.precision != "float32" or self.options.path != "blur" or self.options.objective != "gradient":
            raise OptionError("compat='lam_demo' is the published procedure: float32, path blur, objective gradient")
        steps = 50 if self.options.steps == "auto" else int(self.options.steps)
        out = []
        for index, window in enumerate(self.windows):
            found = integrate_as_published(self.network, self.image, window, steps, self.progress)
            out.append(self._result(index, found.attribution, found.nodes, None, found.nonfinite, found.gradients))
        return out

    def _result(
        self,
        index: int,
        attribution: torch.Tensor,
        nodes: list[Node],
        error: float | None,
        nonfinite: int,
        gradients: Gradients,
        deviation: float | None = None,
    ) -> LamResult:
        window = self.windows[index]
        h, w = self.image.shape[-2:]
        change = nodes[-1].value - nodes[0].value
        total = float(attribution.double().sum())
        # Not over the change alone: attributions of both signs may cancel to almost none of it.
        size = max(float(attribution.double().abs().sum()), abs(change))
        gap = abs(total - change) / size if size > 0 else 0.0
        arrays = {
            "attribution": attribution[0].numpy(),
            "lr": self.image[0].cpu().numpy(),
            "output": self.output[0].numpy(),
            "nodes": np.array([node.place for node in nodes]),
        }
        values = measures.attribution_map(arrays["attribution"])
        if self.options.compat:
            values = values / values.max() + 1e-7 if values.max() > 0 else values
        concentration = measures.gini(values)
        scalars = {
            "window": list(window.as_tuple()),
            "canvas": {"input": [h, w], "output": list(self.output.shape[-2:])},
            "diffusion_index": (1 - concentration) * 100,
            "effective_pixels": (1 - concentration) * h * w,
            "gini": concentration,
            "completeness_gap": gap,
            "error": error,
            "precision_deviation": deviation,
            "objective_change": change,
            "steps": len(nodes) - (1 if self.options.compat else 0),
            "nonfinite": nonfinite,
            "output_range": [gradients.low, gradients.high],
            "healed": self.network.clones_outputs,
        }
        provenance = {
            "input_sha256": sha256_of(self.image),
            "objective": self.objective.name,
            "execution": {"channels_last": gradients.plan.channels_last, "batch": gradients.plan.batch},
            "seed": self.options.seed,
        }
        verdict = judge(scalars, values, gradients.broken_outputs, self.options.tolerance)
        result = LamResult("lam", arrays, scalars, provenance, verdict)
        result.origin = Origin(self.network, self.options)
        return result


def lam(
    network: Any,
    lr: Any,
    *,
    window: Any,
    objective: Any = "gradient",
    path: Any = "blur",
    steps: Literal["auto"] | int = "auto",
    tolerance: float = LamOptions.tolerance,
    precision: Literal["float32", "bfloat16"] = "float32",
    compat: Literal["lam_demo"] | None = None,
    seed: int = 0,
    gt: Any = None,
) -> Any:
    """Local attribution map: which input pixels the output's window depends on, with the diffusion index.

    The attribution is the integral of dD/dx along a path of images x(t) from a baseline to the input
    (arXiv 2011.11036, eq. 5 and 6), D being an objective over the window: by default the sum of gradient
    magnitudes, along a fading Gaussian blur. It is a trapezoid sum over image differences whose nodes are
    bisected where the integrand changes most.

    Not for: comparing diffusion indices across canvases or window sizes (use `effective_pixels`, and say so);
    reading a map whose verdict says that the output left its range; networks whose input is no image.

    Args:
        network: a torch module or a Network.
        lr: (C,h,w) or (N,C,h,w) float in [0, 1], or an image file's path.
        window: (top, left, size) or (top, left, height, width) in output pixels, or a list of them.
        objective: "gradient", "intensity", "channel:K", "gabor:ANGLE", "residual", "loss" (with gt), a plugin's,
            or a function of the window's pixels (1,C,height,width) to a scalar.
        path: "blur[:STD]", "linear:black", "linear:mean", "linear:blur", "gaussian[:STD]", "uniform[:WIDTH]", a
            plugin's, or a function (image, t) to the image at t of [0, 1].
        steps: gradients to take, or "auto": as many as the tolerance needs, at most 65.
        tolerance: estimated relative L2 error of the attribution at which "auto" stops.
        precision: "bfloat16" runs the network under autocast.
        compat: "lam_demo" reproduces the published code, 50 right-end steps and its faults.
        seed: of the noise paths.
        gt: ground truth (1,C,H,W) in [0, 1] for objective "loss".

    Returns:
        A LamResult; a list of them, image by image and window by window, for a batch or a list of windows.

    Raises:
        SRHooksError: a subclass that says what is wrong with the window, image, network or option.
    """
    given = {
        "window": window,
        "objective": objective,
        "path": path,
        "steps": steps,
        "tolerance": tolerance,
        "precision": precision,
        "compat": compat,
        "seed": seed,
        "gt": gt,
    }
    return execute(Lam, network, lr, from_mapping(LamOptions, given, where="lam"))


@hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Lam]
