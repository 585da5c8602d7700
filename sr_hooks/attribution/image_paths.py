"""Image paths: from a baseline without the information to the image, along which the gradient is integrated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from sr_hooks.core import registry as plugins
from sr_hooks.errors import ImageError, OptionError, nearest
from sr_hooks.hookspecs import hookimpl
from sr_hooks.images.image import blur, numbers_beside, read_image, upsample
from sr_hooks.images.image_sets import image_files
from sr_hooks.images.metrics import luma
from sr_hooks.images.windows import Box

__all__ = [
    "BlurPath",
    "CustomPath",
    "ExpectedPath",
    "ImagePath",
    "LinearPath",
    "PerFrame",
    "Within",
    "curves_of",
    "make_path",
]


_EXPECTED = 8  # images of a folder, where no other number is named


class ImagePath(ABC):
    """A curve of images x(t), t from 0 (baseline) to 1 (the image itself).

    Attributes:
        name: how results call it.
        reach: how many pixels around a pixel its values depend on; None where a pixel may depend on all of the image.
        members: the curves, where the attribution is the mean over several; see `curves_of`.
    """

    name = "path"
    reach: int | None = None
    members: Sequence[ImagePath] = ()

    @abstractmethod
    def __call__(self, image: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
        """(1,C,h,w) and K times to (K,C,h,w); at t=1 the image exactly."""


class BlurPath(ImagePath):
    """The path of LAM, `blur:SIGMA`: Gaussian blur of std sigma * (1 - t) input pixels, 9x9 kernel, reflect-101 border.

    Examples:
        >>> import torch
        >>> from sr_hooks.attribution import make_path
        >>> image = torch.rand(1, 3, 16, 16)
        >>> points = make_path("blur:1.2")(image, [0.0, 0.5, 1.0])
        >>> points.shape, torch.equal(points[2:], image), bool(points[0].std() < points[1].std())
        (torch.Size([3, 3, 16, 16]), True, True)
    """

    reach = 4

    def __init__(self, sigma: float = 1.2) -> None:
        if not sigma > 0:
            raise ValueError("the blur's std must be above 0")
        self.name, self.sigma = f"blur:{sigma:g}", sigma

    def __call__(self, image: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
        return blur(image, [self.sigma * (1 - t) for t in times], size=9)


class LinearPath(ImagePath):
    """The straight line from a baseline image to the image, as in integrated gradients (arXiv 1703.01365).

    Examples:
        >>> import torch
        >>> from sr_hooks.attribution import LinearPath
        >>> path = LinearPath("linear:white", torch.ones_like)
        >>> path(torch.zeros(1, 3, 4, 4), [0.0, 0.25, 1.0])[:, 0, 0, 0].tolist()
        [1.0, 0.75, 0.0]
    """

    def __init__(self, name: str, baseline: Callable[[torch.Tensor], torch.Tensor], reach: int | None = None) -> None:
        self.name, self.baseline, self.reach = name, baseline, reach

    def __call__(self, image: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
        start = self.baseline(image)
        t = numbers_beside(image, times).to(image.dtype).view(-1, 1, 1, 1)
        return start * (1 - t) + image * t


class ExpectedPath(ImagePath):
    """Expected gradients (Erion et al., arXiv 1906.10670): the mean over lines from several images to the image.

    Each line is integrated on its own, where the paper draws one point of a drawn line at a time.

    Args:
        baselines: images (1,C,H,W) in [0, 1]. Of one that is larger than the explained image a part is drawn by seed;
            one that is smaller is enlarged.

    Examples:
        >>> from sr_hooks.attribution import make_path
        >>> from sr_hooks.demo import photographs
        >>> path = make_path(f"expected:{photographs()[0].parent}:2")
        >>> path.name, len(path.members)
        ('expected:photos', 2)
    """

    def __init__(self, name: str, baselines: Sequence[torch.Tensor], seed: int) -> None:
        self.name = name
        self.members = [
            LinearPath(name, lambda image, index=index, other=other: fitted(other, image, [seed, index]))  # type: ignore[misc]
            for index, other in enumerate(baselines)
        ]

    def __call__(self, image: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
        raise OptionError(f"the path {self.name} is the mean of {len(self.members)} lines, and no single curve")


class CustomPath(ImagePath):
    """The path made of a function (image, t) -> image of the same shape. At t = 1 it must return the image itself.

    Examples:
        >>> import torch
        >>> from sr_hooks.attribution import make_path
        >>> brighter = make_path(lambda image, t: image * t)
        >>> brighter(torch.ones(1, 1, 2, 2), [0.0, 0.5])[:, 0, 0, 0].tolist()
        [0.0, 0.5]
    """

    def __init__(self, function: Callable[[torch.Tensor, float], torch.Tensor]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def __call__(self, image: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
        points = [self.function(image, t) for t in times]
        for t, point in zip(times, points, strict=True):
            if not isinstance(point, torch.Tensor) or point.shape != image.shape:
                raise OptionError(f"the path {self.name} must return a tensor of shape {tuple(image.shape)} at t={t:g}")
            if t == 1 and not torch.allclose(point, image, atol=1e-5):
                raise OptionError(f"the path {self.name} must give the image itself at t=1")
        return torch.cat(points)


class Within(ImagePath):
    """The part of another path's images inside a box; computed from that part alone where the path's reach allows."""

    def __init__(self, path: ImagePath, box: Box) -> None:
        self.path, self.box, self.name, self.reach = path, box, path.name, path.reach

    def __call__(self, image: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
        box, height, width = self.box, image.shape[-2], image.shape[-1]
        margin = max(height, width) if self.reach is None else self.reach
        top, left = max(box.top - margin, 0), max(box.left - margin, 0)
        near = image[..., top : box.bottom + margin, left : box.right + margin]
        points = self.path(near.contiguous(), times)
        return points[..., box.top - top : box.bottom - top, box.left - left : box.right - left]


class PerFrame(ImagePath):
    """The path of images on each frame of a clip: (1,T,C,h,w) and K times to (K,T,C,h,w)."""

    def __init__(self, path: ImagePath) -> None:
        self.path, self.name, self.reach = path, path.name, path.reach

    def __call__(self, image: torch.Tensor, times: Sequence[float]) -> torch.Tensor:
        return torch.stack([self.path(frame, times) for frame in image.unbind(1)], dim=1)


def curves_of(path: ImagePath) -> Sequence[ImagePath]:
    """The curves that a path is the mean of: mostly itself alone."""
    if isinstance(path, PerFrame):
        return [PerFrame(curve) for curve in curves_of(path.path)]
    return path.members or (path,)


def make_path(path: str | ImagePath | Callable[..., Any], *, seed: int = 0) -> ImagePath:
    """Return the ImagePath that a text, a function or an ImagePath stands for.

    Args:
        path: a text `name` or `name:argument`; a function, see `CustomPath`; or an ImagePath, which is returned.
        seed: of paths that begin at a random image, 0 or more.

    Raises:
        OptionError: there is no such path, or the argument is bad.

    Examples:
        >>> from sr_hooks.attribution import make_path
        >>> [make_path(text).name for text in ("blur", "linear:blur", "black", "mean", "gaussian", "uniform:0.3")]
        ['blur:1.2', 'linear:blur', 'linear:black', 'linear:mean', 'gaussian:0.1', 'uniform:0.3']
    """
    if isinstance(path, ImagePath):
        return path
    if callable(path):
        return CustomPath(path)
    name, _, argument = str(path).partition(":")
    known = plugins.contributions("register_paths")
    if name not in known:
        raise OptionError(f"no path {name!r}; {nearest(name, known)}")
    with plugins.blamed("register_paths", name, f"path {path}"):
        try:
            return cast("ImagePath", known[name](argument or None, seed))
        except (ValueError, TypeError) as error:
            raise OptionError(f"path {path!r}: {error}") from None


def _noise(kind: str, argument: str | None, seed: int) -> ImagePath:
    amount = float(argument or (0.1 if kind == "gaussian" else 0.2))
    if not amount > 0:
        raise ValueError("the amount of noise must be above 0")

    def baseline(image: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        draw = torch.randn if kind == "gaussian" else lambda *a, **k: torch.rand(*a, **k) * 2 - 1
        return image + amount * draw(image.shape, generator=generator).to(image)

    return LinearPath(f"{kind}:{amount:g}", baseline)


def fitted(other: torch.Tensor, image: torch.Tensor, seed: Sequence[int]) -> torch.Tensor:
    """A part of another image (1,C,H,W), drawn by seed, as large as the image; enlarged first where it is smaller."""
    if other.shape[1] != image.shape[1]:
        if image.shape[1] != 1:
            raise ImageError(f"a baseline has {other.shape[1]} channels, and the image {image.shape[1]}")
        other = luma(other)
    height, width = image.shape[-2:]
    factor = max(height / other.shape[-2], width / other.shape[-1])
    if factor > 1:
        size = max(round(other.shape[-2] * factor), height), max(round(other.shape[-1] * factor), width)
        other = upsample(other, size).clamp(0, 1)
    rng = np.random.default_rng(list(seed))
    top, left = rng.integers(other.shape[-2] - height + 1), rng.integers(other.shape[-1] - width + 1)
    return other[..., top : top + height, left : left + width].to(image)


def _expected(argument: str | None, seed: int) -> ImagePath:
    folder, _, count = (argument or "").rpartition(":")
    if not folder or not count.isdigit():
        folder, count = argument or "", str(_EXPECTED)
    if not folder or int(count) < 1:
        raise ValueError("it is expected:FOLDER[:COUNT], a folder of images as the network takes them")
    files = image_files(folder)
    order = np.random.default_rng([seed, len(files)]).permutation(len(files))[: int(count)]
    return ExpectedPath(f"expected:{Path(folder).name}", [read_image(files[i]) for i in sorted(order)], seed)


_BASELINES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "black": torch.zeros_like,
    "mean": lambda image: image.mean(dim=(2, 3), keepdim=True).expand_as(image),
    "blur": lambda image: blur(image, [1.2], size=9),
    "maxdistance": lambda image: (image < 0.5).to(image),  # of all images in [0, 1] the farthest (Distill 2020)
}


def _linear(argument: str | None, seed: int) -> ImagePath:
    kind = argument or "black"
    if kind not in _BASELINES:
        raise ValueError(f"a line starts from {', '.join(_BASELINES)}")
    return LinearPath(f"linear:{kind}", _BASELINES[kind], reach={"black": 0, "blur": 4, "maxdistance": 0}.get(kind))


@hookimpl
def register_paths() -> dict[str, Callable[[str | None, int], ImagePath]]:
    return {
        "blur": lambda argument, seed: BlurPath(float(argument or 1.2)),
        "linear": _linear,
        "black": lambda argument, seed: _linear("black", seed),
        "mean": lambda argument, seed: _linear("mean", seed),
        "gaussian": lambda argument, seed: _noise("gaussian", argument, seed),
        "uniform": lambda argument, seed: _noise("uniform", argument, seed),
        "expected": _expected,
    }
