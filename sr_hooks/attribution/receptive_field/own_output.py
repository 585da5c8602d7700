"""The network's own output at a window, to compare a cone's output with it on the very input that is explained."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

import torch

from sr_hooks.attribution.receptive_field.proved_cones import WindowCone
from sr_hooks.errors import NetworkError
from sr_hooks.images.windows import Box
from sr_hooks.networks.network import Network

__all__ = ["apart", "fill_unknown", "own_output"]


def own_output(
    network: Network,
    image: torch.Tensor,
    cones: Sequence[WindowCone] | None = None,
    *,
    unfilled: list[torch.Tensor] | None = None,
) -> torch.Tensor:
    """The network's own output for an image, on the CPU.

    Args:
        image: (1,C,h,w), or a clip.
        cones: where given, only their output boxes are computed, if the network allows that.
        unfilled: where given, an output that is computed in part is added to this list, and its other values stay
            undefined until `fill_unknown`. Memory that is never written costs nothing meanwhile.

    Returns:
        (1,C',H,W), NaN where it is not computed.

    Raises:
        NetworkError: what is computed of it is not finite.
    """
    parts = [_near(network, image, cone) for cone in cones or ()]
    known = [part for part in parts if part is not None]
    if not cones or len(known) < len(parts):
        with torch.no_grad():
            output = network(image.to(network.device)).float().cpu()
        _demand_finite(output, network.name)
        return output
    output = torch.empty((1, known[0].shape[1], *network.output_size(*image.shape[-2:])))
    for cone, part in zip(cones, known, strict=True):
        _demand_finite(part, network.name)
        output[(..., *cone.output.slices)] = part
    if unfilled is None:
        fill_unknown([output], cones)
    else:
        unfilled.append(output)
    return output


def fill_unknown(outputs: Sequence[torch.Tensor], cones: Sequence[WindowCone]) -> None:
    """Write NaN, in place, into all of the outputs but the boxes of these cones."""
    for output in outputs:
        parts = [output[(..., *cone.output.slices)].clone() for cone in cones]
        output.fill_(torch.nan)
        for cone, part in zip(cones, parts, strict=True):
            output[(..., *cone.output.slices)] = part


def _demand_finite(output: torch.Tensor, name: str) -> None:
    broken = int((~torch.isfinite(output)).sum())
    if broken:
        raise NetworkError(
            f"{name} returns {broken} of {output.numel()} values that are NaN or infinite for this image: look at its "
            "weights, input_range and precision"
        )


def _near(network: Network, image: torch.Tensor, cone: WindowCone) -> torch.Tensor | None:
    """The output in `cone.output`, run on the part of the image that the cone needs; None where the part is small."""
    if network.square:
        return None
    scale = Fraction(network.scale).limit_denominator(64)
    step = lcm(network.multiple, scale.denominator)
    height, width = image.shape[-2:]
    top, bottom = _aligned(cone.inputs.top, cone.inputs.bottom, height, step, network.minimum)
    left, right = _aligned(cone.inputs.left, cone.inputs.right, width, step, network.minimum)
    with torch.no_grad():
        output = network(image[..., top:bottom, left:right].to(network.device)).float().cpu()
    above, before = int(top * scale), int(left * scale)
    box = Box(
        cone.output.top - above, cone.output.bottom - above, cone.output.left - before, cone.output.right - before
    )
    if min(box) < 0 or box.bottom > output.shape[-2] or box.right > output.shape[-1]:
        return None
    return output[(..., *box.slices)]


def _aligned(start: int, end: int, side: int, step: int, minimum: int) -> tuple[int, int]:
    """At least these rows of an image, from and to a multiple of `step` where the image has it."""
    start -= start % step
    end = min(max(end + -end % step, start + minimum), side)
    return max(min(start, end - minimum), 0) // step * step, end


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference of two outputs, as a share of the second's standard deviation."""
    if one.shape != other.shape:
        return float("inf")
    spread = float(other.double().std()) if other.numel() > 1 else 1.0
    return float((one.double() - other.double()).abs().max()) / max(spread, 1e-6)
