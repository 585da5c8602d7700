"""The analysis that verifies FAIG: mask the filters that FAIG ranks first, and others, and measure the PSNR lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from sr_hooks.analyses.base import Analysis, execute
from sr_hooks.analyses.degraded_pairs import Inputs, make_inputs
from sr_hooks.analyses.determinism import DETERMINISTIC
from sr_hooks.analyses.faig.baseline import masked_weights, pick
from sr_hooks.analyses.faig.filters import Filters
from sr_hooks.analyses.faig.result import FaigResult
from sr_hooks.analyses.faig_verify.masked_images import pictures
from sr_hooks.analyses.faig_verify.masking_trial import Choice, measure
from sr_hooks.analyses.faig_verify.published import (
    FAULTS,
    published_gradient_map,
    published_inputs,
    published_pick,
    published_verdict,
)
from sr_hooks.analyses.faig_verify.result import FAIG, VerifyResult, judge
from sr_hooks.analyses.faig_verify.rival_rankings import controls
from sr_hooks.attribution.weight_paths import StraightPath
from sr_hooks.core.options import as_plain, option, with_options
from sr_hooks.core.progress import progress_bar
from sr_hooks.errors import OptionError
from sr_hooks.figures.options import FigureOptions
from sr_hooks.hookspecs import hookimpl
from sr_hooks.networks.network import Network
from sr_hooks.results.result import Result, read_result

__all__ = ["FaigVerify", "VerifyOptions", "VerifyResult", "verify"]

CLEAN = "clean"


@dataclass(frozen=True)
class VerifyOptions:
    """Options of FAIG's verification."""

    result: FaigResult | str | Path = option(
        help="folder of a FAIG result, which needs baseline; in Python also a FaigResult",
        example="result='faig_result'",
        checked=False,
    )
    baseline: Any = option(None, "the network before fine-tuning, as for faig; needed for a result from a folder")
    tops: Sequence[float] | float = option((0.01, 0.03, 0.05, 0.1), "shares of the filters to mask", checked=False)
    random_seeds: int = option(5, "random choices of filters to compare with", at_least=1, at_most=10_000)
    input_points: int = option(
        8,
        "gradients an image and degradation for the input-IG control (compat: 100), which needs clean inputs: "
        "images, or ready-made ones under the name clean; 0 leaves it out",
        at_least=0,
        at_most=10_000,
    )
    input_images: int = option(4, "images that the input-IG control looks at", at_least=1, at_most=10_000)
    crop: int | None = option(None, "centre crop of the images, side in HR pixels (default: whole images)", at_least=1)
    seed: int = option(
        1, "of degradations, random filters and intervals; not the result's, so that noise is new", at_least=0
    )
    compat: Literal["faig"] | None = option(
        None, "faig: masks, gradient maps and controls as the published code has them, with its faults"
    )
    deterministic: bool = option(False, DETERMINISTIC)
    degraded: Mapping[str, Any] | None = option(
        None,
        "instead of images, ready-made LR inputs (N,C,h,w) under the result's names of degradations, and clean; "
        "with gt",
        flag=False,
        checked=False,
    )
    gt: Any = option(None, "ground truth (N,C,H,W) in [0, 1] of the ready-made inputs", flag=False)

    def __post_init__(self) -> None:
        tops = [self.tops] if isinstance(self.tops, (int, float)) else list(self.tops)
        if not tops or not all(isinstance(top, (int, float)) and 0 < top <= 1 for top in tops):
            raise ValueError(f"tops is {self.tops}: shares of the filters above 0 and up to 1, e.g. 0.01 0.03")
        object.__setattr__(self, "tops", tuple(float(top) for top in tops))
        if self.random_seeds < 1 or self.input_points < 0 or self.input_images < 1:
            raise ValueError("random_seeds and input_images must be at least 1, input_points at least 0")


