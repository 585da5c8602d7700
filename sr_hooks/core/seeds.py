"""Random number generators from one recorded seed, independent of each other and of the global generators."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from sr_hooks.errors import OptionError

__all__ = ["frozen_streams", "generator", "torch_generator"]


def generator(seed: int, *keys: int | str) -> np.random.Generator:
    """A NumPy generator for one purpose: the same seed and keys give the same stream, other keys another one.

    For instance `generator(seed, index, "blur:2")` for what happens to image `index`: any split into batches then
    draws the same numbers.

    Raises:
        OptionError: a negative seed or key.
    """
    numbers = [_number(key) for key in (seed, *keys)]
    return np.random.default_rng(numbers)


def torch_generator(seed: int, *keys: int | str) -> torch.Generator:
    """A torch generator on the CPU for one purpose. Draw on the CPU and move: devices draw different numbers."""
    return torch.Generator().manual_seed(int(generator(seed, *keys).integers(2**62)))


@contextmanager
def frozen_streams(seed: int | None, device: torch.device) -> Iterator[None]:
    """torch's global random streams start at `seed` inside, and go on afterwards as if nothing had been drawn.

    With None they are left alone.
    """
    if seed is None:
        yield
        return
    streams = [torch.default_generator]
    if device.type == "cuda":
        streams.append(torch.cuda.default_generators[device.index or 0])
    states = [stream.get_state() for stream in streams]
    try:
        for stream in streams:
            stream.manual_seed(seed)
        yield
    finally:
        for stream, state in zip(streams, states, strict=True):
            stream.set_state(state)


def _number(key: int | str) -> int:
    if isinstance(key, str):
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    if key < 0:
        raise OptionError(f"seed {key}: seeds are 0 or more")
    return int(key)
