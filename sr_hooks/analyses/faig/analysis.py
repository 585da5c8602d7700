"""FAIG, filter attribution integrated gradients (arXiv 2108.01070): which filters remove which degradation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from sr_hooks.analyses.base import Analysis, execute
from sr_hooks.analyses.degraded_pairs import Inputs, make_inputs
from sr_hooks.analyses.determinism import DETERMINISTIC
from sr_hooks.analyses.faig.baseline import baseline_of
from sr_hooks.analyses.faig.filters import Filters
from sr_hooks.analyses.faig.integration import Integral, integrate
from sr_hooks.analyses.faig.result import FaigResult, Pair
from sr_hooks.analyses.faig.verdict import judge, notes_on, relative_gap
from sr_hooks.analyses.faig.watcher import FaigWatcher, FaigWatchOptions
from sr_hooks.attribution.objectives.by_name import make_loss
from sr_hooks.attribution.weight_paths import StraightPath, WeightGradients
from sr_hooks.attribution.weight_quadrature import centred, overlap
from sr_hooks.core.options import option, with_options
from sr_hooks.core.progress import progress_bar
from sr_hooks.degradations.parsing import parse_degradations
from sr_hooks.errors import OptionError
from sr_hooks.figures.options import FigureOptions
from sr_hooks.hookspecs import hookimpl
from sr_hooks.inference.calibration import calibrate
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import derived_weights, fold_weights
from sr_hooks.results.result import Result

__all__ = ["Faig", "FaigOptions", "FaigResult", "faig"]


@dataclass(frozen=True)
class FaigOptions:
    """Options of FAIG."""

    baseline: Any = option(
        help="the network before fine-tuning: a weights file for the target's architecture, or a model as --model "
        "takes it; in Python also a Network or a torch module",
        example="baseline='baseline.pth'",
    )
    degradations: Any = option(
        ("blur:2", "noise:25.5"),
        "what the filters may remove, e.g. blur:2 noise:25.5 jpeg:30, any number in one pass; scores are compared "
        "between them",
    )
    steps: Literal["auto"] | int = option(
        "auto",
        "gradients an image and degradation (the nodes of the path integral), or auto: 10 to 80, as many as the "
        "tolerance needs",
        at_least=2,
        at_most=10_000,
    )
    tolerance: float = option(
        0.01,
        "estimated relative L2 error of the mean scores over all images, filters and degradations at which auto stops",
    )
    crop: int | None = option(None, "centre crop of the images, side in HR pixels (default: whole images)", at_least=1)
    clip: bool = option(False, "clip degraded inputs to [0, 1], as image files are; the paper's noise is not clipped")
    biases: bool = option(False, "score biases too (experimental, as are Linear rows)")
    precision: Literal["float32", "bfloat16"] = option("float32", "bfloat16 runs the network under autocast")
    objective: Literal["squared"] | str | Callable[..., Any] = option(
        "squared",
        "the loss whose change is attributed: squared, the squared error; feature:NETWORK:LAYER[:WEIGHTS] "
        "(torchvision's) or module:FILE.py:CLASS[:WEIGHTS], the squared distance of features of the output and the "
        "ground truth, or the loss itself of a module that takes both; in Python also a torch module",
    )
    compat: Literal["faig"] | None = option(None, "faig: the published left rule, 100 steps or `steps`")
    any_order: bool = option(
        False, "do not refuse a target with more than twice the baseline's loss on every degradation"
    )
    seed: int = option(0, "of the degradations", at_least=0)
    deterministic: bool = option(False, DETERMINISTIC)
    degraded: Mapping[str, Any] | None = option(
        None,
        "instead of images, name to ready-made LR inputs (N,C,h,w), with gt; they may leave [0, 1] as noise does",
        flag=False,
        checked=False,
    )
    gt: Any = option(None, "ground truth (N,C,H,W) in [0, 1] of the ready-made inputs", flag=False)

    def __post_init__(self) -> None:
        if isinstance(self.steps, int) and self.steps < 2:
            raise ValueError(f"steps is {self.steps}: an integral needs at least 2 gradients")
        if not 0 < self.tolerance < math.inf:
            raise ValueError(f"tolerance is {self.tolerance}: it must be above 0")
        if self.crop is not None and self.crop < 1:
            raise ValueError(f"crop is {self.crop}: it is a side in pixels")
        parse_degradations(self.degradations)


class Faig(Analysis[FaigOptions]):
    """Which filters remove which degradation? Between a baseline and the target fine-tuned from it."""

    name = "faig"
    options_type = FaigOptions
    result_type = FaigResult
    takes = "hr"
    watcher_type = FaigWatcher
    watch_options_type = FaigWatchOptions
    watch_images = 4

    def run(self, network: Network, images: Any, options: FaigOptions) -> FaigResult:
        if options.compat and options.precision != "float32":
            raise OptionError("compat='faig' is the published procedure: float32")
        if options.compat and options.objective != "squared":
            raise OptionError("compat='faig' is the published procedure: objective squared")
        loss = make_loss(options.objective)
        baseline = _settled(baseline_of(options.baseline, network))
        derived = derived_weights(network.module)
        network = _settled(network)
        path = StraightPath.between(baseline.module, network.module)
        filters = Filters.of(network.module, biases=options.biases)
        inputs = make_inputs(
            network,
            images,
            options.degradations,
            degraded=options.degraded,
            gt=options.gt,
            crop=options.crop,
            clip=options.clip,
            seed=options.seed,
        )
        plan = None
        if len(inputs) and not options.compat:  # the published procedure is run as it was
            plan = calibrate(network, tuple(inputs.lr[0][0].shape[1:]), options.precision)
        engine = WeightGradients(network.whole(), path, precision=options.precision, plan=plan, loss=loss)
        with progress_bar("FAIG", unit="gradients") as progress:
            integral = integrate(
                engine,
                filters,
                inputs,
                steps=None if options.steps == "auto" else int(options.steps),
                tolerance=options.tolerance,
                published=options.compat == "faig",
                any_order=options.any_order,
                progress=progress,
            )
        return _result(network, baseline, path, filters, inputs, integral, options, derived)

    @classmethod
    def figure(cls, result: Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks.analyses.faig.figure import faig_figure

        return faig_figure(cast("FaigResult", result), options)


def _settled(network: Network) -> Network:
    """With plain weights: filters are the tensors that convolve, also where they are computed from others."""
    module = fold_weights(network.module)
    if module is network.module:
        return network
    return network.with_module(module.requires_grad_(False))


def _result(
    network: Network,
    baseline: Network,
    path: StraightPath,
    filters: Filters,
    inputs: Inputs,
    integral: Integral,
    options: FaigOptions,
    derived: list[str],
) -> FaigResult:
    before, after = integral.baseline_loss.sum(dim=0), integral.target_loss.sum(dim=0)
    change = after - before
    gaps = [relative_gap(a, c) for a, c in zip(integral.attributed.tolist(), change.tolist(), strict=True)]
    scalars = {
        "degradations": list(inputs.names),
        "filters": filters.count,
        "images": len(inputs),
        "steps": max(integral.counts),
        "steps_by_image": list(integral.counts),
        "gradients": integral.gradients,
        "completeness_gap": max(gaps),
        "completeness_gaps": gaps,
        "error": integral.error,
        "top_overlap": integral.overlap,
        "split_half_overlap": overlap(*map(centred, integral.halves)) if integral.halves else None,
        "baseline_loss": before.tolist(),
        "target_loss": after.tolist(),
        "attributed": integral.attributed.tolist(),
        "identical": not path.moving,
        "compat": options.compat,
        "layers": filters.plain(),
    }
    provenance = {"baseline": baseline.describe(), "seed": options.seed, **inputs.describe()}
    notes = notes_on(network, baseline)
    if derived:
        notes.append(
            f"{len(derived)} layers compute their weights from others ({derived[0]}, ...): scored is what they come to"
        )
    if integral.broken:
        notes.append(
            f"{integral.broken} of {integral.gradients} gradients had entries that are not finite, which count as 0"
        )
    result = FaigResult(
        "faig",
        {"scores": integral.scores.float().numpy()},
        scalars,
        provenance,
        judge(scalars, notes, options.tolerance),
    )
    result._pair = Pair(baseline, network, provenance["baseline"]["sha256"], network.sha256())
    return result


def _faig(target: Any, images: Any, options: FaigOptions) -> FaigResult:
    return cast("FaigResult", execute(Faig, target, images, options))


@with_options(FaigOptions, _faig, where="faig")
def faig(
    baseline: Any,
    target: Any,
    *,
    images: Any = None,
    degradations: Any = FaigOptions.degradations,
    steps: Literal["auto"] | int = "auto",
    tolerance: float = FaigOptions.tolerance,
    crop: int | None = None,
    clip: bool = False,
    biases: bool = False,
    precision: Literal["float32", "bfloat16"] = "float32",
    objective: Literal["squared"] | str | Callable[..., Any] = "squared",
    compat: Literal["faig"] | None = None,
    any_order: bool = False,
    seed: int = 0,
    deterministic: bool = False,
    degraded: Mapping[str, Any] | None = None,
    gt: Any = None,
) -> FaigResult:
    """Score every filter for every degradation: how much did the filter's change remove of the degradation?

    The baseline has the weights theta_b, the target fine-tuned from it the weights theta. Let theta(t) = theta_b +
    t * (theta - theta_b), and let L be the sum of squared differences between the output and the ground truth. The
    score of a filter is the sum over its kernel of |(theta - theta_b) * integral of dL/dtheta dt| (arXiv 2108.01070),
    averaged over images. A filter is specific to one degradation if its score for that degradation is much larger
    than its scores for the others. The nodes of the integral lie denser at the target. Their number is doubled until
    the scores and the top 1 % of the ranking change no more. `objective` replaces L by another loss, such as the loss
    of a detector.

    Not for: two networks trained apart, because networks on the straight line between them restore nothing; a target
    that does not remove the degradation; a claim that a filter is needed, which `verify` tests. All networks on the
    path use the buffers of the target.

    Args:
        target: the network after fine-tuning: a Network or a torch module.
        images: HR images in [0, 1]: (N,C,H,W), a file's path, or a list of either; sizes may differ. For networks over
            clips: clips (T,C,H,W), (N,T,C,H,W) or folders of frames. The loss is then over all frames of the output.
        ...: the options, each described at `FaigOptions`; `baseline` comes first.

    Returns:
        A FaigResult.

    Raises:
        SRHooksError: the pair, the images or an option is wrong; the subclass and the message say which.

    Examples:
        >>> import torch, sr_hooks
        >>> from sr_hooks.demo import demo_network
        >>> images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> kinds = ["blur:2", "noise:25.5"]
        >>> baseline, target = demo_network("baseline"), demo_network("target")
        >>> result = sr_hooks.faig(baseline, target, images=images, degradations=kinds, steps=10)
        >>> result.degradations, result.filters.count, len(result.ranking("blur:2"))
        (['blur:2', 'noise:25.5'], 27232, 27232)
    """
    raise NotImplementedError  # with_options calls _faig


@hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [Faig]
