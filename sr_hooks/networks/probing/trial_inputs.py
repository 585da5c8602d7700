"""Small inputs on which a network is first run."""

from __future__ import annotations

import torch

from sr_hooks.images.clips import clip_of

__all__ = ["trial_input", "trial_sides"]


def trial_input(frames: int, channels: int, sides: tuple[int, int], device: torch.device) -> torch.Tensor:
    """A ramp (1,C,h,w), or a clip (1,T,C,h,w) of one that grows brighter.

    No frame repeats: once BasicVSR++ was given a clip that is its own mirror image in time, it assumes that of all.
    """
    ramp = torch.linspace(0.2, 0.8, sides[0] * sides[1], device=device).view(1, 1, *sides).expand(1, channels, -1, -1)
    if not frames:
        return ramp
    brightness = torch.linspace(0.8, 1.2, frames, device=device) if frames > 1 else torch.ones(1, device=device)
    return clip_of(ramp, frames) * brightness.view(1, -1, 1, 1, 1)


def trial_sides(multiple: int, frames: int) -> tuple[int, int]:
    """A size that the next larger multiple does not divide, so that a network that needs that multiple fails.

    Clips are above 32 pixels: below, the smallest level of SPyNet's optical flow has no pixels.
    """
    if frames:
        return (5 * multiple, 7 * multiple) if multiple >= 8 else (35 * multiple, 37 * multiple)
    if multiple > 64:
        return (multiple, 3 * multiple)
    return (3 * multiple, 5 * multiple) if multiple >= 8 else (17 * multiple, 19 * multiple)
