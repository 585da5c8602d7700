"""Guesses at a network's channels, frames and sizes, from what its module states; the likeliest first."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from sr_hooks.networks.probing.trial_inputs import trial_sides

__all__ = ["channel_guesses", "frame_guesses", "multiple_guesses", "sizes_to_try"]

_STEPS = (1, 2, 4, 8, 16, 32, 64)
_FIXED = (64, 128, 256, 96, 48, 32, 192, 224, 384, 512)  # sides of the input that some networks are built for


def sizes_to_try(
    module: nn.Module, frames: int, *, multiple: int | None, minimum: int, square: bool
) -> Iterator[tuple[int, tuple[int, int], int, bool]]:
    """(multiple, sides to try, minimum, square), the likeliest first; at last squares of the sizes in use."""
    stated = multiple
    for multiple in [stated] if stated else multiple_guesses(module):
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


def multiple_guesses(module: nn.Module) -> list[int]:
    guesses = list(_STEPS)
    window = getattr(module, "window_size", None)
    if isinstance(window, (tuple, list)):
        window = max(window)
    if isinstance(window, int) and window > 1:
        guesses.insert(0, window)
    return guesses
