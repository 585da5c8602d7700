"""Batches: compute on many inputs, a batch at a time and without a graph; out of memory halves the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import torch

from sr_hooks.errors import OptionError
from sr_hooks.inference.memory.fallback import attempt

__all__ = ["groups", "in_batches"]

T = TypeVar("T")


def in_batches(count: int, compute: Callable[[slice], T], *, batch: int, bar: Any = None) -> Iterator[tuple[slice, T]]:
    """compute(slice) for items 0 to count, `batch` at a time, in order, under no_grad; with the slice of each.

    Where memory runs out the batch is halved, for good, and the same items are computed again. One item that does not
    fit raises the error of torch; within an analysis that error ends in another way to compute, or in one line.

    Args:
        bar: updated by how many items were done; see `sr_hooks.core.progress_bar`.
    """
    if batch < 1:
        raise OptionError(f"batch is {batch}: it must be at least 1")
    done = 0
    while done < count:
        part = slice(done, min(done + batch, count))
        tried = attempt(partial(_without_graph, compute, part))
        if tried.ran_out and part.stop - part.start > 1:
            batch = (part.stop - part.start) // 2
            continue
        yield part, tried.result()
        done = part.stop
        if bar is not None:
            bar.update(part.stop - part.start)


def _without_graph(compute: Callable[[slice], T], part: slice) -> T:
    with torch.no_grad():
        return compute(part)


def groups(images: Iterable[torch.Tensor], batch: int) -> Iterator[torch.Tensor]:
    """Batches of at most `batch` images, in order, from images or batches (N,C,h,w) of any sizes; lazily.

    A new size begins a new batch.
    """
    waiting: list[torch.Tensor] = []
    for batch_or_image in images:
        for image in batch_or_image.split(1):
            if waiting and (len(waiting) == batch or waiting[0].shape != image.shape):
                yield torch.cat(waiting)
                waiting = []
            waiting.append(image)
    if waiting:
        yield torch.cat(waiting)
