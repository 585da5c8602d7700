"""The network's own output at a window, to compare a cone's output with it on the very input that is explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import torch

from sr_hooks.attribution.receptive_field.proved_cones import WindowCone
from sr_hooks.errors import NetworkError
from sr_hooks.images.windows import Box
from sr_hooks.networks.network import Network

__all__ = ["OwnOutput", "apart", "own_output"]


@dataclass(frozen=True)
class OwnOutput:
    """A network's own output for an image, on the CPU, as far as it was computed.

    Attributes:
        size: (H,W) of the whole output.
        parts: boxes with their values (1,C',height,width); one box of the whole size as a rule.
    """

    size: tuple[int, int]
    parts: tuple[tuple[Box, torch.Tensor], ...]

    def around(self, box: Box) -> tuple[Box, torch.Tensor]:
        """The first part that holds a box: its own box, and its values.

        Raises:
            ValueError: no part holds the box.
        """
        for part, values in self.parts:
            if part.top <= box.top and part.left <= box.left and part.bottom >= box.bottom and part.right >= box.right:
                return part, values
        raise ValueError(f"the output was not computed at {box}")

    def at(self, box: Box) -> torch.Tensor:
        """(1,C',height,width), the values inside a box that one of the parts holds."""
        part, values = self.around(box)
        return values[..., box.top - part.top : box.bottom - part.top, box.left - part.left : box.right - part.left]


def own_output(network: Network, image: torch.Tensor, cones: Sequence[WindowCone] | None = None) -> OwnOutput:
    """The network's own output for an image.

    Args:
        image: (1,C,h,w), or a clip.
        cones: where given, only their output boxes are computed, if the network allows that.

    Raises:
        NetworkError: what is computed of it is not finite.
    """
    parts = [(cone.output, _near(network, image, cone)) for cone in cones or ()]
    known = tuple((box, values) for box, values in parts if values is not None)
    if not cones or len(known) < len(parts):
        with torch.no_grad():
            output = network(image.to(network.device)).float().cpu().contiguous()
        height, width = output.shape[-2:]
        known = ((Box(0, height, 0, width), output),)
    for _, values in known:
        _demand_finite(values, network.name)
    height, width = network.output_size(*image.shape[-2:]) if cones and len(known) == len(parts) else known[0][0].size
    return OwnOutput((height, width), known)


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
    return output[(..., *box.slices)].clone(
        memory_format=torch.contiguous_format
    )  # without the rest, whose memory is free again


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
