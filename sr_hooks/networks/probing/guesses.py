"""Guesses at a network's channels, frames and sizes, from what its module states; the likeliest first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import nn

from sr_hooks.networks.probing.trial_inputs import trial_sides

__all__ = ["channel_guesses", "confirming_sides", "frame_guesses", "multiple_guesses", "sizes_to_try", "stated_windows"]

_STEPS = (1, 2, 4, 8, 16, 32, 64)
_OTHERS = 33  # numbers below it are tried too
_LARGEST = 512
_WINDOWS = ("window_size", "win_size", "permuted_window_size", "ws")
_FIXED = (64, 128, 256, 96, 48, 32, 192, 224, 384, 512)  # sides of the input that some networks are built for


def sizes_to_try(
    module: nn.Module, frames: int, *, multiple: int | None, minimum: int, square: bool
) -> Iterator[tuple[int, tuple[int, int], int, bool]]:
    """(multiple, sides to try, minimum, square), the likeliest first; at last squares of the sizes in use."""
    stated = multiple
    for multiple in [stated] if stated else multiple_guesses(module, frames):
        sides = trial_sides(multiple, frames)
        if square and minimum > 1:
            yield multiple, (-(-minimum // multiple) * multiple,) * 2, minimum, square  # it may take no other
        if min(sides) < minimum or square:
            side = -(-max(minimum, sides[1]) // multiple) * multiple
            sides = (side, side if square else side + multiple)
        yield multiple, sides, minimum, square
    if stated or frames or minimum > 1 or square:
        return
    for side in _FIXED:
        yield side, (side, side), side, True


def channel_guesses(module: nn.Module) -> list[int]:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            return {1: [1, 3], 3: [3, 1]}.get(part.in_channels, [3, 1, part.in_channels])
    return [3, 1]


def frame_guesses(module: nn.Module) -> list[int]:
    """The number that the module states, then numbers that networks over a fixed number of frames take.

    3 only where it is stated: a network that takes (N,C,T,h,w) would mistake three frames for three channels.
    """
    numbers = [getattr(module, name, None) for name in ("num_frame", "num_frames", "n_frames", "num_input_frames")]
    centre = getattr(module, "center_frame_idx", None)
    numbers.append(2 * centre + 1 if isinstance(centre, int) else None)
    stated = [value for value in numbers if isinstance(value, int) and not isinstance(value, bool) and value > 1]
    return list(dict.fromkeys([*stated, 7, 5, 2]))


def multiple_guesses(module: nn.Module, frames: int = 0) -> list[int]:
    """Multiples of the input's sides, such as windows of attention and stages of downsampling need them.

    The window that the network itself states comes first, then 1 (many pad by themselves), then the windows of its
    parts, powers of two, other small numbers, and windows times powers of two, as stages between windows need.
    """
    own = _windows_of(module)
    parts = stated_windows(module)
    windows = [*parts, math.lcm(*parts)] if parts else []
    others = range(3, _OTHERS) if not frames else ()
    staged = [window * factor for window in windows[-1:] for factor in (2, 4, 8, 16)]
    guesses = [*own, 1, *windows, *_STEPS, *others, *staged]
    return [guess for guess in dict.fromkeys(guesses) if guess <= _LARGEST]


def stated_windows(module: nn.Module) -> list[int]:
    """The windows of attention that parts of a network state, in ascending order."""
    return sorted({window for part in module.modules() for window in _windows_of(part, (*_WINDOWS, "split_size"))})


def confirming_sides(module: nn.Module, multiple: int) -> tuple[int, int] | None:
    """Other sides to try, where the first may suit a network by chance: one with windows, or an unusual multiple."""
    if multiple > 1 and not multiple & (multiple - 1):
        return None
    if multiple == 1 and not stated_windows(module):
        return None
    return (4 * multiple, 7 * multiple) if multiple > 7 else (11 * multiple, 14 * multiple)


def _windows_of(part: nn.Module, names: Sequence[str] = _WINDOWS) -> list[int]:
    """What the sides of a part's windows of attention divide, as far as the part states them."""
    windows = []
    for name in names:
        value = getattr(part, name, None)
        numbers = value if isinstance(value, (tuple, list)) else [value]
        if numbers and all(isinstance(number, int) and number > 0 for number in numbers):
            windows.append(math.lcm(*numbers))
    return [window for window in windows if window > 1]
