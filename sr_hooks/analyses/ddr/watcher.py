"""DDR in a training run: the same samples at every due iteration, drawn on the same two axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch

from sr_hooks.analyses.base import Analysis, Watcher, execute
from sr_hooks.analyses.ddr.measure import measure
from sr_hooks.analyses.ddr.options import DdrOptions
from sr_hooks.analyses.ddr.result import DdrResult
from sr_hooks.analyses.ddr.samples import Samples, draw_samples
from sr_hooks.analyses.watch_context import WatchContext
from sr_hooks.degradations.parsing import parse_degradations
from sr_hooks.files.regular_files import is_folder
from sr_hooks.hooks.layer_list import resolve
from sr_hooks.hooks.taps import parse_layers
from sr_hooks.images.image_sets import parse_folders
from sr_hooks.networks.network import Network
from sr_hooks.statistics.random_projection import SIZE, Sketch, principal_frame

__all__ = ["DdrWatcher"]


@dataclass(frozen=True)
class _Probe:
    samples: Samples
    look: Callable[[str, int, torch.Tensor], None]


class _ProbeDdr(Analysis[DdrOptions]):
    """DDR of samples that are drawn already."""

    name = "ddr"
    options_type = DdrOptions
    result_type = DdrResult
    takes = "hr"

    def run(self, network: Network, images: _Probe, options: DdrOptions) -> DdrResult:
        return measure(network, images.samples, options, images.look)


class DdrWatcher(Watcher):
    """Watches CHI layer by layer on a probe set that the seed fixes before training.

    Every result also holds, for the i-th layer, `sketch_i` (n,512), the features under one linear map that is the same
    at every iteration, and `frame_i` (n,2), its picture: the two principal axes of the sketches at the first due
    iteration. `sr-hooks show RUN --gif FILE` films the sketches on axes common to all iterations.
    """

    def __init__(self, kind: type[Analysis[Any]], options: Any, context: WatchContext) -> None:
        super().__init__(kind, options, context)
        self.probe_options: DdrOptions = replace(options, seed=options.seed or context.seed)
        self.samples: Samples | None = None
        self.frames: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def check(self, network: Network) -> None:
        """Draw the probe set and find the layers, so that what cannot be answered is refused before training."""
        options = self.probe_options
        folders = {label: self._folder(value) for label, value in parse_folders(options.folders).items()}
        self.samples = draw_samples(
            network,
            list(self.context.images) or None,
            parse_degradations(options.degradations),
            folders,
            patch=options.patch,
            patches=options.patches,
            seed=options.seed,
        )
        first = self.samples.inputs[:1].to(network.device)
        with torch.no_grad():
            resolve(network.module, parse_layers(options.layers), lambda: network(first))

    def _folder(self, value: Any) -> Any:
        beside = self.context.base / value if isinstance(value, str) else None
        return beside if beside is not None and is_folder(beside) else value

    def due(self, network: Network, iteration: int) -> DdrResult:
        """The result at this iteration."""
        if self.samples is None:
            self.check(network)
        assert self.samples is not None
        count = len(self.samples.inputs)
        maps: dict[int, Sketch] = {}
        sketches: dict[str, np.ndarray] = {}

        def look(tap: str, start: int, features: torch.Tensor) -> None:
            length = features.shape[1]
            if length not in maps:
                maps[length] = Sketch(length, self.probe_options.seed)
            into = sketches.setdefault(tap, np.zeros((count, SIZE), np.float32))
            into[start : start + len(features)] = maps[length](features).numpy()

        result = cast("DdrResult", execute(_ProbeDdr, network, _Probe(self.samples, look), self.probe_options))
        for index, layer in enumerate(result.layers):
            sketch = sketches[layer.layer].astype(np.float64)
            if layer.layer not in self.frames:
                self.frames[layer.layer] = principal_frame(sketch)
            mean, axes = self.frames[layer.layer]
            result.arrays[f"sketch_{index}"] = sketches[layer.layer]
            result.arrays[f"frame_{index}"] = (sketch - mean) @ axes
        return result

    def estimate(self, forward: float) -> float:
        """As many forward passes as the probe set has pixels of the first image, and its statistics."""
        if self.samples is None or not self.context.images:
            return 60 * forward
        pixels = self.context.images[0].shape[-2] * self.context.images[0].shape[-1]
        layers = max(len(parse_layers(self.probe_options.layers)), 1)
        return forward * len(self.samples.inputs) * self.probe_options.patch**2 / pixels * 1.5 + 0.5 * layers

    def state_dict(self) -> dict[str, Any]:
        """The axes of the pictures, so that a resumed run draws on the same ones."""
        return {
            tap: {"mean": torch.from_numpy(mean), "axes": torch.from_numpy(np.ascontiguousarray(axes))}
            for tap, (mean, axes) in self.frames.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.frames = {tap: (frame["mean"].numpy(), frame["axes"].numpy()) for tap, frame in state.items()}
