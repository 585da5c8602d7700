"""The analysis: radial spectra by layer, of input, output and ground truth, FSDS, and HyRA's split."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

import sr_hooks
from sr_hooks.analyses import one_input_each
from sr_hooks.core import progress_bar
from sr_hooks.errors import NetworkError, TapError
from sr_hooks.faithfulness import shuffled
from sr_hooks.figures import FigureOptions
from sr_hooks.hooks import parse_layers, resolve
from sr_hooks.inference import stream
from sr_hooks.statistics import interval
from sr_hooks_spectra.radial import RingSums, fsds
from sr_hooks_spectra.response import Response, impulse_response, linear_part
from sr_hooks_spectra.words import learned_layers, verdict_of

__all__ = ["Spectra", "SpectraOptions"]


@dataclass(frozen=True)
class SpectraOptions:
    """Options of spectra."""

    layers: Any = sr_hooks.option("all", "taps, patterns such as body.*, auto (the deep feature), or all convolutions")
    bins: int = sr_hooks.option(32, "rings of equal width between 0 and pi radians a pixel", at_least=4, at_most=4096)
    window: Literal["hann"] | None = sr_hooks.option(
        "hann", "taper each map before the transform; none: edges of the map count as high frequencies"
    )
    degradation: str = sr_hooks.option("clean", "of the inputs: clean, blur:2, noise:20, ...")
    control: bool = sr_hooks.option(True, "also measure the network with its weights shuffled")
    response: int = sr_hooks.option(
        31, "side in input pixels of the impulse response for HyRA's split; 0 for none", at_least=0, at_most=1024
    )
    crop: int | None = sr_hooks.option(None, "side in ground-truth pixels of a centre crop", at_least=8)
    seed: int = sr_hooks.option(0, "of degradation, control and intervals", at_least=0)
    lr: Any = sr_hooks.option(None, "ready-made inputs (N,C,h,w); the images are their ground truth", flag=False)


class Spectra(sr_hooks.Analysis[SpectraOptions]):
    """Which spatial frequencies do the layers hold, and does the output hold those of the ground truth?

    Arrays: `radius` (bins,) radians a pixel, the middle of each ring; `log_power` (layers,bins), the natural log of
    the mean of |FFT|^2 over images, channels and ring; `relative` (layers,bins), half of its difference to the first
    ring, the relative log amplitude; the same of `control` and of `input`, `output`, `target`; `impulse` (C,C,k,k).
    """

    name = "spectra"
    options_type = SpectraOptions
    takes = "hr"
    watch_images = 4
    better: ClassVar = {"fsds": "higher"}
    explains: ClassVar = {
        "fsds": "FSDS in dB (arXiv 2405.07919): how alike the spectra of output and ground truth are. 120 is equal.",
        "deepest_high_share": "The share of energy above pi/2 rad a pixel in the last layer looked at.",
        "output_high_share": "The share of the output's energy above pi/2 rad a pixel.",
        "target_high_share": "The share of the ground truth's energy above pi/2 rad a pixel.",
        "learned_layers": "How many layers differ from shuffled weights by more than 0.05 in their share above pi/2.",
        "linear_share": "The share of the output's variance that a linear filter, the impulse response, explains.",
    }

    @torch.no_grad()
    def run(self, network: sr_hooks.Network, images: Any, options: SpectraOptions) -> sr_hooks.Result:
        inputs = one_input_each(
            network, images, options.degradation, lr=options.lr, crop=options.crop, seed=options.seed
        ).in_the_middle()
        first = inputs.lr[0][0].to(network.device)
        taps = [str(tap) for tap in resolve(network.module, parse_layers(options.layers), lambda: network(first))]
        layers = {tap: RingSums(options.bins) for tap in taps}
        ends = {name: RingSums(options.bins) for name in ("input", "output", "target", "linear", "rest")}
        control = {tap: RingSums(options.bins) for tap in taps} if options.control else {}
        other = shuffled(network, options.seed) if options.control else None
        response = impulse_response(network, options.response) if options.response else None
        similar: list[float] = []
        explained: list[float] = []
        with progress_bar("spectra", len(inputs) * (1 + bool(other)), unit="images") as bar:
            for (lr,), gt in zip(inputs.lr, inputs.gt, strict=True):
                lr = lr.to(network.device)
                output = _measure(network, lr, layers, options.window)
                bar.update(1)
                if other is not None:
                    _measure(other, lr, control, options.window)
                    bar.update(1)
                target = gt.to(output)
                for name, image in (("input", lr), ("output", output), ("target", target)):
                    ends[name].add(_maps(image, "the image", lr), options.window)
                similar.append(fsds(output, target))
                if response is not None:
                    explained.append(_split(response, lr, output, ends, options.window, round(network.scale)))
        return _result(layers, control, ends, similar, explained, response, options, inputs)

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_spectra.figure import spectra_figure

        return spectra_figure(result, options)


def _measure(
    network: sr_hooks.Network, lr: torch.Tensor, sums: dict[str, RingSums], window: str | None
) -> torch.Tensor:
    """Add the features of one input to the sums; returns the output."""
    if network.frames:
        with sr_hooks.capture(network.module, list(sums)) as features:
            output = network(lr)
    else:
        (seen,) = stream(network, lr.clamp(0, 1), list(sums), batch=1, output=True)
        features, output = seen.features, seen.output
    for tap, each in sums.items():
        each.add(_finite(network, tap, _maps(features[tap], tap, lr)), window)
    assert output is not None
    return _finite(network, "the output", output.float())


def _finite(network: sr_hooks.Network, name: str, values: torch.Tensor) -> torch.Tensor:
    if not bool(torch.isfinite(values).all()):
        raise NetworkError(f"{name} of {network.name} has values that are NaN or infinite: it has no spectrum")
    return values


def _maps(feature: torch.Tensor, tap: str, lr: torch.Tensor) -> torch.Tensor:
    """A feature as maps (C,h,w): frames count as channels, tokens (1,L,C) lie on the input's grid."""
    if feature.ndim >= 4:
        return feature.flatten(0, -3)
    height, width = lr.shape[-2:]
    if feature.ndim == 3 and feature.shape[1] == height * width:
        return feature.transpose(1, 2).reshape(-1, height, width)
    raise TapError(
        f"what passes {tap} has shape {tuple(feature.shape)}: a spectrum needs (N,C,h,w), or (N,L,C) with a token for "
        "each input pixel; name other layers"
    )


