"""CSM, channel saliency maps (arXiv 2112.12089), and their test: PSNR without each channel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import one_input_each
from sr_hooks.attribution import make_objective
from sr_hooks.core import progress_bar
from sr_hooks.figures import FigureOptions
from sr_hooks.hooks import Tap, parse_layers, resolve
from sr_hooks.inference import ExecutionPlan, calibrate
from sr_hooks_csm.ablation import Measure, Metric, Tails, ablated_psnr, quality, tail_batch
from sr_hooks_csm.published import FAULTS, PublishedGradient, only_published
from sr_hooks_csm.saliency import Saliency, saliencies
from sr_hooks_csm.verdict import judge, summarise

__all__ = ["Csm", "CsmOptions", "padded"]


@dataclass(frozen=True)
class CsmOptions:
    """Options of CSM."""

    layers: Any = sr_hooks.option("auto", "taps, patterns such as body.*, auto (the deep feature), or all")
    degradation: str = sr_hooks.option("clean", "of the inputs: clean, blur:2, noise:20, blur:2+noise:10, ...")
    ablate: bool = sr_hooks.option(True, "measure the PSNR with each channel set to zero")
    rescale: bool = sr_hooks.option(False, "scale the channels left so that the sum of |feature| stays")
    objective: str = sr_hooks.option("gradient", "what of the output the gradient is of, as sr-hooks lam has it")
    metric: Metric = sr_hooks.option("psnr", "psnr over RGB, or psnr_y over luma")
    border: int | None = sr_hooks.option(
        None, "output pixels left out of the PSNR at every edge; none given: the scale"
    )
    crop: int | None = sr_hooks.option(None, "side in ground-truth pixels of a centre crop")
    maps: int = sr_hooks.option(4, "channels a tap whose maps of the first image are kept", at_most=1_000_000)
    seed: int = sr_hooks.option(0, "of the degradation and of the permutations")
    compat: Literal["rdsr"] | None = sr_hooks.option(
        None, "rdsr: map and ablation of the published code, with its faults; it sets objective, rescale and border"
    )
    lr: Any = sr_hooks.option(None, "ready-made inputs (N,C,h,w); the images are their ground truth", flag=False)

    def __post_init__(self) -> None:
        for name, least in (("maps", 0), ("seed", 0), ("crop", 1), ("border", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}: it must be at least {least}")


class Csm(sr_hooks.Analysis[CsmOptions]):
    """Which channels of a feature matter, by gradient, and is that so when they are taken away?

    Arrays, for N images, T taps of at most C channels (NaN beyond a tap's own): `saliency`, `activation`,
    `first_order`, `psnr` (N,T,C), the last in dB with the channel zeroed; `base_psnr` (N,), of the output as it is;
    `map_<t>` (k,h,w) in [0, 1], maps of the first image, of the channels `shown_<t>` (k,).
    """

    name = "csm"
    figure_options = ("colormap", "scale")
    options_type = CsmOptions
    takes = "hr"
    watch_images = 4

    def run(self, network: sr_hooks.Network, images: Any, options: CsmOptions) -> sr_hooks.Result:
        if options.compat:
            only_published(options, objective=("gradient",), metric=("psnr",), border=(None, 0))
            options = replace(options, rescale=True, border=0)
        shared = {"lr": options.lr, "crop": options.crop, "seed": options.seed}
        inputs = one_input_each(network, images, options.degradation, **shared)
        first = inputs.lr[0][0]
        taps = resolve(network.module, parse_layers(options.layers), lambda: network(first.to(network.device)))
        plan = calibrate(network, (first.shape[1], first.shape[2], first.shape[3]))
        objective = PublishedGradient() if options.compat else make_objective(options.objective)
        plan = ExecutionPlan() if options.compat else plan  # another layout rounds otherwise
        measured, tails = _Measured(taps), Tails(network, taps, plan)
        with progress_bar("CSM", len(inputs) * len(taps), unit="taps") as bar:
            for (lr,), gt in zip(inputs.lr, inputs.gt, strict=True):
                saliency = saliencies(network, lr, taps, objective, plan, maps=options.maps if not measured.rows else 0)
                measured.add(saliency, *_ablations(network, lr, gt, tails, options, bar))
        arrays = measured.arrays()
        scalars = summarise(arrays, [str(tap) for tap in taps], options.seed)
        scalars |= {
            "replayed": all(tails.proved.values()) if tails.proved else None,
            "nonfinite": sum(s.nonfinite for row in measured.rows for s in row),
        }
        provenance = {"seed": options.seed, "inputs": inputs.describe(), "objective": objective.name}
        if options.compat:
            scalars |= {"compat": options.compat, "faults": list(FAULTS)}
        return sr_hooks.Result("csm", arrays, scalars, provenance, judge(scalars, rescaled=options.rescale))

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_csm.figures import csm_figure

        return csm_figure(result, options or FigureOptions())


def _ablations(
    network: sr_hooks.Network, lr: torch.Tensor, gt: torch.Tensor, tails: Tails, options: CsmOptions, bar: Any
) -> tuple[float, list[np.ndarray]]:
    """PSNR of the output as it is, and of each tap's ablations; none of them where none are wanted."""
    border = max(round(network.scale), 0) if options.border is None else options.border
    plan = tails.plan
    measure: Measure = "rdsr" if options.compat else options.metric
    with network.channels_last(plan.channels_last):
        x = plan.lay_out(lr.to(network.device))
        with torch.no_grad():
            output = network(x)
            base = float(quality(output, gt, border, measure))
        if not options.ablate:
            return base, []
        rows, batch = [], 1 if options.compat else tail_batch(plan, lr, network.device)
        tails.start(x, output, batch)
        for tap in tails.taps:
            tail = tails.tail(tap, rescale=options.rescale)
            values = ablated_psnr(tail, gt, plan, batch=batch, border=border, metric=measure, rescale=options.rescale)
            rows.append(values.numpy())
            bar.update(1)
    return base, rows


class _Measured:
    """What was found, image by image."""

    def __init__(self, taps: list[Tap]) -> None:
        self.taps = taps
        self.rows: list[list[Saliency]] = []
        self.base: list[float] = []
        self.psnr: list[list[np.ndarray]] = []

    def add(self, saliency: list[Saliency], base: float, psnr: list[np.ndarray]) -> None:
        self.rows.append(saliency)
        self.base.append(base)
        self.psnr.append(psnr)

    def arrays(self) -> dict[str, np.ndarray]:
        widest = max(len(saliency.total) for saliency in self.rows[0])
        kinds: dict[str, Any] = {
            "saliency": [[saliency.total for saliency in row] for row in self.rows],
            "activation": [[saliency.activation for saliency in row] for row in self.rows],
            "first_order": [[saliency.first_order for saliency in row] for row in self.rows],
        }
        if any(self.psnr):
            kinds["psnr"] = self.psnr
        arrays = {name: padded(values, widest) for name, values in kinds.items()}
        arrays["base_psnr"] = np.array(self.base)
        for index, saliency in enumerate(self.rows[0]):
            if len(saliency.shown):
                arrays |= {f"map_{index}": saliency.maps, f"shown_{index}": saliency.shown}
        return arrays


def padded(rows: list[list[np.ndarray]], widest: int) -> np.ndarray:
    """(N,T,widest) of N lists of T rows, NaN where a row is shorter."""
    out = np.full((len(rows), len(rows[0]), widest), np.nan)
    for i, row in enumerate(rows):
        for t, values in enumerate(row):
            out[i, t, : len(values)] = values
    return out
