"""Replacements for a block of the input: patches of other photographs, degraded as the input was."""

from __future__ import annotations

from typing import Any

import torch

from sr_hooks.core import generator
from sr_hooks.degradations import make_lr
from sr_hooks.demo import photographs
from sr_hooks.errors import ImageError
from sr_hooks.images import read_image
from sr_hooks.inference import prepare_input
from sr_hooks.networks import Network

__all__ = ["Pool"]


class Pool:
    """Input-sized photographs to cut patches from, at places that follow from seed, block and draw alone.

    Args:
        images: ground truth: files, a folder, tensors; None for the photographs that sr_hooks ships.

    Raises:
        ImageError: an image of another channel count.
    """

    def __init__(self, network: Network, images: Any, degradation: str, seed: int) -> None:
        if images is None:
            photos = [read_image(path) for path in photographs()]
            images = [photo.mean(dim=1, keepdim=True) for photo in photos] if network.channels == 1 else photos
        images = prepare_input(network, images, what="the pool's image", clips=False).images
        self.seed = seed
        self.inputs = self._prepare(network, images, degradation)

    def _prepare(self, network: Network, images: list[torch.Tensor], degradation: str) -> list[torch.Tensor]:
        return [
            make_lr(image, degradation, scale=network.scale, seed=self.seed, first=1000 + i)
            for i, image in enumerate(images)
        ]

    def check(self, side: int) -> None:
        """Refuse images smaller than a block of so many input pixels."""
        for image in self.inputs:
            if min(image.shape[-2:]) < side:
                raise ImageError(
                    f"an image of the pool has {image.shape[-2]}x{image.shape[-1]} input pixels, less than a block of "
                    f"{side}: leave it out or take a smaller block"
                )

    def patch(self, block: int, draw: int, height: int, width: int) -> torch.Tensor:
        """(C,height,width) in [0, 1]: from a random position of a random image."""
        rng = generator(self.seed, "cem", block, draw)
        image = self.inputs[int(rng.integers(len(self.inputs)))]
        top = int(rng.integers(image.shape[-2] - height + 1))
        left = int(rng.integers(image.shape[-1] - width + 1))
        return image[0, :, top : top + height, left : left + width]
