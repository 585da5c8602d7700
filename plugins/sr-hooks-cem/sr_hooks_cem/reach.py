"""Which input pixels can move an output window at all, proved by a probe, and the crop that is enough to compute it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from sr_hooks import Network
from sr_hooks.core import torch_generator
from sr_hooks.images import Window

__all__ = ["Reach", "find_reach"]

_TOLERANCE = 200  # roundings of the number format, of the output's largest value: another size sums in another order


@dataclass(frozen=True)
class Reach:
    """Of an output window, in input pixels.

    Attributes:
        box: nothing outside it moves the window. The whole image where no smaller box could be proved.
        crop: a rectangle that, run alone, gives the window what the whole image gives it; the whole image where there
            is no other.
        proved: whether `box` leaves anything out.
        probes: forwards of the whole image that this took.
    """

    box: Window
    crop: Window
    proved: bool
    probes: int


def find_reach(network: Network, image: torch.Tensor, window: Window, *, seed: int = 0) -> Reach:
    """The reach of an output window for inputs of this image's size.

    A first box comes from the gradient of the window. That it suffices is then proved by poison: everything outside it
    is set to NaN, which any arithmetic hands on, so that a window without NaN has no path from there, whatever the
    values. Where the window is poisoned the box grows. Code that swallows NaN (a comparison, a search for the nearest)
    is caught by a second probe, with noise outside, under which the window must not move.

    The crop is the box, or somewhat more, at whole multiples of what the network pads to; it is taken only if the
    network, run on it alone, gives the window's very values, on the image and on noise.

    Args:
        image: (1,C,h,w) in [0, 1].
        window: inside the output.
    """
    return _Search(network, image.to(network.device), window, seed).result()


class _Search:
    def __init__(self, network: Network, image: torch.Tensor, window: Window, seed: int) -> None:
        self.network, self.image, self.window = network, image, window
        self.noise = torch.rand(image.shape, generator=torch_generator(seed, "reach")).to(image)
        self.whole = Window(0, 0, *image.shape[-2:])
        self.probes = 0
        self.tolerance = _TOLERANCE * torch.finfo(network.dtype).eps
        self.answers = [self._forward(x) for x in (self.image, self.noise)]

    def result(self) -> Reach:
        box = self._box()
        return Reach(box, self._crop(box), box != self.whole, self.probes)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        self.probes += 1
        with torch.no_grad():
            return self.window.crop(self.network(x)).float()

    # -- the box -----------------------------------------------------------------------------------

    def _box(self) -> Window:
        box, grown = self._gradient_box(), 0
        step = 1
        while box != self.whole:
            if self._holds(box):
                return box
            grown, step = grown + step, 2 * step
            box = _grown(box, step, self.whole)
        return self.whole

    def _gradient_box(self) -> Window:
        """Where the gradient of the window, weighed by random signs, is not zero: at most too small."""
        top, left, height, width = (side / self.network.scale for side in self.window.as_tuple())
        own = _between(math.floor(top), math.ceil(top + height), math.floor(left), math.ceil(left + width), self.whole)

        def compute() -> torch.Tensor | None:
            x = self.image.clone().requires_grad_()
            with torch.enable_grad():
                out = self.window.crop(self.network(x)).float()
            if not out.requires_grad:
                return None
            signs = torch.where(torch.rand(out.shape, generator=torch_generator(0, "signs")) < 0.5, -1.0, 1.0)
            return torch.autograd.grad((out * signs.to(out)).sum(), x, allow_unused=True)[0]

        self.probes += 1
        gradient = self.network.differentiate(compute)
        if gradient is None:
            return own
        touched = torch.nonzero((gradient != 0).any(dim=1)[0])
        if not len(touched):
            return own
        (first_row, first_column), (last_row, last_column) = (end.tolist() for end in touched.aminmax(dim=0))
        return _between(
            min(first_row, own.top),
            max(last_row + 1, own.top + own.height),
            min(first_column, own.left),
            max(last_column + 1, own.left + own.width),
            self.whole,
        )

    def _holds(self, box: Window) -> bool:
        try:
            poisoned = self._forward(self._outside(box, torch.full_like(self.image, math.nan)))
        except RuntimeError:
            return False
        if not bool(torch.isfinite(poisoned).all()):
            return False
        return self._same(self._forward(self._outside(box, self.noise)), self.answers[0])

    def _outside(self, box: Window, content: torch.Tensor) -> torch.Tensor:
        out = content.clone()
        box.crop(out).copy_(box.crop(self.image))
        return out

    def _same(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        largest = max(float(b.abs().max()), 1.0)
        return a.shape == b.shape and float((a - b).abs().max()) <= self.tolerance * largest

    # -- the crop ----------------------------------------------------------------------------------

    def _crop(self, box: Window) -> Window:
        multiple = math.lcm(self.network.multiple, _whole_step(self.network.scale))
        tried: set[Window] = set()
        for step in (multiple, 2 * multiple, math.lcm(multiple, 8), math.lcm(multiple, 64)):
            crop = _aligned(box, step, self.whole)
            if crop != self.whole and crop not in tried and self._suffices(crop):
                return crop
            tried.add(crop)
        return self.whole

    def _suffices(self, crop: Window) -> bool:
        scale = self.network.scale
        inside = Window(
            self.window.top - round(crop.top * scale),
            self.window.left - round(crop.left * scale),
            self.window.height,
            self.window.width,
        )
        for image, answer in zip((self.image, self.noise), self.answers, strict=True):
            self.probes += 1
            try:
                with torch.no_grad():
                    cropped_answer = inside.crop(self.network(crop.crop(image))).float()
            except RuntimeError:
                return False
            if not self._same(cropped_answer, answer):
                return False
        return True


def _between(top: int, bottom: int, left: int, right: int, whole: Window) -> Window:
    top, left = max(top, 0), max(left, 0)
    return Window(top, left, min(bottom, whole.height) - top, min(right, whole.width) - left)


def _grown(box: Window, by: int, whole: Window) -> Window:
    return _between(box.top - by, box.top + box.height + by, box.left - by, box.left + box.width + by, whole)


def _aligned(box: Window, step: int, whole: Window) -> Window:
    """The smallest rectangle around the box whose sides lie on multiples of step, or on the image's own edge."""

    def up(value: int) -> int:
        return -(-value // step) * step

    top, left = box.top // step * step, box.left // step * step
    return _between(top, up(box.top + box.height), left, up(box.left + box.width), whole)


def _whole_step(scale: float) -> int:
    """Input pixels that make a whole number of output pixels."""
    return 1 if scale >= 1 else round(1 / scale)
