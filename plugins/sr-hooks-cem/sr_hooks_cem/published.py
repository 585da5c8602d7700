"""`compat="cem"`: the published procedure as it is, for comparing values and counts with the paper's.

Its faults stay, and the verdict names them: images of 8 bits; patches with red and blue exchanged, shrunk without
antialiasing, not degraded; counts without any interval; fine patches that replace the coarse ones.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from sr_hooks import Network, Result
from sr_hooks.core import generator
from sr_hooks.errors import OptionError
from sr_hooks.images import Window, quantise
from sr_hooks_cem.pool import Pool
from sr_hooks_cem.reach import Reach
from sr_hooks_cem.verdict import compared_with_lam

__all__ = ["PublishedPool", "check_published", "judge_published", "published_input", "published_reach"]

FAULTS = (
    "red and blue of the patches are exchanged",
    "patches are shrunk without antialiasing and not degraded",
    "images are rounded to 8 bits",
    "no interval tells an effect from chance",
    "its table counts the window's own blocks as positive",
)


class PublishedPool(Pool):
    """Whole images of the pool, each shrunk to the block, red and blue exchanged, 8 bits."""

    def _prepare(self, network: Network, images: list[torch.Tensor], degradation: str) -> list[torch.Tensor]:
        return [quantise(image).flip(1) for image in images]

    def patch(self, block: int, draw: int, height: int, width: int) -> torch.Tensor:
        """(C,height,width) in [0, 1]: a random image, shrunk by OpenCV bicubically, without antialiasing."""
        image = self.inputs[int(generator(self.seed, "cem", block, draw).integers(len(self.inputs)))]
        import cv2

        planes = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in _bytes(image[0])]
        return torch.from_numpy(np.stack(planes)).float() / 255


def check_published(lr: torch.Tensor, side: int) -> None:
    """Refuse inputs that the published code cannot take."""
    height, width = lr.shape[-2:]
    if height != width or height % side:
        raise OptionError(
            f"compat='cem' is the published procedure, which takes square inputs of whole blocks: this one has "
            f"{height}x{width} pixels and blocks of {side}; give crop, in ground-truth pixels"
        )


def published_input(
    network: Network, lr: torch.Tensor, gt: torch.Tensor, *, ready: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Input and ground truth of 8 bits; where the input is not ready-made, Pillow shrinks the ground truth."""
    gt = quantise(gt)
    if ready or network.scale <= 1:
        return quantise(lr), gt
    from PIL import Image

    size = (lr.shape[-1], lr.shape[-2])
    planes = [Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC) for plane in _bytes(gt[0])]
    return torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))[None].float() / 255, gt


def _bytes(image: torch.Tensor) -> np.ndarray:
    return image.mul(255).round().byte().cpu().numpy()


def published_reach(network: Network, lr: torch.Tensor, window: Window, reach: Reach) -> Reach:
    """The same reach; its crop only where it gives the window's very bits, or 8-bit roundings would differ."""
    whole, scale = Window(0, 0, *lr.shape[-2:]), network.scale
    crop = reach.crop
    inside = Window(
        window.top - round(crop.top * scale), window.left - round(crop.left * scale), window.height, window.width
    )
    with torch.no_grad():
        x = lr.to(network.device)
        equal = torch.equal(inside.crop(network(crop.crop(x))), window.crop(network(x)))
    return reach if equal else dataclasses.replace(reach, crop=whole)


def judge_published(result: Result, tolerance: float, scale: float) -> None:
    """Effects below the tolerance become 0; the counts, the published table's and the verdict are added."""
    effect, side = result.arrays["effect"], result.scalars["block_side"]
    effect[np.abs(effect) < tolerance] = 0
    top, left, height, width = result.scalars["window"]
    unit = round(side * scale)
    own = np.zeros(effect.shape, bool)
    own[top // unit : (top + height) // unit, left // unit : (left + width) // unit] = True
    result.arrays["own"] = own
    helps, harms = int((effect[~own] > 0).sum()), int((effect[~own] < 0).sum())
    result.scalars |= {
        "helping": helps,
        "harming": harms,
        "own_blocks": int(own.sum()),
        "own_helping": int((effect[own] > 0).sum()),
        "own_harming": int((effect[own] < 0).sum()),
        "zero": int((effect[~own] == 0).sum()),
        "table": {"negative": harms, "positive": helps + int(own.sum()), "zero": int((effect[~own] == 0).sum())},
        "largest_effect": float(effect[~own].max()) if (~own).any() else 0.0,
        "smallest_effect": float(effect[~own].min()) if (~own).any() else 0.0,
        "compat": "cem",
        "faults": list(FAULTS),
    }
    result.verdict = (
        f"published procedure: {helps} blocks outside the window help and {harms} harm by {tolerance:g} dB or more, "
        f"{result.scalars['zero']} do not; the window's own {int(own.sum())} blocks are left out, and the published "
        f"table adds them to the positive ones ({helps + int(own.sum())}); faults that stay: {'; '.join(FAULTS[:4])}"
        f"{compared_with_lam(result.scalars)}."
    )
