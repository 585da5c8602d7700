"""What the tests of BasicSR's successors share: option files, a run from equal random streams, and its end state."""

from __future__ import annotations

import contextlib
import random
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from sr_hooks.results.run_index import read_index
from tests.integration.basicsr import runs

LAM = {"windows": [[8, 8, 8]], "steps": 5, "every": 3, "budget": "off", "on_error": "raise"}


@contextlib.contextmanager
def importable(folder: Path, package: str) -> Iterator[None]:
    """The package in `folder` can be imported, and is forgotten afterwards."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]


def seeded() -> None:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)


def state_of(model: Any) -> dict[str, str]:
    """SHA-256 of all that a run leaves; and nothing of ours may be left on the model."""
    assert not [name for name, value in vars(model).items() if getattr(value, "__wrapped__", None) is not None]
    for optimizer in model.optimizers:
        assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
    return runs.fingerprint(model)


def looked_at(folder: Path) -> list[tuple[int, str]]:
    """Iteration and weights of every LAM of a run."""
    entries = read_index(folder / "experiments/tiny/sr_hooks")
    return [(entry["iteration"], entry["network"]) for entry in entries if entry["analysis"] == "lam"]


def toml(content: dict[str, Any], head: str = "") -> str:
    """A mapping of mappings as TOML."""
    lines, tables = [], []
    for key, value in content.items():
        if isinstance(value, dict):
            tables.append(toml(value, f"{head}.{key}" if head else key))
        else:
            lines.append(f"{key} = {_toml_value(value)}")
    return "\n".join([f"[{head}]" if head else "", *lines, *tables]) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def dataset(data: Path, phase: str, kind: str, **more: Any) -> dict[str, Any]:
    """The description of a dataset of pairs, as BasicSR's successors write it."""
    roots = {"dataroot_gt": str(data / phase / "gt"), "dataroot_lq": str(data / phase / "lq")}
    return {"name": phase, "type": kind, **roots, **more}


def trained(script: Path, package: str, file: Path, folder: Path, *flags: str, decorate: Any = None) -> dict[str, str]:
    """The state at the end of a script's `train_pipeline`; `decorate` as on the function that trains.

    Args:
        package: the host's, whose `models.BUILT` lists the models that were built.
    """

    def main() -> None:
        runpy.run_path(str(script))["train_pipeline"](str(folder))

    run(decorate(main) if decorate else main, folder, "-opt", str(file), *flags)
    return state_of(sys.modules[f"{package}.models"].BUILT[-1])


def write_with_block_beside(content: dict[str, Any], folder: Path, block: Any = None) -> Path:
    """The option file; and, where there is a block, sr_hooks.yml beside it, for hosts that refuse it inside."""
    file = runs.write(content, folder / "options/tiny.yml")
    if block is not None:
        file.with_name("sr_hooks.yml").write_text(yaml.safe_dump(block))
    return file


def run(call: Callable[[], Any], folder: Path, *arguments: str) -> None:
    """A training in `folder` with these arguments, from equal random streams."""
    seeded()
    with runs.inside(folder, *arguments):
        call()
