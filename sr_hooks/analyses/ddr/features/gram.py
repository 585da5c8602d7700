"""Gram matrices of the features of all samples, tap by tap; and the features themselves in a folder, if wanted."""

from __future__ import annotations

from pathlib import Path

import torch

from sr_hooks.analyses.ddr.features.stream import Features, Look
from sr_hooks.errors import ResultError
from sr_hooks.files.regular_files import read_bytes
from sr_hooks.files.strict_json import from_json, to_json
from sr_hooks.results.writing import write_folder
from sr_hooks.statistics.gram_pca import Gram, Store, accumulate

__all__ = ["gram_matrices", "kept_features"]

INDEX = "features.json"


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
