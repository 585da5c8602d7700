"""The features of many inputs at several taps, batch by batch, and their Gram matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from sr_hooks.analyses.ddr.samples import Samples
from sr_hooks.errors import ForwardError, NetworkError, ResultError, TapError
from sr_hooks.files.regular_files import read_bytes
from sr_hooks.files.strict_json import from_json, to_json
from sr_hooks.hooks.activations import Captured, features
from sr_hooks.hooks.taps import Tap
from sr_hooks.inference.calibration import ExecutionPlan, calibrate
from sr_hooks.inference.memory.fallback import attempt
from sr_hooks.networks.network import Network
from sr_hooks.results.writing import write_folder
from sr_hooks.statistics.gram_pca import Gram, Store, accumulate

__all__ = ["Features", "gram_matrices", "kept_features"]

INDEX = "features.json"
Look = Callable[[str, int, torch.Tensor], None]


class Features:
    """(start, stop) to tap -> (stop - start, d): the network run on those samples as far as its deepest tap.

    A tap whose first dimension is not the batch's (windows of attention, frames of a clip) is read one sample at a
    time, so that no sample's features are mixed with another's. Memory running out halves the batch.
    """

    def __init__(self, network: Network, samples: Samples, wanted: Sequence[Tap], *, frame: int | None = None) -> None:
        self.frame = frame
        self.network, self.samples, self.wanted = network, samples, [str(tap) for tap in wanted]
        self.plan = replace(_plan(network, samples.inputs), batch=4 if network.device.type == "cpu" else 16)
        if not self._takes_two():
            self.plan = replace(self.plan, batch=1)
        self.look: Look | None = None
        self._seen = 0

    @property
    def batch(self) -> int:
        """Samples that go through at once."""
        return self.plan.batch

    def _takes_two(self) -> bool:
        try:
            tried = attempt(lambda: self._forward(self.samples.inputs[:2]))
        except (ForwardError, TapError):  # it is written for one image at a time
            return False
        return not tried.ran_out and all(len(value) == 2 for value in tried.result().values())

    def _forward(self, inputs: torch.Tensor) -> Captured:
        x = self.plan.lay_out(inputs.to(self.network.device))
        with torch.no_grad():
            return features(self.network.module, lambda: self.network.feed(x), self.wanted)

    def __call__(self, start: int, stop: int) -> dict[str, torch.Tensor]:
        parts: list[dict[str, torch.Tensor]] = []
        at = start
        while at < stop:
            size = min(self.plan.batch, stop - at)
            tried = attempt(partial(self._batch, at, at + size))
            if not tried.ran_out or self.plan.batch == 1:
                parts.append(tried.result())
                at += size
            else:
                self.plan = replace(self.plan, batch=self.plan.batch // 2)
        values = parts[0] if len(parts) == 1 else {k: torch.cat([part[k] for part in parts]) for k in parts[0]}
        if self.look is not None and stop > self._seen:  # a block that is computed again was looked at already
            self._seen = stop
            for tap, value in values.items():
                self.look(tap, start, value)
        return values

    def _batch(self, start: int, stop: int) -> dict[str, torch.Tensor]:
        captured = self._forward(self.samples.inputs[start:stop])
        flat_features = {}
        for tap in self.wanted:
            value = captured.pop(tap)
            if not value.is_floating_point():
                raise TapError(f"{tap} passes {str(value.dtype).removeprefix('torch.')} values, which are no features")
            value = self._of_frame(value)
            if value.shape[0] != stop - start and stop - start > 1:
                raise TapError(f"{tap} passes a batch of {value.shape[0]} for {stop - start} images")
            flat = value.reshape(stop - start, -1).float().cpu()
            if not bool(torch.isfinite(flat).all()):
                label = self.samples.names[int(self.samples.labels[start])]
                raise NetworkError(
                    f"{tap} of {self.network.name} has values that are NaN or infinite for images of {label}: look at "
                    "the network's weights, input_range and precision"
                )
            flat_features[tap] = flat
        return flat_features

    def _of_frame(self, value: torch.Tensor) -> torch.Tensor:
        """Of a layer that passes all frames of a clip at once, one frame's part; any other as it is."""
        inputs = self.samples.inputs
        if self.frame is None or inputs.ndim != 5:
            return value
        frames = inputs.shape[1]
        if value.ndim == 5:
            axis = next((axis for axis in (1, 2) if value.shape[axis] == frames), None)
            return value if axis is None else value.select(axis, self.frame)
        alone = self.plan.batch == 1 and value.shape[0] == frames
        return value[self.frame : self.frame + 1] if alone else value


def _plan(network: Network, inputs: torch.Tensor) -> ExecutionPlan:
    """The calibrated memory layout; the plain one for networks that do not run on the small corner used for it."""
    try:
        return calibrate(network, tuple(inputs.shape[1:]))
    except Exception:
        return ExecutionPlan()


def gram_matrices(
    features: Features, *, memory: float, store: Store, keep: str | Path | None = None, look: Look | None = None
) -> dict[str, Gram]:
    """Tap -> Gram over all samples, in one pass where the memory allows.

    Args:
        features: of the samples.
        memory: gigabytes for held features.
        store: see `sr_hooks.statistics.accumulate`.
        keep: a folder for the features themselves: float32 safetensors shards, one a batch, with an index.
        look: called once with (tap, index of the first sample, (b,d) float32) for every batch.

    Raises:
        ResultError: the folder to keep features in cannot be written; nothing is left there.
    """
    count = len(features.samples.inputs)
    features.look, features._seen = look, 0
    if keep is None:
        return accumulate(features, count, batch=features.batch, memory=memory, store=store)
    grams: dict[str, Gram] = {}

    def fill(part: Path) -> None:
        from safetensors.torch import save_file

        shards: dict[str, dict[str, object]] = {}

        def write(tap: str, start: int, value: torch.Tensor) -> None:
            name = f"features-{len(shards):05d}.safetensors"
            save_file({tap: value.contiguous()}, part / name)
            shards[name] = {"tap": tap, "first": start, "count": len(value)}
            if look is not None:
                look(tap, start, value)

        features.look = write
        grams.update(accumulate(features, count, batch=features.batch, memory=memory, store=store))
        index = {
            "names": features.samples.names,
            "labels": features.samples.labels.tolist(),
            "groups": features.samples.groups.tolist(),
            "shards": shards,
        }
        (part / INDEX).write_text(to_json(index), encoding="utf-8")

    write_folder(keep, fill, marker=INDEX)
    return grams


def kept_features(folder: str | Path, tap: str) -> torch.Tensor:
    """(n,d) float32: the features of a tap that `keep_features` wrote, in the order of the index's labels.

    Raises:
        ResultError: nothing kept there, or not of that tap.
    """
    from safetensors.torch import load_file

    try:
        index = from_json(read_bytes(Path(folder) / INDEX))
        shards = sorted((entry["first"], name) for name, entry in index["shards"].items() if entry["tap"] == tap)
        parts = [load_file(Path(folder) / name)[tap] for _, name in shards]
    except (OSError, ValueError, KeyError) as error:
        raise ResultError(f"no kept features in {folder}: {error}") from None
    if not parts:
        held = ", ".join(dict.fromkeys(entry["tap"] for entry in index["shards"].values()))
        raise ResultError(f"the features kept in {folder} are of {held}, not of {tap}")
    return torch.cat(parts)
