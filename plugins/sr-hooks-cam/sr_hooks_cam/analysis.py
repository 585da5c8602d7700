"""HiResCAM (Draelos and Carin, arXiv 2011.08891) of an output window, and Grad-CAM (arXiv 1610.02391) beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

import sr_hooks
from sr_hooks import capture, intervene
from sr_hooks.attribution import Objective, make_objective
from sr_hooks.errors import NetworkError, TapError
from sr_hooks.figures import MAP_OPTIONS, FigureOptions
from sr_hooks.hooks import parse_layers, resolve
from sr_hooks.images import Region, Window
from sr_hooks.inference import prepare_input

__all__ = ["Cam", "CamOptions"]

_BEYOND = 1.5  # times the share that a map of one value, or Grad-CAM, has in the window
_LINEAR = 0.1  # a map whose sum misses the objective's change by less than a tenth of it is complete


@dataclass(frozen=True)
class CamOptions:
    """Options of class activation maps."""

    window: Any = sr_hooks.option(
        "auto", "top, left, size in output pixels, a mask, or auto: the liveliest place", checked=False
    )
    layers: Any = sr_hooks.option("auto", "taps, patterns such as body.*, auto (the deep feature), or all")
    objective: str = sr_hooks.option("gradient", "what of the window is explained, as sr-hooks lam has it")


class Cam(sr_hooks.Analysis[CamOptions]):
    """Which places of a layer's feature does an output window rest on, to first order?

    Arrays, for tap i of T: `map_<i>` (h,w) signed, HiResCAM: the sum over channels of gradient times activation;
    `control_<i>` (h,w), Grad-CAM: the ReLU of the channels weighted by their mean gradient; `lr`, `output`.
    """

    name = "cam"
    options_type = CamOptions
    figure_options = MAP_OPTIONS
    better: ClassVar = {"completeness_gap": "lower"}
    explains: ClassVar = {
        "share_in_window": "The share of the map's positive weight in the window, at the last layer; `chance` is the "
        "window's share of the output's area.",
        "control_share_in_window": "The same of Grad-CAM, the control that says little about where.",
        "completeness_gap": "How far the map's sum is from the objective's change when the layer passes zeros. Up to "
        "10 % the map is an account; beyond, a picture.",
    }

    def run(self, network: sr_hooks.Network, images: Any, options: CamOptions) -> Any:
        prepared = prepare_input(network, images, window=options.window, clips=False, regions=True)
        results = [
            _explain(network, image, window, options) for image in prepared.images for window in prepared.windows
        ]
        return results[0] if len(results) == 1 else results

    @classmethod
    def figure(cls, result: sr_hooks.Result, *, options: FigureOptions | None = None) -> Any:
        from sr_hooks_cam.figure import cam_figure

        return cam_figure(result, options)


def _explain(network: sr_hooks.Network, image: torch.Tensor, window: Window, options: CamOptions) -> sr_hooks.Result:
    lr = image.to(network.device)
    taps = resolve(network.module, parse_layers(options.layers), lambda: network(lr))
    objective = make_objective(options.objective)
    output, value, pairs = _gradients(network, lr, [str(tap) for tap in taps], objective, window)
    size = (output.shape[-2], output.shape[-1])
    arrays: dict[str, np.ndarray] = {"lr": lr[0].cpu().numpy(), "output": output[0].cpu().numpy()}
    rows = []
    for i, (tap, (feature, gradient)) in enumerate(zip(map(str, taps), pairs, strict=True)):
        grid = _on_positions(feature, gradient, lr, tap)
        hires = (grid[0] * grid[1]).sum(dim=0)
        control = (grid[0] * grid[1].mean(dim=(1, 2), keepdim=True)).sum(dim=0).clamp(min=0)
        arrays[f"map_{i}"], arrays[f"control_{i}"] = hires.float().cpu().numpy(), control.float().cpu().numpy()
        without = _value_without(network, lr, tap, objective, window)
        change = value - without
        rows.append(
            {
                "layer": tap,
                "share_in_window": share_in(window, hires.clamp(min=0).cpu().numpy(), size),
                "control_share_in_window": share_in(window, control.cpu().numpy(), size),
                "size_in_window": share_in(window, hires.abs().cpu().numpy(), size),
                "sum": float(hires.sum()),
                "change_without_layer": change,
                "gap": abs(float(hires.sum()) - change) / max(abs(change), 1e-12),
            }
        )
    area = window.area if isinstance(window, Region) else window.height * window.width
    if isinstance(window, Region):
        arrays["region"] = np.asarray(window.on_canvas(*size), dtype=bool)
    scalars = {
        "layers": rows,
        "window": list(window.as_tuple()),
        "chance": area / (size[0] * size[1]),
        "share_in_window": rows[-1]["share_in_window"],
        "control_share_in_window": rows[-1]["control_share_in_window"],
        "completeness_gap": rows[-1]["gap"],
    }
    return sr_hooks.Result("cam", arrays, scalars, {"objective": objective.name}, _verdict(scalars))


def _gradients(
    network: sr_hooks.Network, lr: torch.Tensor, taps: list[str], objective: Objective, window: Window
) -> tuple[torch.Tensor, float, list[tuple[torch.Tensor, torch.Tensor]]]:
    """The output, the objective's value, and the feature and the objective's gradient at each tap."""

    def compute() -> tuple[torch.Tensor, float, list[tuple[torch.Tensor, torch.Tensor]]]:
        x = lr.clone().requires_grad_()
        with torch.enable_grad(), capture(network.module, taps, keep_graph=True) as features:
            output = network(x).float()
            value = objective(output, x, window).sum()
        if not bool(torch.isfinite(value)):
            raise NetworkError(f"the objective of {network.name} is NaN or infinite")
        wanted = [features[tap] for tap in taps]
        unreached = [tap for tap, feature in zip(taps, wanted, strict=True) if not feature.requires_grad]
        if unreached or not value.requires_grad:
            raise NetworkError(f"no gradient reaches {', '.join(unreached) or 'the taps'} of {network.name}")
        gradients = torch.autograd.grad(value, wanted, allow_unused=True)
        pairs = [
            (feature.detach(), torch.zeros_like(feature) if gradient is None else gradient)
            for feature, gradient in zip(wanted, gradients, strict=True)
        ]
        return output.detach(), float(value.detach()), pairs

    return network.differentiate(compute)


def _on_positions(
    feature: torch.Tensor, gradient: torch.Tensor, lr: torch.Tensor, tap: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Feature and gradient as (C,h,w); tokens (1,L,C) are laid out on the input's grid where L is its size."""
    if feature.ndim == 4 and len(feature) == 1:
        return feature[0].double(), gradient[0].double()
    height, width = lr.shape[-2:]
    if feature.ndim == 3 and feature.shape[:2] == (1, height * width):
        return tuple(x[0].double().T.reshape(-1, height, width) for x in (feature, gradient))  # type: ignore[return-value]
    raise TapError(
        f"what passes {tap} has shape {tuple(feature.shape)}: a map needs (1,C,h,w), or (1,L,C) with a token for each "
        "input pixel"
    )


