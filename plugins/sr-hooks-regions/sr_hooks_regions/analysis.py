"""The analysis: networks on images with ground truth, their errors summed by region, with a control for chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import make_inputs, other_networks
from sr_hooks.core import generator, progress_bar
from sr_hooks.errors import NetworkError, OptionError
from sr_hooks.figures import MAP_OPTIONS, FigureOptions
from sr_hooks.images import luma, quantise
from sr_hooks_regions.attribution import attribution_by_region
from sr_hooks_regions.labels import labels_of
from sr_hooks_regions.measure import Sums, shares_by_chance
from sr_hooks_regions.words import verdict_of

__all__ = ["Regions", "RegionsOptions"]

_SHOWN = 2  # images that are kept for the figure


@dataclass(frozen=True)
class RegionsOptions:
    """Options of errors by region."""

    regions: Any = sr_hooks.option(
        "texture",
        "texture (flat, edges, texture, from the ground truth), degraded (input pixels unlike the clean ones, "
        "and the rest), or a label image or mask as large as the ground truth; in Python also a mapping of names to "
        "regions, or a list with a label image for each image",
        checked=False,
    )
    degradation: Any = sr_hooks.option("clean", "how inputs are made of the images: clean, blur:2, rain:1, ...")
    others: Any = sr_hooks.option(
        None, "more networks to compare, checkpoint files or architectures, of the same scale", checked=False
    )
    colour: Literal["rgb", "y"] = sr_hooks.option("rgb", "errors over rgb or y, the luma")
    shift: float = sr_hooks.option(
        1.0, "largest shift in output pixels that the shift-tolerant PSNR undoes; 0 for none", at_least=0, at_most=16
    )
    window: Any = sr_hooks.option(
        None, "a window of the output: also give the LAM weight (and CEM effect) by region, on the first image",
        checked=False,
    )  # fmt: skip
    draws: int = sr_hooks.option(199, "displaced label images, the control for chance", at_least=0, at_most=100_000)
    limit: float | None = sr_hooks.option(
        None, "error at both ends of the error maps' colours, to give several figures one scale; by default the 99.5 % "
        "quantile over all networks and images"
    )  # fmt: skip
    seed: int = sr_hooks.option(0, "of degradation and control", at_least=0)

    def __post_init__(self) -> None:
        if self.limit is not None and not 0 < self.limit <= 1:
            raise ValueError(f"limit is {self.limit:g}: an error above 0 and at most 1, white being 1")


class Regions(sr_hooks.Analysis[RegionsOptions]):
    """Where in the image does the network fail, and is that more than by chance?"""

    name = "regions"
    options_type = RegionsOptions
    takes = "hr"
    watch_images = 4
    figure_options = MAP_OPTIONS
    better: ClassVar = {"psnr/edges": "higher", "psnr/texture": "higher", "psnr/flat": "higher"}
    explains: ClassVar = {
        f"{key}/{name}": f"{words} {name}{end}"
        for name in ("edges", "texture", "flat", "rest", "degraded", "mask")
        for key, words, end in (
            ("psnr", "PSNR in dB of the pixels of the region", ", all images together."),
            ("share_of_error", "Share of the squared error that lies in the region", "; compare with its area."),
            (
                "p",
                "How often a displaced copy of the region",
                " holds as much of the error; above 0.05 cannot be told.",
            ),
        )
    }

    @torch.no_grad()
    def run(self, network: sr_hooks.Network, images: Any, options: RegionsOptions) -> sr_hooks.Result:
        networks = other_networks(options.others, network)
        inputs = make_inputs(network, images, options.degradation, clip=True, seed=options.seed, also=["clean"])
        inputs = inputs.in_the_middle()
        names: tuple[str, ...] = ()
        arrays: dict[str, np.ndarray] = {}
        sums: dict[str, Sums] = {}
        squares: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        with progress_bar("regions", len(inputs) * len(networks), unit="images") as bar:
            for index, (gt, row) in enumerate(zip(inputs.gt, inputs.lr, strict=True)):
                regions = labels_of(options.regions, gt, _middle(row[0]), _middle(row[-1]), index)
                if index and regions.names != names:
                    raise OptionError("the label images of the images have different labels: use the same in each")
                names = regions.names
                labels.append(regions.numbers)
                for place, (key, each) in enumerate(networks.items()):
                    output = quantise(each(row[0].to(each.device)))
                    truth = gt.to(output)
                    if output.shape != truth.shape:
                        raise NetworkError(f"{key} makes {tuple(output.shape)} where the truth is {tuple(truth.shape)}")
                    if options.colour == "y":
                        output, truth = luma(output), luma(truth)
                    total = sums.setdefault(key, Sums(len(names)))
                    signed = total.add(output, truth, regions.numbers, options.shift)
                    if each is network:
                        squares.append((output - truth).double().square().mean(dim=(0, 1)).cpu().numpy())
                    if index < _SHOWN:
                        arrays[f"error_{index}_{place}"] = signed.astype(np.float32)
                    bar.update(1)
                if index < _SHOWN:
                    arrays[f"image_{index}"] = quantise(gt[0]).mul(255).byte().cpu().numpy()
                    arrays[f"labels_{index}"] = regions.numbers.astype(np.uint8)
        return _result(network, networks, sums, names, arrays, (squares, labels), inputs, options)

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_regions.figure import regions_figure

        return regions_figure(result, options)


def _middle(image: torch.Tensor) -> torch.Tensor:
    """Of a clip the middle frame."""
    return image if image.ndim == 4 else image[:, image.shape[1] // 2]


def _result(
    network: sr_hooks.Network,
    networks: dict[str, sr_hooks.Network],
    sums: dict[str, Sums],
    names: tuple[str, ...],
    arrays: dict[str, np.ndarray],
    maps: tuple[list[np.ndarray], list[np.ndarray]],
    inputs: Any,
    options: RegionsOptions,
) -> sr_hooks.Result:
    tables = {key: total.rows(names) for key, total in sums.items()}
    rows = tables[network.name]
    first = sums[network.name]
    chance = shares_by_chance(*maps, len(names), options.draws, generator(options.seed, "displaced label images"))
    for i, name in enumerate(names):
        if name in rows and options.draws:
            rows[name]["share_by_chance"] = float(np.median(chance[:, i]))
            above = float((chance[:, i] >= rows[name]["share_of_error"] * (1 - 1e-12)).mean())
            count = len(chance)
            rows[name]["p"] = (1 + above * count) / (1 + count)
    scalars: dict[str, Any] = {f"psnr/{name}": row["psnr"] for name, row in rows.items()}
    scalars |= {f"share_of_error/{name}": row["share_of_error"] for name, row in rows.items()}
    scalars |= {f"p/{name}": row["p"] for name, row in rows.items() if "p" in row}
    errors = [np.abs(arrays[key]) for key in arrays if key.startswith("error_")]
    scalars |= {
        "regions": rows,
        "networks": tables,
        "names": list(names),
        "squared_error": float(first.squares.sum() / first.pixels.sum()),
        "shifts": {key: total.shifts for key, total in sums.items()},
        "limit": options.limit or max(float(np.quantile(np.concatenate([e.ravel() for e in errors]), 0.995)), 1e-6),
        "images": len(inputs),
    }
    if options.window is not None:
        scalars |= attribution_by_region(network, inputs.lr[0][0], inputs.gt[0], maps[1][0], names, options, rows)
    verdict = verdict_of(scalars, network.name)
    provenance = {"seed": options.seed, **inputs.describe()}
    return sr_hooks.Result("regions", arrays, scalars, provenance, verdict)
