"""The samples of DDR: patches of ground truth degraded in every way, and patches of folders of network inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sr_hooks.degradations.parsing import make_lr
from sr_hooks.degradations.step import Degradation
from sr_hooks.errors import OptionError
from sr_hooks.figures.shrink import rgb_of
from sr_hooks.images.image_sets import cut_patches
from sr_hooks.inference.inputs import check_input, read_images
from sr_hooks.networks.network import Network

__all__ = ["Samples", "draw_samples"]

_THUMBNAILS = ((1024, 32), (4096, 16))  # up to so many inputs: the side of each picture


@dataclass(frozen=True)
class Samples:
    """Network inputs with their labels.

    Attributes:
        inputs: (n,C,h,w) float32 in [0, 1], or clips (n,T,C,h,w).
        labels: (n,) int, index into `names`.
        groups: (n,) int, the same for the degraded copies of one patch, and each image of a folder its own.
        names: of the classes: degradations, then folders.
        degradations: the first of the classes, as they were made.
        patches: patches of ground truth used.
    """

    inputs: torch.Tensor
    labels: np.ndarray
    groups: np.ndarray
    names: tuple[str, ...]
    degradations: tuple[Degradation, ...]
    patches: int

    @property
    def counts(self) -> list[int]:
        """Samples of each class."""
        return [int((self.labels == k).sum()) for k in range(len(self.names))]

    def examples(self) -> torch.Tensor:
        """(K,C,h,w): one input of each class, copies of one patch where there are such: that with most contrast.

        Of clips the middle frame.
        """
        first = np.flatnonzero(self.labels == 0)
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
        small = torch.stack([_shrunk(_middle_frame(one[None]), side)[0] for one in self.inputs])
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
    parts, labels, groups, used = [], [], [], 0
    if images is not None:
        cut = cut_patches(_of_one_length(network, images, "image"), patch, patches, seed, "image")
        used = len(cut)
        for degradation in degradations:
            parts.append(make_lr(cut, degradation, scale=network.scale, seed=seed))
            groups.append(np.arange(used))
    for label, folder in folders.items():
        images_of_folder = _of_one_length(network, folder, f"image of {label}")
        parts.append(cut_patches(images_of_folder, side, patches, seed, f"image of {label}"))
        groups.append(np.arange(len(parts[-1])) + sum(map(len, groups)))
    for index, (name, part) in enumerate(zip(names, parts, strict=True)):
        check_input(network, part)
        labels.append(np.full(len(part), index))
        if len(part) < len(names):
            raise OptionError(
                f"{len(part)} patches of {name} for {len(names)} classes are too few: give more or larger images, or "
                f"smaller patches than {patch} pixels"
            )
    if len({part.shape[1:] for part in parts}) > 1:
        raise OptionError(f"the classes have inputs of different shapes: {[tuple(p.shape[1:]) for p in parts]}")
    return Samples(torch.cat(parts), np.concatenate(labels), np.concatenate(groups), names, degradations, used)


def _of_one_length(network: Network, images: Any, what: str) -> list[torch.Tensor]:
    """Images, or clips of one length."""
    inputs = read_images(network, images, what)
    lengths = sorted({clip.shape[1] for clip in inputs}) if network.frames else []
    if len(lengths) > 1:
        raise OptionError(f"clips of {' and '.join(map(str, lengths))} frames: their features have no common size")
    return inputs
