"""The input range of a network, 1 or 255, read from its module or inferred from what it returns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import nn

__all__ = ["infer_range", "range_of_module"]

_NEAR = 0.01  # root mean square distance of a trained network's output, in its own range, from its input
_CLEAR = 30.0  # the other range's distance is so many times as much
_NEAR_1, _CLEAR_1 = 0.03, 10.0  # the same for the range 1, which is the default anyway
_RANGES = (1.0, 255.0)
_BETTER = 1.04  # root mean square error of interpolation over the network's: 0.3 dB
_NOISE = 0.1
_ENLARGED = 0.004  # root mean square distance from an enlargement, which 1 of 255 added to the input does not exceed
_LINEAR = 0.0015  # root mean square deviation from a linear map; of trained networks it is several times as much
_SHIFTED = 0.25  # difference of mean brightness


def range_of_module(module: nn.Module) -> float | None:
    """255 where the module states it, or subtracts an 8-bit mean from its input (EDSR's `sub_mean`); else None."""
    if getattr(module, "rgb_range", None) == 255:
        return 255.0
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.weight.shape == (3, 3, 1, 1) and part.bias is not None:
            if float(part.bias.detach().float().abs().max()) > 2:
                return 255.0
            break
    return None


def infer_range(
    run: Callable[[torch.Tensor, float], torch.Tensor], channels: int, multiple: int, device: torch.device
) -> float | None:
    """The range, 1 or 255, in which a trained network does its work; None where neither is clear.

    On a smooth picture a trained network returns its input, enlarged. In the wrong range, biases and normalisations of
    the wrong size drown the image. Of 37 published networks with weights, the right range was always nearer, by a
    factor of 50 or more for all that were trained on [0, 255].

    A network with a skip connection from its input returns the input also where white is so large that all that the
    network adds is nothing beside it. Such an output is no evidence for that range. It counts only where the other
    range is impossible: there, the output is another brightness altogether.

    A network whose range is 1 also shows this by restoring a picture better than every usual interpolation does.

    Args:
        run: (x, input_range) to the output.
    """
    try:
        side = -(-48 // multiple) * multiple
        x = _waves(side).to(device).expand(1, channels, side, side).contiguous()
        outputs = [run(x, white) for white in _RANGES]
        errors = [_distance(out, x) for out in outputs]
        nearer = 0 if errors[0] < errors[1] else 1
        near, clear = (_NEAR, _CLEAR) if nearer else (_NEAR_1, _CLEAR_1)
        if errors[nearer] < near and max(errors) > clear * errors[nearer]:
            white = _RANGES[nearer]
            if _is_impossible(outputs[1 - nearer], x) or not _only_passes_on(lambda x: run(x, white), x):
                return white
        scale = outputs[0].shape[-1] / side
        return 1.0 if _restores(run, scale, x) else None
    except Exception:
        return None


def _waves(side: int) -> torch.Tensor:
    """A smooth picture (1,1,side,side), which enlargement by any method leaves as it is."""
    ramp = torch.linspace(0, 1, side)
    waves = 0.5 + 0.2 * torch.sin(9 * ramp)[:, None] * torch.cos(7 * ramp)[None] + 0.15 * (ramp[:, None] - ramp[None])
    return waves[None, None]


def _is_impossible(out: torch.Tensor, x: torch.Tensor) -> bool:
    """Whether an output is of another brightness than the input, as of no trained network in its own range."""
    shift = float(out.detach().float().mean() - x.mean())
    return not math.isfinite(shift) or abs(shift) > _SHIFTED


def _only_passes_on(run: Callable[[torch.Tensor], torch.Tensor], smooth: torch.Tensor) -> bool:
    """Whether a network enlarges a picture of edges as interpolation does, or as some other linear filter does."""
    edges = _edges(smooth)
    out = run(edges).detach().float()
    size = (out.shape[-2], out.shape[-1])
    if any(_rms(out - enlarged) < _ENLARGED for enlarged in _enlargements(edges, size)):
        return True
    mean = run((edges + smooth) / 2).detach().float()
    return _rms(out + run(smooth).detach().float() - 2 * mean) < _LINEAR


def _edges(smooth: torch.Tensor) -> torch.Tensor:
    """A picture of the same shape with steps, thin lines and slanted edges."""
    rows, columns = (torch.arange(size, device=smooth.device) for size in smooth.shape[-2:])
    checks = ((rows // 5)[:, None] + (columns // 7)[None]) % 2
    slanted = ((3 * rows[:, None] + 2 * columns[None]) // 8) % 2
    lines = ((rows % 9 == 0)[:, None] | (columns % 11 == 0)[None]).float()
    return smooth * 0.4 + 0.2 * checks + 0.2 * slanted + 0.15 * lines


def _enlargements(x: torch.Tensor, size: tuple[int, int]) -> Iterator[torch.Tensor]:
    """The picture resized to (H,W) by each usual method."""
    for mode in ("nearest", "area"):
        yield nn.functional.interpolate(x, size, mode=mode)
    for mode in ("bilinear", "bicubic"):
        for corners in (False, True):
            yield nn.functional.interpolate(x, size, mode=mode, align_corners=corners)
        yield nn.functional.interpolate(x, size, mode=mode, align_corners=False, antialias=True)


def _restores(run: Callable[[torch.Tensor, float], torch.Tensor], scale: float, like: torch.Tensor) -> bool:
    """Whether a network in the range 1 makes a shrunken or noisy picture better than interpolation, and than in 255."""
    side = like.shape[-1]
    if scale < 1 or not float(side * scale).is_integer():
        return False
    truth = _shapes(round(side * scale)).to(like.device).expand(1, like.shape[1], -1, -1).contiguous()
    if scale == 1:
        noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0)).to(like.device)
        degraded = truth + _NOISE * noise
        usual = [degraded]
    else:
        degraded = nn.functional.interpolate(truth, (side, side), mode="bicubic", antialias=True, align_corners=False)
        usual = list(_enlargements(degraded, (truth.shape[-2], truth.shape[-1])))
    errors = [_rms(run(degraded, white).detach().float().clamp(0, 1) - truth) for white in _RANGES]
    return errors[0] * _BETTER < min([errors[1], *(_rms(image - truth) for image in usual)])


def _shapes(side: int) -> torch.Tensor:
    """A picture (1,1,side,side) of discs and bars with antialiased edges on a smooth ground."""
    rows, columns = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    picture = 0.45 + 0.15 * torch.sin(5 * columns + 2 * rows)
    generator = torch.Generator().manual_seed(0)
    for number in range(14):
        angle, x, y, size, value = (float(t) for t in torch.rand(5, generator=generator))
        if number % 2:
            distance = ((columns - x).square() + (rows - y).square()).sqrt() - 0.04 - 0.14 * size
        else:
            across = (columns - x) * math.cos(6.3 * angle) + (rows - y) * math.sin(6.3 * angle)
            distance = across.abs() - 0.01 - 0.05 * size
        inside = torch.sigmoid(-2 * side * distance)
        picture = picture * (1 - inside) + inside * (0.1 + 0.8 * value)
    return picture[None, None]


def _rms(difference: torch.Tensor) -> float:
    return float(difference.square().mean().sqrt())


def _distance(out: torch.Tensor, x: torch.Tensor) -> float:
    """Root mean square distance of an output, resized to the input's size, from the input."""
    if out.shape[1] != x.shape[1]:
        return math.inf
    small = nn.functional.adaptive_avg_pool2d(out.float(), (x.shape[-2], x.shape[-1]))
    distance = _rms(small - x)
    return distance if math.isfinite(distance) else math.inf
