"""`compat="classsr"`: patches, PSNR and classes as ClassSR's public code has them (its faults stay, and are named)."""

from __future__ import annotations

import math

import torch

from sr_hooks.images import quantise

__all__ = ["FAULTS", "THRESHOLDS", "published_psnr"]

THRESHOLDS = (27.16882, 35.149761)
"""PSNR in dB that bounds the medium class, as the public code has it."""

FAULTS = (
    "thresholds are one network's PSNR at x4, whatever the network",
    "patches overlap, and one more ends with the image where more than 12 of 32 pixels would remain",
    "the border of the PSNR is cut from patches that the network saw without surroundings",
    "inputs and outputs are of 8 bits",
    "PSNR is read from a log of 6 digits, and 80 dB where nothing differs",
)


def published_psnr(output: torch.Tensor, truth: torch.Tensor, border: int) -> float:
    """Over RGB of 8-bit images, a border left out, rounded to the log's 6 digits; 80 where they are equal."""
    whole = [
        quantise(image)[..., border : -border or None, border : -border or None].double() for image in (output, truth)
    ]
    error = float((255 * (whole[0] - whole[1])).round().square().mean())
    return round(20 * math.log10(255 / math.sqrt(error)), 6) if error else 80.0
