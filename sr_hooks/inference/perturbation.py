"""Perturbation: run a network on an image with blocks of it replaced, in batches and without a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from sr_hooks.errors import ImageError
from sr_hooks.images.windows import Window
from sr_hooks.inference.batches import in_batches
from sr_hooks.inference.calibration import to_device
from sr_hooks.networks.network import Network

__all__ = ["blocks_of", "replace_blocks", "run_perturbed"]

_FEW = 64  # numbers of an output up to which they stay on the device until all outputs are measured


def blocks_of(height: int, width: int, size: int) -> list[Window]:
    """The blocks of size x size pixels that tile an image, row by row; those at the lower and right edge are cut."""
    return [
        Window(top, left, min(size, height - top), min(size, width - left))
        for top in range(0, height, size)
        for left in range(0, width, size)
    ]


def replace_blocks(image: torch.Tensor, blocks: Sequence[Window], contents: Sequence[torch.Tensor]) -> torch.Tensor:
    """(1,C,h,w) to (K,C,h,w): in copy k alone, blocks[k] (in pixels of this image) holds contents[k].

    Args:
        contents: K tensors of (C,height,width) as large as their blocks, or (C,1,1) for one colour.

    Raises:
        WindowError: a block that leaves the image.
        ImageError: not as many contents as blocks, or one that does not fit its block.
    """
    if len(image) != 1 or len(blocks) != len(contents):
        raise ImageError(f"{len(blocks)} blocks and {len(contents)} contents for {len(image)} images: give one image")
    out = image.repeat(len(blocks), 1, 1, 1)
    for index, (block, content) in enumerate(zip(blocks, contents, strict=True)):
        block.check(*image.shape[-2:])
        fits = (tuple(content.shape[-2:]) in ((block.height, block.width), (1, 1))) and content.ndim == 3
        if not fits or content.shape[0] not in (1, image.shape[1]):
            raise ImageError(
                f"content of shape {tuple(content.shape)} does not fit a block of {image.shape[1]} channels and "
                f"{block.height}x{block.width} pixels"
            )
        block.crop(out)[index] = content.to(out)
    return out


def run_perturbed(
    network: Network,
    image: torch.Tensor,
    blocks: Sequence[Window],
    content: Callable[[int], torch.Tensor],
    measure: Callable[[torch.Tensor], torch.Tensor],
    *,
    batch: int = 8,
    bar: Any = None,
) -> torch.Tensor:
    """measure(output) for the image with each block replaced in turn; memory holds one batch of copies, no more.

    Not for: replacing one block by many contents at its full price where only a small part of the output can change;
    crop the image to what the block reaches first, once a probe has proved what it reaches.

    Args:
        image: (1,C,h,w) in [0, 1].
        blocks: K rectangles of it; the same block may come many times.
        content: index 0..K-1 to what stands there, as in `replace_blocks`; called once an index, in order, so that
            contents need not exist all at once. It is called again for a batch that did not fit into memory: draw from
            `seeds.generator(seed, index)`, not from one running stream.
        measure: outputs (n,C,H,W) to n rows (n,...), for instance the PSNR of a window.
        batch: at most so many copies at once; halved where memory runs out.
        bar: a `sr_hooks.core.progress_bar` to be updated by copies.

    Returns:
        (K,...) on the CPU.
    """

    def compute(part: slice) -> torch.Tensor:
        chosen = range(part.start, part.stop)
        x = replace_blocks(image, [blocks[k] for k in chosen], [content(k) for k in chosen])
        rows = measure(network(to_device(x, network.device)))
        return rows if rows.numel() <= _FEW * len(rows) else rows.cpu()

    parts = [rows for _, rows in in_batches(len(blocks), compute, batch=batch, bar=bar)]
    return torch.cat(parts).cpu() if parts else torch.empty(0)
