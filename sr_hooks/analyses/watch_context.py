"""What a watcher knows of its training run: images, seed, folders, ranks, and copies of the network."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from sr_hooks.errors import OptionError
from sr_hooks.files.regular_files import expanded, is_file

__all__ = ["WatchContext"]


@dataclass(frozen=True)
class WatchContext:
    """What a watcher knows of its training run.

    Attributes:
        images: what the analysis looks at, each (1,C,h,w), or a clip (1,T,C,h,w), float32 in [0, 1]: inputs or ground
            truth, as `takes` says.
        image_names: a name for each of them.
        seed: for all randomness of the watcher; recorded with the results.
        folder: where the run's results go; None where nothing is written.
        base: folder of the option file, for relative paths in it.
        make_network: a new module of the watched architecture with a copy of the weights as they are at the call,
            in evaluation mode, bare and without hooks: free to be changed.
        where: how messages call the block that asked for the analysis, e.g. "x.yml: sr_hooks: lam".
        rank, world_size: of this process in a distributed run.
        total_iterations: how long the run will be, where that is known.
        log: the run's logger, for what cannot wait until a result is written.
    """

    images: tuple[torch.Tensor, ...]
    image_names: tuple[str, ...]
    seed: int
    folder: Path | None
    base: Path
    make_network: Callable[[], nn.Module]
    where: str = ""
    rank: int = 0
    world_size: int = 1
    total_iterations: int | None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("sr_hooks"))

    def file(self, name: str | Path) -> Path:
        """Find a file that the block names: by its path, or beside the option file.

        Raises:
            OptionError: the file is in neither folder.
        """
        path = expanded(name)
        for candidate in (path, self.base / path):
            if is_file(candidate):
                return candidate
        raise OptionError(f"{self.where}: no file {name}, neither in the working directory nor in {self.base}")
