"""PSNR of the window with blocks replaced: coarse draws for all blocks in reach, fine ones where something moved."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sr_hooks import Network, Result
from sr_hooks.images import Window, psnr, quantise
from sr_hooks.inference import ExecutionPlan, blocks_of, run_perturbed
from sr_hooks.results import Cache
from sr_hooks_cem.pool import Pool
from sr_hooks_cem.reach import Reach

__all__ = ["Effects", "overlap"]

_CHUNK = 96  # forwards that are kept together: what a killed run loses at most


@dataclass
class Effects:
    """Draws of the window's PSNR for the blocks of one image.

    Args:
        image: (1,C,h,w) the input; `gt` (1,C,H,W) the ground truth.
        side: of a block, in input pixels.
        cache, key: where finished chunks are kept and the question's content; None to keep nothing.
        bar: updated by forwards.
        bits: whether outputs are rounded to 8 bits before the PSNR, as the published code does.

    Attributes:
        blocks: all of them, row by row; `draws`, block number to PSNR in dB of each of its draws, in order.
        computed, taken: forwards run, and forwards found in the cache.
    """

    network: Network
    image: torch.Tensor
    gt: torch.Tensor
    window: Window
    side: int
    reach: Reach
    pool: Pool
    plan: ExecutionPlan
    cache: Cache | None
    key: str
    bar: Any
    bits: bool = False

    def __post_init__(self) -> None:
        self.blocks = blocks_of(self.image.shape[-2], self.image.shape[-1], self.side)
        self.inside = [i for i, block in enumerate(self.blocks) if overlap(block, self.reach.box) is not None]
        self.draws: dict[int, np.ndarray] = {i: np.zeros(0) for i in self.inside}
        self.computed = self.taken = 0
        crop, scale = self.reach.crop, self.network.scale
        corner = (round(crop.top * scale), round(crop.left * scale))
        self._window = Window(
            self.window.top - corner[0], self.window.left - corner[1], self.window.height, self.window.width
        )
        self._crop = crop.crop(self.image)
        self._target = self.window.crop(self.gt)
        with torch.no_grad():
            self.base = float(self._measure(self.network(self._laid(self._crop).to(self.network.device))))

    def draw(self, blocks: Sequence[int], first: int, last: int) -> None:
        """Draws first to last - 1 of these blocks, in the order of the blocks."""
        many = max(1, _CHUNK // max(last - first, 1))
        for start in range(0, len(blocks), many):
            chunk = list(blocks[start : start + many])
            psnrs = self._chunk(chunk, first, last) if last > first else np.zeros((len(chunk), 0))
            for block, values in zip(chunk, psnrs, strict=True):
                self.draws[block] = np.concatenate([self.draws[block], values])

    def _chunk(self, blocks: list[int], first: int, last: int) -> np.ndarray:
        """(len(blocks), last - first) PSNR, from the cache where it is there."""
        name = hashlib.sha256(f"{self.key} {blocks} {first} {last}".encode()).hexdigest()
        cached = self.cache.get(name) if self.cache is not None else None
        size = len(blocks) * (last - first)
        if cached is not None and cached.arrays["psnr"].shape == (len(blocks), last - first):
            self.taken += size
            self.bar.update(size)
            return cached.arrays["psnr"]
        values = self._run([(block, draw) for block in blocks for draw in range(first, last)])
        psnrs = values.reshape(len(blocks), last - first)
        self.computed += size
        if self.cache is not None:
            self.cache.put(name, Result("cem-part", {"psnr": psnrs}, {"blocks": blocks, "draws": [first, last]}))
        return psnrs

    def _run(self, items: list[tuple[int, int]]) -> np.ndarray:
        """PSNR for each (block, draw); only what of a block lies in the crop is replaced, since no more matters."""
        crop = self.reach.crop
        parts = [overlap(self.blocks[block], crop) for block, _ in items]
        places = [Window(p.top - crop.top, p.left - crop.left, p.height, p.width) for p in parts if p is not None]

        def content(index: int) -> torch.Tensor:
            (block, draw), whole, part = items[index], self.blocks[items[index][0]], parts[index]
            assert part is not None
            patch = self.pool.patch(block, draw, whole.height, whole.width)
            top, left = part.top - whole.top, part.left - whole.left
            return patch[:, top : top + part.height, left : left + part.width]

        image = self._laid(self._crop)
        values = run_perturbed(self.network, image, places, content, self._measure, batch=self.plan.batch, bar=self.bar)
        return values.double().numpy()

    def _measure(self, output: torch.Tensor) -> torch.Tensor:
        part = self._window.crop(output).float().clamp(0, 1)
        return psnr(quantise(part) if self.bits else part, self._target.to(output.device))

    def _laid(self, x: torch.Tensor) -> torch.Tensor:
        return self.plan.lay_out(x)


def overlap(a: Window, b: Window) -> Window | None:
    """What two rectangles share."""
    top, left = max(a.top, b.top), max(a.left, b.left)
    bottom, right = min(a.top + a.height, b.top + b.height), min(a.left + a.width, b.left + b.width)
    return Window(top, left, bottom - top, right - left) if bottom > top and right > left else None
