"""The check by model randomisation (Adebayo et al., arXiv 1810.03292): redraw layers, and the map must change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from sr_hooks.core.seeds import torch_generator
from sr_hooks.errors import NetworkError
from sr_hooks.faithfulness.subject import Subject
from sr_hooks.hooks.layer_list import layers
from sr_hooks.networks.network import Network
from sr_hooks.networks.unwrap import plain_copy
from sr_hooks.results.card import FAILS, PASSES, UNDECIDED, Verdict
from sr_hooks.statistics.map_correlation import HALF, distance_to_window, half_width, similarity

__all__ = ["NAME", "judge", "learned_layers", "redraw"]

NAME = "model randomisation"
STAGES = (0.25, 0.5, 0.75, 1.0)  # shares of the layers; the last layer alone comes first
MOST = 4  # times as many draws of the whole network, if the first draws do not decide


def judge(subject: Subject, *, draws: int, seed: int, tick: Callable[[], object]) -> Verdict:
    """Correlate the map's ranks with maps of copies whose layers are redrawn, from the last layer to the first.

    Redrawn layers keep the size of their weights. The curve starts with the map computed again on the network itself.
    """
    names = learned_layers(subject.network, subject.image)
    if not names:
        return Verdict(NAME, UNDECIDED, "the network has no learned layer that could be redrawn", {"layers": 0})
    counts = sorted({1, *(max(1, round(share * len(names))) for share in STAGES)})
    again = _compare(subject, subject.network)
    tick()
    curves = [_cascade(subject, names, counts, seed, draw, tick) for draw in range(draws)]
    last = [curve[-1] for curve in curves]
    while not _decided(last) and len(last) < MOST * draws:
        last.append(_cascade(subject, names, counts[-1:], seed, len(last), tick)[0])
    means = np.mean(curves, axis=0).tolist()
    means[-1] = float(np.mean(last))
    widths = [half_width([curve[i] for curve in curves]) for i in range(len(counts) - 1)] + [half_width(last)]
    figures = {
        "layers": len(names),
        "redrawn": [0, *counts],
        "correlation": [again, *means],
        "half_width": [0.0, *widths],
        "draws": len(last),
        "signed": bool((subject.attribution < 0).any()),
        "limit": HALF,
    }
    return Verdict(NAME, *_judged(again, means[-1], widths[-1], len(names), len(last)), figures)


def _judged(again: float, mean: float, width: float, layers: int, draws: int) -> tuple[str, str]:
    facts = f"rank correlation {mean:.2f} ± {width:.2f} with maps of the network with all {layers} layers redrawn"
    facts += f" ({draws} draws, 95 %)"
    if again < HALF:
        return FAILS, f"the map is not what this network gives: made anew it correlates by {again:.2f} only"
    if mean + width < HALF:
        return PASSES, f"the map goes with the weights: {facts}, {again:.2f} with the network as it is"
    if mean - width > HALF:
        return FAILS, f"the map hardly depends on what was learned: {facts}"
    return UNDECIDED, f"{facts}, and the limit is {HALF}"


def _decided(values: list[float]) -> bool:
    width = half_width(values)
    return not abs(float(np.mean(values)) - HALF) <= width


def _compare(subject: Subject, network: Network) -> float:
    h, w = subject.image.shape[-2:]
    distance = distance_to_window(h, w, subject.window, subject.network.scale)
    return similarity(subject.attribution, subject.recompute(network).astype(np.float64), distance)


def _cascade(
    subject: Subject, names: list[str], counts: list[int], seed: int, draw: int, tick: Callable[[], object]
) -> list[float]:
    """For each count: the correlation after that many layers, counted from the last, are redrawn in a copy."""
    other = subject.network.with_module(plain_copy(subject.network.module))
    generator = torch_generator(seed, "redraw", draw)
    done, correlations = 0, []
    for count in counts:
        redraw(other.module, names[::-1][done:count], generator)
        done = count
        try:
            correlations.append(_compare(subject, other))
        except NetworkError:  # the redrawn copy gives numbers that are not finite: no map, so no correlation
            correlations.append(0.0)
        tick()
    return correlations


def learned_layers(network: Network, image: torch.Tensor) -> list[str]:
    """Names of the modules that run and own a weight of two or more dimensions, in the order of their first run."""
    side = max(64, network.multiple)
    corner = image[..., :side, :side].to(network.device)
    modules = dict(network.module.named_modules())
    ran = [layer.name for layer in layers(network.module, lambda: network(corner))]
    return [name for name in ran if any(p.ndim >= 2 for p in modules[name].parameters(recurse=False))]


def redraw(module: torch.nn.Module, names: list[str], generator: torch.Generator) -> None:
    """Draw these layers' weights from a normal distribution with mean 0 and their own root mean square; shuffle biases.

    With this scale the signal keeps its size, which a default initialisation would change. Weights that are all zero
    are drawn with a variance of 1 / fan-in.
    """
    modules = dict(module.named_modules())
    with torch.no_grad():
        for name in names:
            for parameter in modules[name].parameters(recurse=False):
                if parameter.ndim < 2:
                    order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                    parameter.copy_(parameter.flatten()[order].view_as(parameter))
                    continue
                size = float(parameter.double().square().mean().sqrt()) or parameter[0].numel() ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator).to(parameter) * size)