def _split(
    response: Response,
    lr: torch.Tensor,
    output: torch.Tensor,
    ends: dict[str, RingSums],
    window: str | None,
    scale: int,
) -> float:
    """Add the spectra of linear part and rest; returns the share of the output's variance that the linear part has."""
    linear = linear_part(response, lr, scale)
    rest = output.double() - linear
    ends["linear"].add(linear[0], window)
    ends["rest"].add(rest[0], window)
    spread = output.double() - output.double().mean(dim=(-2, -1), keepdim=True)
    error = rest - rest.mean(dim=(-2, -1), keepdim=True)
    return 1 - float(error.square().sum() / spread.square().sum().clamp(min=1e-30))


def _result(
    layers: dict[str, RingSums],
    control: dict[str, RingSums],
    ends: dict[str, RingSums],
    similar: list[float],
    explained: list[float],
    response: Response | None,
    options: SpectraOptions,
    inputs: Any,
) -> sr_hooks.Result:
    arrays = {"radius": (np.arange(options.bins) + 0.5) * np.pi / options.bins}
    arrays["log_power"] = _stacked(layers, options.bins)
    arrays["relative"] = _relative(arrays["log_power"])
    if control:
        arrays["control"] = _stacked(control, options.bins)
    arrays |= {name: each.log_power() for name, each in ends.items() if each.shares}
    if response is not None:
        arrays["impulse"] = response.kernel.float().cpu().numpy()
    rows = []
    for tap, each in layers.items():
        row: dict[str, Any] = {"layer": tap, "high_share": _mean(each.shares)}
        finite = np.array([share for share in each.shares if math.isfinite(share)])
        row["low"], row["high"] = interval(finite, options.seed) if len(finite) > 1 else (None, None)
        if control:
            row["control_high_share"] = _mean(control[tap].shares)
        rows.append(row)
    scalars: dict[str, Any] = {
        "layers": rows,
        "fsds": _mean(similar),
        **{f"{name}_high_share": _mean(each.shares) for name, each in ends.items() if each.shares},
        "bands": _bands(ends),
        "images": len(inputs),
    }
    if rows:
        scalars["deepest_high_share"] = rows[-1]["high_share"]
    if control:
        scalars["learned_layers"] = learned_layers(rows)
    if explained:
        scalars["linear_share"] = _mean(explained)
    return sr_hooks.Result(
        "spectra", arrays, scalars, {"seed": options.seed, "inputs": inputs.describe()}, verdict_of(scalars)
    )


def _stacked(layers: dict[str, RingSums], bins: int) -> np.ndarray:
    """(layers,bins), also of a network that is one layer, within which there is none."""
    return np.array([each.log_power() for each in layers.values()]).reshape(-1, bins)


def _relative(log_power: np.ndarray) -> np.ndarray:
    """Half the difference of log power to that of the first ring that has a frequency."""
    start = np.array([row[np.isfinite(row)][0] if np.isfinite(row).any() else np.nan for row in log_power])
    relative: np.ndarray = (log_power - start.reshape(-1, 1)) / 2
    return relative


def _bands(ends: dict[str, RingSums]) -> dict[str, float]:
    """dB that the output has more energy than the ground truth in each quarter of the frequencies up to pi."""
    bins = len(ends["output"].energy)
    names = ("0 to pi/4", "pi/4 to pi/2", "pi/2 to 3pi/4", "3pi/4 to pi")
    parts = np.array_split(np.arange(bins), 4)
    sums = {name: [float(ends[name].energy[part].sum()) for part in parts] for name in ("output", "target")}
    return {
        name: 10 * math.log10(max(ours, 1e-30) / max(theirs, 1e-30))
        for name, ours, theirs in zip(names, sums["output"], sums["target"], strict=True)
    }


def _mean(values: list[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else None
