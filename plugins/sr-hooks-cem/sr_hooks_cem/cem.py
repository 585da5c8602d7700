"""CEM, causal effect maps (arXiv 2407.19789): what a window's PSNR owes to each block of the input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import one_input_each
from sr_hooks.core import cache_folder, progress_bar
from sr_hooks.errors import OptionError
from sr_hooks.figures import MAP_OPTIONS, FigureOptions
from sr_hooks.images import Window, parse_windows
from sr_hooks.inference import ExecutionPlan, calibrate, check_input
from sr_hooks.results import Cache, key_of
from sr_hooks_cem.agreement import agreement
from sr_hooks_cem.effects import Effects
from sr_hooks_cem.pool import Pool
from sr_hooks_cem.published import PublishedPool, check_published, judge_published, published_input, published_reach
from sr_hooks_cem.reach import find_reach
from sr_hooks_cem.verdict import judge, maps_of

__all__ = ["Cem", "CemOptions", "CemWatchOptions"]


@dataclass(frozen=True)
class CemOptions:
    """Options of CEM."""

    window: Any = sr_hooks.option(
        help="top,left,size or top,left,height,width in output pixels; several are several results",
        example="window=(96, 120, 32)",
    )
    block: int = sr_hooks.option(8, "side in output pixels of the blocks that are replaced")
    coarse: int = sr_hooks.option(3, "patches that every block in reach is replaced by", at_most=1_000_000)
    fine: int = sr_hooks.option(
        50, "patches where a coarse one moved the PSNR by the tolerance; coarse ones count", at_most=1_000_000
    )
    tolerance: float = sr_hooks.option(0.01, "dB by which one coarse patch must move the window's PSNR")
    pool: Any = sr_hooks.option(
        None, "photographs to cut patches from: files or a folder; none given: the shipped ones"
    )
    degradation: str = sr_hooks.option("clean", "of input and patches: clean, blur:2, noise:20, ...")
    lam: bool = sr_hooks.option(True, "compare with the LAM of the same window")
    crop: int | None = sr_hooks.option(None, "side in ground-truth pixels of a centre crop")
    cache: str | None = sr_hooks.option(
        None, "folder for finished parts, so that a killed run goes on; none given: the user's cache; '': keep nothing"
    )
    seed: int = sr_hooks.option(0, "of the degradation and of the patches")
    compat: Literal["cem"] | None = sr_hooks.option(
        None, "cem: the published procedure, 8-bit images, fresh fine patches and its faults"
    )
    lr: Any = sr_hooks.option(None, "ready-made inputs (N,C,h,w); the images are their ground truth", flag=False)

    def __post_init__(self) -> None:
        parse_windows(self.window)
        for name, least in (("block", 1), ("coarse", 1), ("fine", 0), ("seed", 0), ("crop", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}: it must be at least {least}")
        if not self.tolerance >= 0:
            raise ValueError(f"tolerance is {self.tolerance}: it must be 0 dB or more")
        if self.compat and self.fine < 1:
            raise ValueError("compat='cem' takes the effect from fine patches: fine must be at least 1")


@dataclass(frozen=True)
class CemWatchOptions(CemOptions):
    """Keys of a `cem:` block in an option file: those of CEM, with lighter defaults."""

    fine: int = sr_hooks.option(
        10, "patches where a coarse one moved the PSNR by the tolerance; coarse ones count", at_most=1_000_000
    )
    cache: str | None = sr_hooks.option("", "folder for finished parts; none is kept, since the weights change")


class Cem(sr_hooks.Analysis[CemOptions]):
    """Which blocks of the input does a window owe its quality to, and which harm it?

    Arrays, for bh x bw blocks: `effect`, dB of the window's PSNR that is lost when the block is replaced, the mean over
    patches (below 0: it is better without); `low`, `high`, its 95 % interval; `draws`, how many patches, 0 where the
    block is proved to be out of reach; `lost` (bh * bw, most draws), the dB of each patch, NaN beyond a block's own;
    `own` (bh,bw), whether a block overlaps the window; `lr` (C,h,w), `output` (C,H,W); `lam` (bh,bw), LAM's sums.
    Scalars `helping` and `harming` count blocks outside the window, `own_helping` and `own_harming` the window's own.

    With `compat="cem"` all is as the published code has it: 8-bit images, the mean of fresh fine patches, effects below
    the tolerance set to 0, and no interval.
    """

    name = "cem"
    figure_options = MAP_OPTIONS
    options_type = CemOptions
    watch_options_type = CemWatchOptions
    watch_names: ClassVar[dict[str, str]] = {"windows": "window"}
    takes = "hr"
    together = False

    def run(
        self, network: sr_hooks.Network, images: Any, options: CemOptions
    ) -> sr_hooks.Result | list[sr_hooks.Result]:
        settings = {"lr": options.lr, "crop": options.crop, "seed": options.seed}
        inputs = one_input_each(network, images, options.degradation, **settings)
        side = options.block / network.scale
        if side < 1 or side != round(side):
            raise OptionError(f"block is {options.block}: it must be a multiple of the scale, {network.scale:g}")
        windows, several = parse_windows(options.window)
        for (lr,) in inputs.lr:
            check_input(network, lr, windows=windows)
        kind = PublishedPool if options.compat else Pool
        pool = kind(network, options.pool, options.degradation, options.seed)
        pool.check(round(side))
        results = [
            _explain(network, lr, gt, window, round(side), pool, options)
            for (lr,), gt in zip(inputs.lr, inputs.gt, strict=True)
            for window in windows
        ]
        for result in results:
            result.provenance |= {"seed": options.seed, "inputs": inputs.describe()}
        return results if several or len(results) > 1 else results[0]

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_cem.figures import cem_figure

        return cem_figure(result, options or FigureOptions())


def _explain(
    network: sr_hooks.Network,
    lr: torch.Tensor,
    gt: torch.Tensor,
    window: Window,
    side: int,
    pool: Pool,
    options: CemOptions,
) -> sr_hooks.Result:
    if options.compat:
        check_published(lr, side)
        lr, gt = published_input(network, lr, gt, ready=options.lr is not None or options.degradation != "clean")
    reach = find_reach(network, lr, window, seed=options.seed)
    if options.compat:
        reach = published_reach(network, lr, window, reach)
        plan = ExecutionPlan()  # another memory layout sums in another order, and 8-bit roundings would differ
    else:
        plan = calibrate(network, (lr.shape[1], reach.crop.height, reach.crop.width))
    cache, key = _kept(network, lr, gt, window, side, pool, options)
    with torch.no_grad():
        output = network(lr.to(network.device)).float().cpu()
    with progress_bar("CEM", unit="forwards") as bar, network.channels_last(plan.channels_last):
        effects = Effects(network, lr, gt, window, side, reach, pool, plan, cache, key, bar, bits=bool(options.compat))
        bar.total = len(effects.inside) * options.coarse
        effects.draw(effects.inside, 0, options.coarse)
        moved = [i for i in effects.inside if np.abs(effects.draws[i] - effects.base).max() >= options.tolerance]
        more = options.fine if options.compat else max(options.fine - options.coarse, 0)
        bar.total += len(moved) * more
        if options.compat:  # the published mean is of the fine patches alone
            effects.draws |= {index: np.zeros(0) for index in moved}
        effects.draw(moved, options.coarse, options.coarse + more)
    arrays = maps_of(effects) | {"lr": lr[0].cpu().numpy(), "output": output[0].numpy()}
    scalars = {
        "window": list(window.as_tuple()),
        "block_side": side,
        "base_psnr": effects.base,
        "blocks": len(effects.blocks),
        "in_reach": len(effects.inside),
        "fine_blocks": len(moved),
        "reach": list(reach.box.as_tuple()),
        "crop": list(reach.crop.as_tuple()),
        "forwards": effects.computed + effects.taken,
        "from_cache": effects.taken,
        "probes": reach.probes,
    }
    result = sr_hooks.Result("cem", arrays, scalars, {"seed": options.seed})
    if options.lam:
        _compare(result, network, lr, window)
    if options.compat:
        judge_published(result, options.tolerance, network.scale)
    else:
        result.verdict = judge(result, options.tolerance, options.coarse, network.scale)
    return result


def _compare(result: sr_hooks.Result, network: sr_hooks.Network, lr: torch.Tensor, window: Window) -> None:
    with_lam = agreement(sr_hooks.lam(network, lr, window=window), result)
    result.arrays["lam"] = with_lam.sums
    result.scalars |= {
        "lam_correlation": with_lam.correlation,
        "lam_p": with_lam.p,
        "distance_correlation": with_lam.distance,
        "compared_blocks": with_lam.blocks,
    }


def _kept(
    network: sr_hooks.Network,
    lr: torch.Tensor,
    gt: torch.Tensor,
    window: Window,
    side: int,
    pool: Pool,
    options: CemOptions,
) -> tuple[Cache | None, str]:
    """The cache of finished parts, and the content that their keys are made of."""
    usual = cache_folder()
    folder = Path(options.cache) if options.cache else usual / "cem" if usual and options.cache is None else None
    if folder is None:
        return None, ""
    asked = {"window": window.as_tuple(), "side": side, "seed": options.seed, "compat": options.compat}
    return Cache(folder), key_of("cem 2", network, [lr, gt, *pool.inputs], asked)
