"""Guesses at a network's channels, frames and sizes, from what its module states; the likeliest first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from sr_hooks.networks.probing.trial_inputs import trial_sides

__all__ = [
    "ENOUGH",
    "SMALL",
    "channel_guesses",
    "confirming_sides",
    "frame_guesses",
    "multiple_guesses",
    "own_windows",
    "sides_beside",
    "sizes_to_try",
    "stated_windows",
    "windows_of_arguments",
]

_STEPS = (1, 2, 4, 8, 16, 32, 64)
_OTHERS = 33  # numbers below it are tried too
_LARGEST = 512
_WINDOWS = ("window_size", "win_size", "permuted_window_size", "ws")
_ALL_WINDOWS = (*_WINDOWS, "split_size", "window_sizes")
_MOST_PAIRS = 8  # of sizes that are tried of a network with windows of several sizes
_FIXED = (64, 128, 256, 96, 48, 32, 192, 224, 384, 512)  # sides of the input that some networks are built for


def sizes_to_try(
    module: nn.Module, frames: int, *, multiple: int | None, minimum: int, square: bool, windows: Sequence[int] = ()
) -> Iterator[tuple[int, tuple[int, int], int, bool]]:
    """(multiple, sides to try, minimum, square), the likeliest first; at last squares of the sizes in use.

    Args:
        windows: those that the arguments of the network state.
    """
    stated = multiple
    for multiple in [stated] if stated else multiple_guesses(module, frames, windows):
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


def multiple_guesses(module: nn.Module, frames: int = 0, windows: Sequence[int] = ()) -> list[int]:
    """Multiples of the input's sides, such as windows of attention and stages of downsampling need them.

    The window that the network itself states comes first, then 1 (many pad by themselves), then the windows of its
    parts and of its arguments, powers of two, other small numbers, and windows times powers of two, as stages between
    windows need.
    """
    parts = stated_windows(module, windows)
    together = [*parts, math.lcm(*parts)] if parts else []
    others = range(3, _OTHERS) if not frames else ()
    staged = [window * factor for window in together[-1:] for factor in (2, 4, 8, 16)]
    guesses = [*own_windows(module), 1, *together, *_STEPS, *others, *staged]
    return [guess for guess in dict.fromkeys(guesses) if guess <= _LARGEST]


def own_windows(module: nn.Module) -> list[int]:
    """The windows of attention that a network itself states, not its parts."""
    return _windows_of(module)


def stated_windows(module: nn.Module, others: Sequence[int] = ()) -> list[int]:
    """The windows of attention that parts of a network state, and `others`, in ascending order."""
    return sorted({window for part in module.modules() for window in _windows_of(part, _ALL_WINDOWS)} | {*others})


def windows_of_arguments(arguments: Mapping[str, Any] | None) -> tuple[int, ...]:
    """The windows of attention that arguments of a network state, of an option file or of keywords, at any depth."""
    windows: set[int] = set()
    for name, value in (arguments or {}).items():
        if isinstance(value, Mapping):
            windows |= {*windows_of_arguments(value)}
        elif name in _ALL_WINDOWS:
            windows |= {math.lcm(*sides)} if (sides := _sides(value)) else set()
    return tuple(sorted(windows))


def confirming_sides(module: nn.Module, multiple: int) -> list[tuple[int, int]]:
    """Other sizes to try, where the first may suit a network by chance.

    These are networks with windows, or with an unusual multiple. A network whose windows have several sides, and that
    pads to one of them, runs on some sizes only: all sizes that it may pad to are tried.
    """
    sides = sorted({side for part in module.modules() for side in _sides_of(part, _ALL_WINDOWS)})
    if (multiple > 1 and not multiple & (multiple - 1)) or (multiple == 1 and not sides):
        pairs = []
    else:
        pairs = [(4 * multiple, 7 * multiple) if multiple > 7 else (22 * multiple, 29 * multiple)]
    return [*pairs, *_sides_between(sides, multiple)]


def sides_beside(multiple: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two sizes that are no multiples: one above `multiple`, and one below it."""
    return (2 * multiple + 1, 3 * multiple - 1), (max(multiple - 1, 1), max(multiple - 2, 1))


SMALL = (11, 14)
"""A size that a network with windows may refuse though it takes any larger one; then the minimum is `ENOUGH`."""
ENOUGH = 16


def _sides_between(sides: Sequence[int], multiple: int) -> list[tuple[int, int]]:
    """Pairs of multiples of `multiple`, one below each size that a network with windows of these sides may pad to."""
    common = math.lcm(*sides) if sides else 1
    if common in sides or multiple % common == 0:
        return []
    start = common * -(-2 * max(sides) // common)
    padded = {size for side in sides for size in range(start + side, start + common + 1, side)}
    sizes = sorted({size // multiple * multiple for size in padded})
    pairs = list(zip(sizes[::2], [*sizes[1::2], sizes[0]], strict=False))
    return pairs[:: -(-len(pairs) // _MOST_PAIRS)]


def _windows_of(part: nn.Module, names: Sequence[str] = _WINDOWS) -> list[int]:
    """What the sides of a part's windows of attention divide, as far as the part states them."""
    return [math.lcm(*sides) for name in names if (sides := _sides(getattr(part, name, None)))]


def _sides_of(part: nn.Module, names: Sequence[str]) -> list[int]:
    return [side for name in names for side in _sides(getattr(part, name, None))]


def _sides(value: Any) -> list[int]:
    """The sides of a window of attention with more than one pixel; none where a value is no window."""
    sides = list(value) if isinstance(value, (tuple, list)) else [value]
    whole = all(type(side) is int and side > 0 for side in sides)
    return sides if whole and sides and max(sides) > 1 else []
