"""The dropout probe (arXiv 2112.12089): PSNR against the share of the deep feature that is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import make_inputs
from sr_hooks.core import generator, progress_bar
from sr_hooks.errors import OptionError
from sr_hooks.figures import FigureOptions
from sr_hooks.hooks import parse_layers, resolve
from sr_hooks.inference import ExecutionPlan, Tail, calibrate, in_batches
from sr_hooks_csm.ablation import Measure, Metric, quality, tail_batch
from sr_hooks_csm.curves import judge_curves, summarise_curves
from sr_hooks_csm.published import DROPOUT_FAULTS, only_published
from sr_hooks_csm.saliency import by_channel, channel_axis

__all__ = ["DropoutOptions", "DropoutProbe", "Drops", "parse_rates"]

Unit = Literal["channel", "element"]


@dataclass(frozen=True)
class DropoutOptions:
    """Options of the dropout probe."""

    layer: Any = sr_hooks.option("auto", "the tap whose feature is dropped; auto: the deep feature")
    degradations: Any = sr_hooks.option(("clean", "blur:2", "noise:20"), "of the inputs: clean, blur:2, noise:20, ...")
    rates: Any = sr_hooks.option((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), "shares dropped, between 0 and 1")
    draws: int = sr_hooks.option(5, "random choices of what is dropped, the same for every image", at_most=1_000_000)
    unit: Unit = sr_hooks.option("channel", "drop whole channels, or single elements")
    rescale: bool = sr_hooks.option(True, "divide what is kept by its share, as dropout in training does")
    metric: Metric = sr_hooks.option("psnr", "psnr over RGB, or psnr_y over luma")
    border: int | None = sr_hooks.option(
        None, "output pixels left out of the PSNR at every edge; none given: the scale"
    )
    crop: int | None = sr_hooks.option(None, "side in ground-truth pixels of a centre crop")
    seed: int = sr_hooks.option(0, "of the degradations, the drops and the intervals")
    compat: Literal["rdsr"] | None = sr_hooks.option(
        None, "rdsr: scaled by the sum of |feature| and measured as the published code does, with its faults"
    )
    degraded: Any = sr_hooks.option(None, "ready-made inputs by name; the images are their ground truth", flag=False)

    def __post_init__(self) -> None:
        if self.draws < 1 or self.seed < 0:
            raise ValueError("draws must be at least 1 and seed 0 or more")
        parse_rates(self.rates)


class DropoutProbe(sr_hooks.Analysis[DropoutOptions]):
    """How much of its deep feature can the network lose, and is that so on every degradation?

    Arrays, for D degradations, R rates (with 0 and 1 added), N images, K draws: `psnr` (D,R,N,K) in dB; `rates` (R,),
    the shares that were really dropped. At rate 1 nothing of the feature is left: what the rest of the network gives.
    """

    name = "dropout"
    options_type = DropoutOptions
    takes = "hr"
    watch_images = 4

    def run(self, network: sr_hooks.Network, images: Any, options: DropoutOptions) -> sr_hooks.Result:
        if options.compat:
            only_published(options, unit=("channel",), rescale=(True,), metric=("psnr",), border=(None, 0))
        ready = options.degraded is not None
        inputs = make_inputs(
            network,
            None if ready else images,
            options.degradations,
            degraded=options.degraded,
            gt=images if ready else None,
            crop=options.crop,
            clip=True,
            seed=options.seed,
        )
        first = inputs.lr[0][0]
        taps = resolve(network.module, parse_layers(options.layer), lambda: network(first.to(network.device)))
        if len(taps) != 1:
            raise OptionError(f"layer {options.layer!r} names {len(taps)} taps; the probe drops at one")
        plan = calibrate(network, (first.shape[1], first.shape[2], first.shape[3]))
        plan = ExecutionPlan() if options.compat else plan  # another layout rounds otherwise
        border = options.border if options.border is not None else 0 if options.compat else round(network.scale)
        measure: Measure = "rdsr" if options.compat else options.metric
        rates = parse_rates(options.rates)
        psnr = np.zeros((len(inputs.names), len(rates) + 2, len(inputs), options.draws))
        done: dict[tuple[int, ...], bool] = {}
        shares = np.zeros(len(rates) + 2)
        with progress_bar("dropout", psnr.size, unit="outputs") as bar, network.channels_last(plan.channels_last):
            for image, (row, gt) in enumerate(zip(inputs.lr, inputs.gt, strict=True)):
                for column, lr in enumerate(row):
                    shape = tuple(lr.shape)
                    tail = Tail(network, plan.lay_out(lr.to(network.device)), taps[0], probe=shape not in done)
                    tail.replays = done.setdefault(shape, tail.replays)
                    batch = 1 if options.compat else tail_batch(plan, lr, network.device)
                    drops = Drops(tail.feature, str(taps[0]), rates, options)
                    shares = drops.shares
                    psnr[column, :, image] = _measure(tail, drops, gt, batch, border, measure, bar)
        arrays = {"psnr": psnr, "rates": 1 - shares}
        scalars = summarise_curves(psnr, arrays["rates"], inputs.names, options.seed)
        scalars |= {"layer": str(taps[0]), "unit": options.unit, "replayed": all(done.values())}
        provenance = {"seed": options.seed, "inputs": inputs.describe()}
        verdict = judge_curves(scalars)
        if options.compat:
            scalars |= {"compat": options.compat, "faults": list(DROPOUT_FAULTS)}
            verdict += f" Published procedure, faults that stay: {'; '.join(DROPOUT_FAULTS)}."
        elif options.rescale:
            verdict += " What is left is scaled by the share left; the published code scales by the sum of |feature|."
        return sr_hooks.Result("dropout", arrays, scalars, provenance, verdict)

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_csm.figures import dropout_figure

        return dropout_figure(result, options or FigureOptions())


class Drops:
    """The dropped copies of one feature: for every rate and draw what is kept, more being dropped of the same order.

    Channels fall in a random order that depends on the seed and the draw alone, so that a larger rate drops what a
    smaller one does and more, and every image and degradation loses the same.
    """

    def __init__(self, feature: torch.Tensor, tap: str, rates: Sequence[float], options: DropoutOptions) -> None:
        self.feature, self.tap, self.options = feature, tap, options
        self.axis = channel_axis(feature, tap)
        self.rates = (0.0, *rates, 1.0)
        count = feature.shape[self.axis] if options.unit == "channel" else feature[0].numel()
        self.keeps = [count - round(rate * count) for rate in self.rates]
        self.shares = np.array(self.keeps) / count
        self.orders = [
            torch.from_numpy(generator(options.seed, "dropout", draw).permutation(count))
            for draw in range(options.draws)
        ]

    def __len__(self) -> int:
        return len(self.rates) * len(self.orders)

    def __getitem__(self, index: int) -> torch.Tensor:
        """The feature under rate index // draws and draw index % draws."""
        rate, draw = divmod(index, len(self.orders))
        order, keep = self.orders[draw], self.keeps[rate]
        mask = torch.zeros(len(order), dtype=self.feature.dtype)
        mask[order[len(order) - keep :]] = len(order) / keep if self.options.rescale and keep else 1.0
        if self.options.unit == "element":
            shape = (1, *self.feature.shape[1:])
        else:
            shape = tuple(len(order) if d == self.axis else 1 for d in range(self.feature.ndim))
        mask = mask.to(self.feature.device)
        if self.options.compat and keep:
            sums = by_channel(self.feature, self.tap).abs().sum(dim=(0, 2))
            left = (sums.sum() - sums[mask == 0].sum()) / sums.sum()
            mask = torch.where(mask > 0, 1 / left, 0.0).to(mask.dtype)
        return self.feature * mask.view(shape)


def _measure(
    tail: Tail, drops: Drops, gt: torch.Tensor, batch: int, border: int, metric: Measure, bar: Any
) -> np.ndarray:
    """(R,K) PSNR."""

    def compute(part: slice) -> torch.Tensor:
        features = torch.cat([drops[index] for index in range(part.start, part.stop)])
        return quality(tail(features), gt, border, metric).cpu()

    values = torch.cat([v for _, v in in_batches(len(drops), compute, batch=batch, bar=bar)])
    return values.view(len(drops.rates), -1).numpy()


def parse_rates(given: Any) -> tuple[float, ...]:
    """Rates in ascending order, from numbers or text.

    Raises:
        ValueError: none, or one that is not between 0 and 1.
    """
    items = given.replace(",", " ").split() if isinstance(given, str) else given
    items = list(items) if isinstance(items, (list, tuple)) else [items]
    try:
        rates = sorted({float(item) for item in items})
    except (TypeError, ValueError):
        raise ValueError(f"rates {given!r} are not numbers") from None
    if not rates or not all(0 < rate < 1 for rate in rates):
        raise ValueError(f"rates {given!r}: give shares between 0 and 1; 0 and 1 themselves are always measured")
    return tuple(rates)
