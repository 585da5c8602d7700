"""Channel importance after mGANprior (arXiv 1912.07116): fitted weights of channels, held against exact ablation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.analyses import one_input_each
from sr_hooks.core import progress_bar
from sr_hooks.figures import FigureOptions
from sr_hooks.hooks import parse_tap
from sr_hooks.inference import calibrate
from sr_hooks_csm.ablation import Metric
from sr_hooks_csm.csm import Csm, CsmOptions, padded
from sr_hooks_csm.importance.fitting import Keep, fit_weights
from sr_hooks_csm.importance.kept_channels import psnr_of_kept
from sr_hooks_csm.importance.summary import judge, summarise

__all__ = ["Importance", "ImportanceOptions"]


@dataclass(frozen=True)
class ImportanceOptions:
    """Options of channel importance."""

    layers: Any = sr_hooks.option("auto", "taps, patterns such as body.*, auto (the deep feature), or all")
    degradation: str = sr_hooks.option("clean", "of the inputs: clean, blur:2, noise:20, blur:2+noise:10, ...")
    penalties: tuple[float, ...] = sr_hooks.option(
        (0.1, 0.3, 1.0, 3.0, 10.0, 30.0), "dB that all channels of a tap cost together, from weak to strong"
    )
    steps: int = sr_hooks.option(10, "gradient steps at each penalty", at_least=1, at_most=100_000)
    keep: Keep = sr_hooks.option("output", "what the fit keeps: the network's output, or its PSNR (truth)")
    metric: Metric = sr_hooks.option("psnr", "of the ablation: psnr over RGB, or psnr_y over luma")
    border: int | None = sr_hooks.option(None, "output pixels left out at every edge (default: the scale)", at_least=0)
    crop: int | None = sr_hooks.option(None, "side in ground-truth pixels of a centre crop", at_least=1)
    seed: int = sr_hooks.option(0, "of the degradation, the random orders and the intervals", at_least=0)
    lr: Any = sr_hooks.option(None, "ready-made inputs (N,C,h,w); the images are their ground truth", flag=False)

    def __post_init__(self) -> None:
        if not self.penalties or min(self.penalties) <= 0 or list(self.penalties) != sorted(set(self.penalties)):
            raise ValueError(f"penalties are {self.penalties}: give numbers above 0, the smallest first")


class Importance(sr_hooks.Analysis[ImportanceOptions]):
    """Which channels keep the output, by weights fitted under a penalty, and does ablation agree?

    Arrays, for N images, T taps of at most C channels (NaN beyond a tap's own), and P penalties: `importance` (N,T,C)
    in [0, 1], the mean of a channel's weights over the penalties; `weights` (N,T,P,C); `saliency`, `activation`,
    `first_order`, `psnr` (N,T,C) and `base_psnr` (N,) as the analysis csm has them; `kept_psnr_<t>` (orders, counts),
    mean dB with the first channels of an order alone, for the orders and counts in `scalars["taps"][t]["kept"]`.
    """

    name = "importance"
    figure_options = ("colormap",)
    options_type = ImportanceOptions
    takes = "hr"
    watch_images = 4

    def run(self, network: sr_hooks.Network, images: Any, options: ImportanceOptions) -> sr_hooks.Result:
        shared = {name: getattr(options, name) for name in ("layers", "degradation", "metric", "crop", "seed", "lr")}
        measured = Csm().run(network, images, CsmOptions(**shared, border=options.border, maps=0))
        taps = [parse_tap(row["tap"]) for row in measured.scalars["taps"]]
        inputs = one_input_each(
            network, images, options.degradation, lr=options.lr, crop=options.crop, seed=options.seed
        )
        border = round(network.scale) if options.border is None else options.border
        plan = calibrate(network, tuple(inputs.lr[0][0].shape[1:]))
        how: dict[str, Any] = {"penalties": options.penalties, "steps": options.steps, "keep": options.keep}
        total = len(inputs) * len(taps) * len(options.penalties) * options.steps
        with progress_bar("importance", total, unit="steps") as bar:
            paths = [
                [fit_weights(network, lr, gt, tap, plan, border=border, bar=bar, **how) for tap in taps]
                for (lr,), gt in zip(inputs.lr, inputs.gt, strict=True)
            ]
        arrays = {
            name: measured.arrays[name] for name in ("saliency", "activation", "first_order", "psnr", "base_psnr")
        }
        widest = arrays["psnr"].shape[-1]
        arrays["importance"] = padded([[path.mean(axis=0) for path in row] for row in paths], widest)
        levels = [padded([[path[p] for path in row] for row in paths], widest) for p in range(len(options.penalties))]
        arrays["weights"] = np.stack(levels, axis=2)
        scalars = summarise(arrays, [str(tap) for tap in taps], options)
        psnr = psnr_of_kept(network, inputs, taps, plan, arrays, options, border)
        for index, row in enumerate(scalars["taps"]):
            arrays[f"kept_psnr_{index}"], row["kept"] = psnr[index]
        scalars["replayed"] = measured.scalars["replayed"]
        provenance = {"seed": options.seed, "inputs": inputs.describe()}
        return sr_hooks.Result("importance", arrays, scalars, provenance, judge(scalars))

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_csm.importance.figure import importance_figure

        return importance_figure(result, options or FigureOptions())