class FaigVerify(Analysis[VerifyOptions]):
    """Are FAIG's filters better than chance? Mask them, and others as many, and measure what the network loses."""

    name = "faig-verify"
    options_type = VerifyOptions
    result_type = VerifyResult
    takes = "hr"

    def run(self, network: Network, images: Any, options: VerifyOptions) -> VerifyResult:
        faig_result = _attached(options, network)
        inputs = make_inputs(
            network,
            images,
            faig_result.degradations,
            degraded=options.degraded,
            gt=options.gt,
            crop=options.crop,
            clip=bool(faig_result.provenance["options"].get("clip")),
            seed=options.seed,
            also=(CLEAN,),
        )
        if options.compat:
            inputs = published_inputs(inputs, made=options.degraded is None)
        inputs, tops = inputs.in_the_middle(), cast("Sequence[float]", options.tops)
        degradations = [name for name in faig_result.degradations if name in inputs.names]
        if not degradations:
            raise OptionError(
                f"none of the inputs is degraded as the result's are: {', '.join(faig_result.degradations)}"
            )
        path, filters = faig_result.pair.path(), faig_result.filters
        with progress_bar("FAIG verification", unit="steps") as progress:
            choices = [
                *(Choice(FAIG, name, faig_result.ranking(name)) for name in degradations),
                *controls(network, path, filters, inputs, degradations, options, progress),
            ]
            arrays, trials = _trials(network, path, filters, inputs, choices, tops, progress, bool(options.compat))
        scalars = {
            "images": len(inputs),
            "filters": filters.count,
            "columns": list(inputs.names),
            "degradations": degradations,
            "tops": list(tops),
            "trials": trials,
        }
        result = VerifyResult("faig-verify", arrays, scalars, {"seed": options.seed, **inputs.describe()})
        where = options.result if isinstance(options.result, (str, Path)) else "as given"
        result.provenance |= {"faig": faig_result.provenance, "options": as_plain(replace(options, result=where))}
        pictures(result, network, path, faig_result, inputs)
        result.verdict, numbers = judge(result, degradations)
        result.scalars["chance"] = numbers
        if options.compat:
            result.scalars |= {"compat": options.compat, "faults": list(FAULTS)}
            result.verdict += f" {published_verdict(result)}"
        return result

    @classmethod
    def figure(cls, result: Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks.analyses.faig_verify.figure import verify_figure

        return verify_figure(cast("VerifyResult", result), options)


def _attached(options: VerifyOptions, network: Network) -> FaigResult:
    faig_result = read_result(options.result) if isinstance(options.result, (str, Path)) else options.result
    if not isinstance(faig_result, FaigResult):
        raise OptionError(f"result must be a FaigResult or its folder, not a {type(faig_result).__name__}")
    if faig_result.scalars["identical"]:
        raise OptionError("baseline and target of this result are identical: there is nothing to verify")
    if faig_result.scalars.get("path") == "trajectory":
        raise OptionError(
            "this result is of a training run's way, not of a pair of networks: run faig on two checkpoints"
        )
    if options.degraded is None and faig_result.provenance["options"].get("degraded") is not None:
        raise OptionError(
            "this result was made of ready-made inputs, so how to degrade images is not known: verify it with "
            f"degraded={{{', '.join(map(repr, faig_result.degradations))}: ...}} and gt="
        )
    if options.baseline is not None:
        faig_result.attach(options.baseline, network)
    return faig_result


def _trials(
    network: Network,
    path: StraightPath,
    filters: Filters,
    inputs: Inputs,
    choices: Sequence[Choice],
    tops: Sequence[float],
    progress: Any,
    published: bool,
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    target = measure(network, None, inputs, progress)
    arrays = {"target_psnr": target.psnr, "baseline_psnr": measure(network, path.start, inputs, progress).psnr}
    psnr, gradient, trials = [], [], []
    for choice in choices:
        for top in tops:
            chosen = published_pick(choice.ranking, top) if published else pick(choice.ranking, top)
            masked = measure(network, masked_weights(path, filters, chosen), inputs, progress)
            psnr.append(masked.psnr)
            gradient.append(masked.gradient_error(target, published_gradient_map if published else None))
            trials.append({"method": choice.method, "degradation": choice.degradation, "top": top, "seed": choice.seed})
    return {**arrays, "psnr": np.stack(psnr), "gradient_error": np.stack(gradient)}, trials


def _verify(images: Any, target: Any, options: VerifyOptions) -> VerifyResult:
    if target is None:
        if not isinstance(options.result, FaigResult):
            raise OptionError(
                "a result from a folder holds no networks: verify(folder, images, baseline=..., target=...)"
            )
        target = options.result.pair.target
    return cast("VerifyResult", execute(FaigVerify, target, images, options))


@with_options(VerifyOptions, _verify, where="verify")
def verify(
    result: FaigResult | str | Path,
    images: Any = None,
    *,
    target: Any = None,
    baseline: Any = None,
    tops: Sequence[float] | float = (0.01, 0.03, 0.05, 0.1),
    random_seeds: int = 5,
    input_points: int = 8,
    input_images: int = 4,
    crop: int | None = None,
    seed: int = 1,
    compat: Literal["faig"] | None = None,
    deterministic: bool = False,
    degraded: Mapping[str, Any] | None = None,
    gt: Any = None,
) -> VerifyResult:
    """Test a FAIG result: mask its first filters, mask as many others, and compare the PSNR that is lost.

    To mask a filter means to give the filter the weights of the baseline. The other rankings are: the largest weight
    change; the largest relative weight change, the paper's control; integrated gradients along the *inputs*; random.
    A loss is the PSNR of the target minus the PSNR of the masked network. The second measure is the mean squared
    difference of gradient-magnitude maps, times 1000. Both are taken on every degradation and on clean inputs. The
    verdict compares the smallest share of FAIG's filters with random filters and with other degradations, by image.

    Not for: the images that FAIG's ranking was computed from, where the ranking looks better than it is; a single
    image, which gives no interval.

    Args:
        images: HR images in [0, 1], other than FAIG's. They are degraded as FAIG's were, with the seed of this call.
        target: the network after fine-tuning; needed for a result from a folder.
        ...: the options, each described at `VerifyOptions`; `result` comes first.

    Returns:
        A VerifyResult. Its `table()` has PSNR and loss with intervals.

    Raises:
        SRHooksError: the result, the networks, the images or an option is wrong; the message says which.

    Examples:
        >>> import torch, sr_hooks
        >>> from sr_hooks.demo import demo_network
        >>> images, others = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> baseline, target = demo_network("baseline"), demo_network("target")
        >>> ranking = sr_hooks.faig(baseline, target, images=images, degradations=["blur:2"], steps=10)
        >>> result = sr_hooks.verify(ranking, others, tops=0.05, random_seeds=2, input_points=0)
        >>> result.scalars["images"], result.loss("FAIG", 0.05, degradation="blur:2").shape  # inputs, images
        (2, (2, 2))
    """
    raise NotImplementedError  # with_options calls _verify


@hookimpl
def register_analyses() -> list[type[Analysis[Any]]]:
    return [FaigVerify]