def _value_without(
    network: sr_hooks.Network, lr: torch.Tensor, tap: str, objective: Objective, window: Window
) -> float:
    """The objective where the layer passes zeros."""
    with torch.no_grad(), intervene(network.module, {tap: torch.zeros_like}):
        return float(objective(network(lr).float(), lr, window).sum())


def share_in(window: Window, values: np.ndarray, size: tuple[int, int]) -> float:
    """The share of a map's weight (h,w), not negative, in a window of the output of `size`; by area at its border."""
    total = float(values.sum())
    mask = np.zeros(size)
    if isinstance(window, Region):
        mask[...] = window.on_canvas(*size)
    else:
        mask[window.top : window.top + window.height, window.left : window.left + window.width] = 1
    rows, columns = (_overlaps(n, m) for n, m in zip(values.shape, size, strict=True))
    return float((values * (rows @ mask @ columns.T)).sum() / total) if total > 0 else 0.0


def _overlaps(cells: int, pixels: int) -> np.ndarray:
    """(cells, pixels): the share of each of `cells` equal cells that each of `pixels` equal pixels covers."""
    edges = np.arange(cells + 1) * (pixels / cells)
    low, high = np.maximum(edges[:-1, None], np.arange(pixels)), np.minimum(edges[1:, None], np.arange(1, pixels + 1))
    overlaps: np.ndarray = np.clip(high - low, 0, None) / (pixels / cells)
    return overlaps


def _verdict(scalars: dict[str, Any]) -> str:
    row = scalars["layers"][-1]
    times = row["share_in_window"] / scalars["chance"]
    control = row["control_share_in_window"] / scalars["chance"]
    if abs(row["change_without_layer"]) < 1e-9 * max(abs(row["sum"]), 1):
        return f"cannot tell: the objective is the same when {row['layer']} passes zeros."
    place = (
        f"at {row['layer']} {row['share_in_window']:.0%} of the weight is in the window ({times:.1f} times its area; "
        f"Grad-CAM, the control, has {control:.1f} times)"
    )
    if row["size_in_window"] <= _BEYOND * max(scalars["chance"], row["control_share_in_window"]):
        return (
            f"cannot tell where the window comes from: {row['size_in_window']:.0%} of |map| is in the window; {place}."
        )
    if row["gap"] <= _LINEAR:
        kind = f"complete: the map's sum is the objective's change when the layer passes zeros, to {row['gap']:.0%}"
    else:
        kind = (
            f"first order only: the map's sum is {row['sum']:.3g}, and the objective changes by "
            f"{row['change_without_layer']:.3g} when the layer passes zeros, so the map is a picture and no account"
        )
    return f"{kind}; {place}."
