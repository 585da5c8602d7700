"""HyRA (arXiv 2405.07919): a network's output split into a linear part, from its impulse response, and the rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

import sr_hooks

__all__ = ["Response", "impulse_response", "linear_part"]


@dataclass(frozen=True)
class Response:
    """The impulse response of a network of whole scale s.

    Attributes:
        kernel: (C_in,C_out,k,k): what one white pixel of one channel on black adds to the output.
        offset: output pixels from the kernel's top left corner to the white pixel's own.
        black: (C_out,s,s) the output for a black image, the mean over all input pixels.
    """

    kernel: torch.Tensor
    offset: int
    black: torch.Tensor


def impulse_response(network: sr_hooks.Network, side: int) -> Response | None:
    """The response to one white pixel in the middle of side x side black ones; None for a scale that is not whole.

    The published code makes all channels white at once. Here each has its own impulse, so that the split of a network
    that is linear leaves no rest.
    """
    scale = round(network.scale)
    if abs(network.scale - scale) > 1e-9 or scale < 1 or network.frames:
        return None
    black = torch.zeros(1, network.channels, side, side, device=network.device)
    with torch.no_grad():
        without = network(black).double()
        rows = []
        for channel in range(network.channels):
            image = black.clone()
            image[:, channel, side // 2, side // 2] = 1
            rows.append((network(image).double() - without)[0])
    return Response(torch.stack(rows), side // 2 * scale, _cells(without[0], scale))


def linear_part(response: Response, lr: torch.Tensor, scale: int) -> torch.Tensor:
    """(1,C_out,H,W) the linear part of the output of (1,C_in,h,w): zero-stuffed input * kernel, its border mirrored."""
    side = response.kernel.shape[-1]
    reach = side // scale
    pad = [min(reach, n - 1) for n in lr.shape[-2:]]
    padded = F.pad(lr.double(), (pad[1], pad[1], pad[0], pad[0]), mode="reflect")[0]
    stuffed = padded.new_zeros(padded.shape[0], *(scale * n for n in padded.shape[1:]))
    stuffed[:, ::scale, ::scale] = padded
    full = _convolved(stuffed, response.kernel)
    top, left = (response.offset + scale * p for p in pad)
    height, width = (scale * n for n in lr.shape[-2:])
    return full[None, :, top : top + height, left : left + width] + response.black.repeat(1, *lr.shape[-2:])


def _convolved(image: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """The full convolution (C_out,H+k-1,W+k-1) of (C_in,H,W) and (C_in,C_out,k,k), by FFT.

    A transposed convolution in float64 unfolds the kernel at every pixel: 1.5 GB for an input of 64x64 pixels.
    """
    size = [n + kernel.shape[-1] - 1 for n in image.shape[1:]]
    spectrum = torch.fft.rfft2(image, s=size)[:, None] * torch.fft.rfft2(kernel, s=size)
    return torch.fft.irfft2(spectrum.sum(dim=0), s=size)


def _cells(image: torch.Tensor, scale: int) -> torch.Tensor:
    """(C,H,W) to (C,s,s): the mean over the cells of s x s output pixels, one an input pixel."""
    channels, height, width = image.shape
    return image.reshape(channels, height // scale, scale, width // scale, scale).mean(dim=(1, 3))
