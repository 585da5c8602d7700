"""What a module does not say of itself, found by running it on small inputs: scale, padding, channels, frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn

from sr_hooks.core.torch_errors import one_line
from sr_hooks.errors import ForwardError, NetworkError, NoImage
from sr_hooks.images.clips import clip_of

__all__ = ["Probed", "number", "probe", "range_of", "range_seen", "trial_input", "trial_sides"]

_STEPS = (1, 2, 4, 8, 16, 32, 64)
_NEAR = 0.01  # root mean square distance of a trained network's output, in its own range, from its input
_CLEAR = 30.0  # the other range's distance is so many times as much
_FIXED = (64, 128, 256, 96, 48, 32, 192, 224, 384, 512)  # sides that networks are built for once and for all


@dataclass(frozen=True)
class Probed:
    """What was found, or was stated; see Network."""

    channels: int
    multiple: int
    scale: float
    minimum: int = 1
    square: bool = False
    frames: int = 0


def probe(
    run: Callable[[torch.Tensor], torch.Tensor],
    module: nn.Module,
    name: str,
    *,
    scale: float | None,
    multiple: int | None,
    channels: int | None,
    frames: int | None,
    minimum: int = 1,
    square: bool = False,
    device: torch.device,
) -> Probed:
    """Channels, multiple, scale, least size and frames of a network; what is not None is taken as given.

    Frames are 0 for a network of images. One that takes no image is tried on clips.

    Args:
        run: x to the output, unpadded and without a check of its size.

    Raises:
        NoImage: it returns none.
        NetworkError: no guess runs, or sizes of output and input have no fixed ratio.
    """
    failures: list[NetworkError] = []
    for count in [0, *_frame_guesses(module)] if frames is None else [frames]:
        for guess in [channels] if channels else _channel_guesses(module):
            for step, sides, least, even in _sizes(module, count, multiple, minimum, square):
                try:
                    found = _ratio(run(trial_input(count, guess, sides, device)), sides, name, scale)
                    return Probed(guess, step, found, least, even, count)
                except NoImage:
                    if scale is None:
                        raise
                    return Probed(guess, step, scale, least, even, count)  # enough for what passes its layers
                except NetworkError as error:
                    failures.append(error)
                except Exception as error:
                    failures.append(NetworkError(one_line(error)))
    what, facts = ("images or clips", ", channels= and, of a network over clips, frames=")
    if frames is not None:
        what, facts = (f"clips of {frames} frames" if frames else "images"), " and channels="
    raise NetworkError(
        f"{name} does not run on small test {what}, or returns sizes that are no multiple of theirs; set scale=, "
        f"multiple={facts} of Network, and forward= where it takes more than an image, or time behind the channels. "
        f"First fault: {_first(failures)}"
    )


def _first(failures: list[NetworkError]) -> str:
    """The first fault; of a network that runs on some sizes only, what it said where it ran."""
    ran = [error for error in failures if not isinstance(error, ForwardError)]
    return str((ran or failures)[0])


def _sizes(
    module: nn.Module, frames: int, multiple: int | None, minimum: int, square: bool
) -> Iterator[tuple[int, tuple[int, int], int, bool]]:
    """(multiple, sides to try, minimum, square), the likeliest first; at last squares of the sizes in use."""
    for step in [multiple] if multiple else _multiple_guesses(module):
        sides = trial_sides(step, frames)
        if square and minimum > 1:
            yield step, (-(-minimum // step) * step,) * 2, minimum, square  # it may take no other
        if min(sides) < minimum or square:
            side = -(-max(minimum, sides[1]) // step) * step
            sides = (side, side if square else side + step)
        yield step, sides, minimum, square
    if multiple or frames or minimum > 1 or square:
        return
    for side in _FIXED:
        yield side, (side, side), side, True


def trial_input(frames: int, channels: int, sides: tuple[int, int], device: torch.device) -> torch.Tensor:
    """A ramp (1,C,h,w), or (1,T,C,h,w) that grows brighter.

    Not a still: BasicVSR++ remembers for good that a clip was its own mirror image in time.
    """
    ramp = torch.linspace(0.2, 0.8, sides[0] * sides[1], device=device).view(1, 1, *sides).expand(1, channels, -1, -1)
    if not frames:
        return ramp
    brightness = torch.linspace(0.8, 1.2, frames, device=device) if frames > 1 else torch.ones(1, device=device)
    return clip_of(ramp, frames) * brightness.view(1, -1, 1, 1, 1)


def trial_sides(step: int, frames: int) -> tuple[int, int]:
    """A size that the next larger multiple does not divide, so that a need for it shows.

    Of clips above 32 pixels: below that, the pyramid of SPyNet's optical flow ends in nothing.
    """
    if frames:
        return (5 * step, 7 * step) if step >= 8 else (35 * step, 37 * step)
    return (3 * step, 5 * step) if step >= 8 else (17 * step, 19 * step)


def _ratio(out: torch.Tensor, sides: tuple[int, int], name: str, stated: float | None) -> float:
    ratios = [Fraction(size, side) for size, side in zip(out.shape[-2:], sides, strict=True)]
    whole = ratios[0] == ratios[1] and 1 in (ratios[0].denominator, ratios[0].numerator)
    found = number(float(ratios[0]))
    if not whole or (stated is not None and found != stated):
        why = f"scale={stated:g} was stated" if stated is not None else "that is no scale"
        raise NetworkError(
            f"{name} returned {out.shape[-2]}x{out.shape[-1]} pixels for an input of {sides[0]}x{sides[1]}: {why}"
        )
    return found


def number(scale: float) -> float:
    """A scale, as an int where it is whole."""
    if not scale > 0:
        raise NetworkError(f"scale is {scale}; it must be positive")
    return int(scale) if float(scale).is_integer() else float(scale)


def range_of(module: nn.Module) -> float:
    """255 where the module says so, or takes an 8-bit mean from its input (EDSR's `sub_mean`)."""
    if getattr(module, "rgb_range", None) == 255:
        return 255.0
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.weight.shape == (3, 3, 1, 1) and part.bias is not None:
            if float(part.bias.detach().float().abs().max()) > 2:
                return 255.0
            break
    return 1.0


def range_seen(
    run: Callable[[torch.Tensor, float], torch.Tensor], guess: float, channels: int, multiple: int, device: torch.device
) -> float:
    """1 or 255, in which a trained network gives its input back, shrunk again; the guess where that tells little.

    In the wrong range, biases and normalisations of the wrong size drown the image. Of 37 published networks with
    weights, the right range was always nearer, by a factor of 50 or more for all that were trained on [0, 255].

    Args:
        run: (x, input_range) to the output.
    """
    side = -(-48 // multiple) * multiple
    ramp = torch.linspace(0, 1, side, device=device)
    waves = 0.5 + 0.2 * torch.sin(9 * ramp)[:, None] * torch.cos(7 * ramp)[None] + 0.15 * (ramp[:, None] - ramp[None])
    x = waves.expand(1, channels, side, side).contiguous()
    try:
        errors = [_distance(run(x, white), x) for white in (1.0, 255.0)]
    except Exception:
        return guess
    found = 1.0 if errors[0] < errors[1] else 255.0
    return found if min(errors) < _NEAR and max(errors) > _CLEAR * min(errors) else guess


def _distance(out: torch.Tensor, x: torch.Tensor) -> float:
    """Root mean square distance of an output, brought to the input's size, from the input."""
    if out.shape[1] != x.shape[1]:
        return math.inf
    small = nn.functional.adaptive_avg_pool2d(out.float(), (x.shape[-2], x.shape[-1]))
    found = float((small - x).square().mean().sqrt())
    return found if math.isfinite(found) else math.inf


def _channel_guesses(module: nn.Module) -> list[int]:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            return {1: [1, 3], 3: [3, 1]}.get(part.in_channels, [3, 1, part.in_channels])
    return [3, 1]


def _frame_guesses(module: nn.Module) -> list[int]:
    """What the module says, then what networks over a fixed number of frames take.

    Not 3, unless it is said: a network that wants (N,C,T,h,w) would take three frames of three channels amiss.
    """
    said = [getattr(module, name, None) for name in ("num_frame", "num_frames", "n_frames", "num_input_frames")]
    centre = getattr(module, "center_frame_idx", None)
    said.append(2 * centre + 1 if isinstance(centre, int) else None)
    found = [value for value in said if isinstance(value, int) and not isinstance(value, bool) and value > 1]
    return list(dict.fromkeys([*found, 7, 5, 2]))


def _multiple_guesses(module: nn.Module) -> list[int]:
    guesses = list(_STEPS)
    window = getattr(module, "window_size", None)
    if isinstance(window, (tuple, list)):
        window = max(window)
    if isinstance(window, int) and window > 1:
        guesses.insert(0, window)
    return guesses
