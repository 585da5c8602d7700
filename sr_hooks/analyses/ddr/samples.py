"""The samples of DDR: patches of ground truth degraded in every way, and patches of folders of network inputs.

Many samples are made when they are asked for; see `draw_samples`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from sr_hooks.degradations.degraded_patches import DegradedPatches
from sr_hooks.degradations.parsing import make_lr
from sr_hooks.degradations.step import Degradation
from sr_hooks.errors import OptionError
from sr_hooks.figures.shrink import rgb_of
from sr_hooks.images.image_sets import cut_patches, draw_corners
from sr_hooks.images.patch_sets import ImageSource, Inputs, JoinedInputs, PatchSet, image_sources
from sr_hooks.inference.inputs import check_input, fit_channels, read_images
from sr_hooks.networks.network import Network
from sr_hooks.statistics.sketched_pca import are_many

__all__ = ["Samples", "draw_samples"]

_PART = 256  # patches of one part
_LOOKED = 256  # inputs among which an example is chosen, of very many samples
_THUMBNAILS = ((1024, 32), (4096, 16))  # up to so many inputs: the side of each picture


@dataclass(frozen=True)
class Samples:
    """Network inputs with their labels.

    Attributes:
        inputs: (n,C,h,w) float32 in [0, 1], or clips (n,T,C,h,w); a tensor, or made when they are asked for.
        labels: (n,) int, index into `names`.
        groups: (n,) int, the same for the degraded copies of one patch, and each image of a folder its own.
        names: of the classes: degradations, then folders.
        degradations: the first of the classes, as they were made.
        patches: patches of ground truth used.
    """

    inputs: Inputs
    labels: np.ndarray
    groups: np.ndarray
    names: tuple[str, ...]
    degradations: tuple[Degradation, ...]
    patches: int

    @property
    def counts(self) -> list[int]:
        """Samples of each class."""
        return [int((self.labels == k).sum()) for k in range(len(self.names))]

    def parts(self) -> list[np.ndarray]:
        """The rows of each part of the work: all copies of 256 patches, or 256 images of a folder."""
        copies = [np.flatnonzero(self.labels == k) for k in range(len(self.degradations))]
        rows = [np.concatenate([own[at : at + _PART] for own in copies]) for at in range(0, self.patches, _PART)]
        for k in range(len(self.degradations), len(self.names)):
            own = np.flatnonzero(self.labels == k)
            rows += [own[at : at + _PART] for at in range(0, len(own), _PART)]
        return rows

    def examples(self) -> torch.Tensor:
        """(K,C,h,w): one input of each class, copies of one patch where there are such: that with most contrast.

        Of clips the middle frame.
        """
        first = np.flatnonzero(self.labels == 0)
        if are_many(len(self.labels)):
            first = first[:_LOOKED]
        chosen = first[int(self.inputs[first].flatten(1).std(dim=1).argmax())]
        rows = []
        for k in range(len(self.names)):
            members = np.flatnonzero(self.labels == k)
            same = members[self.groups[members] == self.groups[chosen]]
            rows.append(int(same[0] if len(same) else members[0]))
        return _middle_frame(self.inputs[rows])

    def thumbnails(self) -> np.ndarray:
        """(n,3,s,s) uint8: every input made small, for people who ask what a point of the scatter plot is.

        The side s is at most 32 for 1,024 inputs and 16 for 4,096, so that they take 3 MiB at most. Of more inputs
        there are none: (0,3,1,1).
        """
        side = next((side for most, side in _THUMBNAILS if len(self.inputs) <= most), None)
        if side is None:
            return np.zeros((0, 3, 1, 1), np.uint8)
        inputs = self.inputs[:]
        small = torch.stack([_shrunk(_middle_frame(one[None]), side)[0] for one in inputs])
        pictures = np.stack([rgb_of(one) for one in small.cpu().numpy()])
        thumbnails: np.ndarray = np.round(255 * np.clip(pictures, 0, 1)).astype(np.uint8)
        return thumbnails


def _middle_frame(inputs: torch.Tensor) -> torch.Tensor:
    """(n,C,h,w) of images, or of clips (n,T,C,h,w)."""
    return inputs if inputs.ndim == 4 else inputs[:, inputs.shape[1] // 2]


def _shrunk(images: torch.Tensor, side: int) -> torch.Tensor:
    """Images (n,C,h,w) with sides of at most `side` pixels."""
    factor = side / max(images.shape[-2:])
    if factor >= 1:
        return images
    size = [max(round(factor * length), 1) for length in images.shape[-2:]]
    return torch.nn.functional.interpolate(images.float(), size=size, mode="area")


def draw_samples(
    network: Network,
    images: Any,
    degradations: tuple[Degradation, ...],
    folders: Mapping[str, Any],
    *,
    patch: int,
    patches: int,
    seed: int,
) -> Samples:
    """Cut patches, degrade each in every way, and add those of the folders, which are network inputs already.

    Where more than 20,000 samples are asked for, or the images are `ImageSource`s, samples are made when they are asked
    for, and few images are in memory at once. Above 20,000, patches are in the order of their images.

    Raises:
        OptionError: fewer than two classes, two of one name, or fewer patches than classes.
        ImageError: an image smaller than a patch, or not of the network's channels.
    """
    names = (*(d.name for d in degradations), *folders) if images is not None else tuple(folders)
    degradations = degradations if images is not None else ()
    if len(names) < 2:
        raise OptionError(f"one class ({', '.join(names) or 'none'}) has nothing to be told from: give two or more")
    if any("|" in name for name in folders):
        raise OptionError("a folder's label must not hold a |")
    if len(set(names)) < len(names):
        raise OptionError("a folder has the name of a degradation: give it another label")
    side = int(patch / network.scale)
    if side < 1:
        raise OptionError(f"patch {patch} is less than one input pixel at scale {network.scale:g}")
    many = are_many(patches * len(names))
    lazily = not network.frames and (many or any(map(_are_sources, (images, *folders.values()))))
    cut = partial(_lazy_patches if lazily else _held_patches, network, count=patches, seed=seed, many=many)
    parts: list[Inputs] = []
    groups, used = [], 0
    if images is not None:
        truths = cut(images, side=patch, what="image")
        used = len(truths)
        for degradation in degradations:
            parts.append(_degraded(truths, degradation, scale=network.scale, seed=seed))
            groups.append(np.arange(used))
    for label, folder in folders.items():
        parts.append(cut(folder, side=side, what=f"image of {label}"))
        groups.append(np.arange(len(parts[-1])) + sum(map(len, groups)))
    for name, part in zip(names, parts, strict=True):
        check_input(network, part[:1])
        if len(part) < len(names):
            raise OptionError(
                f"{len(part)} patches of {name} for {len(names)} classes are too few: give more or larger images, or "
                f"smaller patches than {patch} pixels"
            )
    if len({tuple(part.shape[1:]) for part in parts}) > 1:
        raise OptionError(f"the classes have inputs of different shapes: {[tuple(p.shape[1:]) for p in parts]}")
    labels = np.concatenate([np.full(len(part), index) for index, part in enumerate(parts)])
    return Samples(_joined(parts), labels, np.concatenate(groups), names, degradations, used)


def _are_sources(images: Any) -> bool:
    return isinstance(images, Sequence) and bool(images) and isinstance(images[0], ImageSource)


def _held_patches(
    network: Network, images: Any, *, side: int, count: int, seed: int, many: bool, what: str
) -> torch.Tensor:
    return cut_patches(_of_one_length(network, images, what), side, count, seed, what)


def _lazy_patches(
    network: Network, images: Any, *, side: int, count: int, seed: int, many: bool, what: str
) -> PatchSet:
    sources = image_sources(images, what, network.channels)
    is_grey = [network.channels == 3 and source.shape[0] == 1 for source in sources]
    shapes = [((3, *source.shape[1:]) if grey else source.shape) for source, grey in zip(sources, is_grey, strict=True)]
    corners = draw_corners(shapes, side, count, seed, what)
    if many:
        corners.sort(key=lambda corner: corner[0])
    return PatchSet(sources, corners, side, partial(fit_channels, network, what=what))


def _degraded(truths: torch.Tensor | PatchSet, degradation: Degradation, *, scale: float, seed: int) -> Inputs:
    if isinstance(truths, torch.Tensor):
        return make_lr(truths, degradation, scale=scale, seed=seed)
    return DegradedPatches(truths, degradation, scale=scale, seed=seed)


def _joined(parts: Sequence[Any]) -> Inputs:
    return torch.cat(list(parts)) if all(isinstance(part, torch.Tensor) for part in parts) else JoinedInputs(parts)


def _of_one_length(network: Network, images: Any, what: str) -> list[torch.Tensor]:
    """Images, or clips of one length."""
    inputs = read_images(network, images, what)
    lengths = sorted({clip.shape[1] for clip in inputs}) if network.frames else []
    if len(lengths) > 1:
        raise OptionError(f"clips of {' and '.join(map(str, lengths))} frames: their features have no common size")
    return inputs
