"""Shift-tolerant metrics: two images are aligned by the best sub-pixel shift, and then compared."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from sr_hooks.errors import OptionError
from sr_hooks.images.metrics.fidelity import SMALLEST_SSIM, Colour, check_pair, cropped, luma, psnr, ssim

__all__ = ["LARGEST_SHIFT", "best_shift", "moved_back", "psnr_shift", "ssim_shift"]

Measure = Callable[..., torch.Tensor]

LARGEST_SHIFT = 16.0
"""Pixels: the largest shift that a shift-tolerant metric may undo."""

_ROUNDS = 20  # of the refinement, which stops when a step is below _STEP
_STEP = 1e-4  # pixels


def psnr_shift(
    output: torch.Tensor, target: torch.Tensor, shift: float, *, border: int = 0, colour: Colour = "rgb"
) -> torch.Tensor:
    """PSNR in dB at the best sub-pixel shift of at most `shift` pixels along each axis, of each image of a batch.

    A GAN's output is often displaced against the ground truth by part of a pixel, which costs PSNR though nobody sees
    the displacement. This metric undoes one shift of the whole image and nothing else: blur and noise cost what they
    cost in `psnr`. Where no shift helps, the value is that of `psnr`.

    Args:
        output, target, border, colour: as for `psnr`.
        shift: the largest shift in pixels, above 0 and at most `LARGEST_SHIFT`. Name the number beside the value.

    Returns:
        (N,) float64. At a shift of d pixels, the ceil(d) rows or columns that one image lacks are left out.

    Raises:
        ImageError: shapes that differ, or an image that has no pixels left within border and shift.
        OptionError: a shift that is not above 0, or above `LARGEST_SHIFT`.

    Do not use this metric where displacement itself is an error, for instance in stereo or registration.

        >>> import torch
        >>> from sr_hooks.images import psnr, psnr_shift
        >>> photo = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
        >>> displaced = photo.roll(1, dims=-1)
        >>> bool(psnr(displaced, photo) < 10), bool(psnr_shift(displaced, photo, 2) > 100)
        (True, True)
    """
    return _measured(psnr, output, target, shift, border, colour)


def ssim_shift(
    output: torch.Tensor, target: torch.Tensor, shift: float, *, border: int = 0, colour: Colour = "rgb"
) -> torch.Tensor:
    """SSIM at the shift that `psnr_shift` finds, of each image of a batch.

    Args:
        output, target, shift, border, colour: as for `psnr_shift`.

    Returns:
        (N,) float64, at most 1.

    Raises:
        ImageError, OptionError: as for `psnr_shift`; SSIM needs 11 pixels a side.
    """
    return _measured(ssim, output, target, shift, border, colour)


def best_shift(output: torch.Tensor, target: torch.Tensor, largest: float, *, border: int = 0) -> tuple[float, float]:
    """The shift (down, right) in pixels that takes the target to the output with the least squared error.

    The start is the best of three: no shift, the peak of the phase correlation, the whole-pixel shift of the least
    error. Gauss-Newton steps refine the start. Errors are measured on luma, on the pixels that every shift leaves.

    Args:
        output, target: (1,C,H,W) in [0, 1], equal shapes.
        largest: the largest shift along each axis in pixels.
        border: rows and columns left out at every edge.

    Raises:
        ImageError: shapes that differ, or no pixels left within border and shift.
    """
    check_pair(output, target)
    reach = math.ceil(largest)
    margin = max(border, reach)
    image, reference = (luma(x.detach().double())[0].mean(dim=0) for x in (output, target))
    wanted = cropped(reference, margin, SMALLEST_SSIM)
    spectrum = _Spectrum(image)

    def residual(shift: tuple[float, float]) -> torch.Tensor:
        return wanted - cropped(spectrum.moved_back(shift), margin, 1)

    def error(shift: tuple[float, float]) -> float:
        return float(residual(shift).square().mean())

    starts = [(0.0, 0.0), _whole_pixel_shift(image, wanted, margin, largest), *_phase_peak(image, reference, largest)]
    shift = min(starts, key=error)
    least = error(shift)
    for _ in range(_ROUNDS):
        slopes = torch.stack([cropped(slope, margin, 1).reshape(-1) for slope in spectrum.slopes(shift)], dim=1)
        step = (torch.linalg.pinv(slopes.T @ slopes) @ (slopes.T @ residual(shift).reshape(-1))).tolist()
        candidate = tuple(min(max(s + d, -largest), largest) for s, d in zip(shift, step, strict=True))
        value = error((candidate[0], candidate[1]))
        if not value < least:
            break
        length = max(abs(c - s) for c, s in zip(candidate, shift, strict=True))
        shift, least = (candidate[0], candidate[1]), value
        if length < _STEP:
            break
    return shift


def moved_back(image: torch.Tensor, shift: tuple[float, float]) -> torch.Tensor:
    """(N,C,H,W) moved up by shift[0] and to the left by shift[1] pixels, float64: undoes what `best_shift` finds.

    Where the image has no pixel, its mirror image stands: leave out ceil(|shift|) rows or columns there.
    """
    channels = image.detach().double().flatten(0, 1)
    return torch.stack([_Spectrum(channel).moved_back(shift) for channel in channels]).reshape(image.shape)


class _Spectrum:
    """An image (H,W), mirrored so that its period has no jump, that is moved by its Fourier transform."""

    def __init__(self, image: torch.Tensor) -> None:
        rows = torch.cat([image, image.flip(0)], dim=0)
        self.size = image.shape
        self.values = torch.fft.fft2(torch.cat([rows, rows.flip(1)], dim=1))
        down, right = (2 * math.pi * torch.fft.fftfreq(2 * n, dtype=torch.float64) for n in self.size)
        self.down, self.right = down[:, None].to(image.device), right[None].to(image.device)

    def moved_back(self, shift: tuple[float, float]) -> torch.Tensor:
        """(H,W): the image moved up by shift[0] and to the left by shift[1]."""
        return self._image(self._phase(shift))

    def slopes(self, shift: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
        """(H,W) twice: the derivative of `moved_back` by shift[0] and by shift[1]."""
        phase = self._phase(shift)
        return self._image(1j * self.down * phase), self._image(1j * self.right * phase)

    def _phase(self, shift: tuple[float, float]) -> torch.Tensor:
        return torch.exp(1j * (self.down * shift[0] + self.right * shift[1]))

    def _image(self, factor: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = torch.fft.ifft2(self.values * factor).real
        return image[: self.size[0], : self.size[1]]


def _whole_pixel_shift(image: torch.Tensor, wanted: torch.Tensor, margin: int, largest: float) -> tuple[float, float]:
    reach = math.floor(largest)
    height, width = wanted.shape
    shifts = [(down, right) for down in range(-reach, reach + 1) for right in range(-reach, reach + 1)]

    def error(shift: tuple[int, int]) -> float:
        top, left = margin + shift[0], margin + shift[1]
        return float((image[top : top + height, left : left + width] - wanted).square().mean())

    down, right = min(shifts, key=error)
    return float(down), float(right)


def _phase_peak(image: torch.Tensor, reference: torch.Tensor, largest: float) -> list[tuple[float, float]]:
    """The peak of the phase correlation within `largest`, to a whole pixel; none for an image of one value."""
    windows = [torch.hann_window(n, periodic=False, dtype=torch.float64, device=image.device) for n in image.shape]
    taper = windows[0][:, None] * windows[1][None]
    one, other = (torch.fft.fft2((x - x.mean()) * taper) for x in (image, reference))
    cross = one * other.conj()
    if not float(cross.abs().max()) > 0:
        return []
    correlation = torch.fft.ifft2(cross / cross.abs().clamp(min=1e-12)).real
    reach = min(math.floor(largest), (min(image.shape) - 1) // 2)
    near = correlation.roll((reach, reach), dims=(0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    row, column = divmod(int(near.argmax()), near.shape[1])
    return [(float(row - reach), float(column - reach))]


def _measured(
    measure: Measure, output: torch.Tensor, target: torch.Tensor, largest: float, border: int, colour: Colour
) -> torch.Tensor:
    if not 0 < largest <= LARGEST_SHIFT:
        raise OptionError(f"a shift of {largest:g} pixels: it must be above 0 and at most {LARGEST_SHIFT:g}")
    check_pair(output, target)
    count = max(len(output), len(target))
    pairs = zip(*(x.expand(count, -1, -1, -1).split(1) for x in (output, target)), strict=True)
    return torch.cat([_at_best_shift(measure, one, other, largest, border, colour) for one, other in pairs])


def _at_best_shift(
    measure: Measure, output: torch.Tensor, target: torch.Tensor, largest: float, border: int, colour: Colour
) -> torch.Tensor:
    shift = best_shift(output, target, largest, border=border)
    if shift != (0.0, 0.0):
        aligned = _aligned(output, target, shift, border)
        if bool(psnr(*aligned, colour=colour) > psnr(output, target, border=border, colour=colour)):
            return measure(*aligned, colour=colour)
    return measure(output, target, border=border, colour=colour)


def _aligned(
    output: torch.Tensor, target: torch.Tensor, shift: tuple[float, float], border: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The output moved back and the target, on the pixels within the border that both have."""
    moved = moved_back(output, shift)
    rows, columns = (
        slice(max(border, math.ceil(-d)), n - max(border, math.ceil(d)))
        for d, n in zip(shift, output.shape[-2:], strict=True)
    )
    return moved[..., rows, columns], target.double()[..., rows, columns]
