"""The analyses of docs/write_your_own.md with a window, with layers, and watching: typed, short, and right."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.core.registry import registered
from sr_hooks.demo.assets import demo_network
from tests.conftest import REPOSITORY
from tests.integration.install.test_plugin_packages import PAGE, private_names

BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
NAMES = ("shift", "test_shift", "contrast", "silent", "alignment")


@contextmanager
def plugin(name: str, folder: Path) -> Iterator[None]:
    """The block of this name, written to a file, imported and registered for a while."""
    file = folder / f"{name}_of_the_page.py"
    file.write_text(BLOCKS[NAMES.index(name)], encoding="utf-8")
    assert not private_names(file)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        with registered(module, name=name):
            yield
    finally:
        del sys.modules[file.stem]


def test_each_block_is_short_and_typed(tmp_path: Path) -> None:
    """The configuration and the cache are those of the check of the package itself, which CI runs afterwards."""
    for name, code in zip(NAMES, BLOCKS, strict=True):
        assert len([line for line in code.splitlines() if line.strip()]) < 40, name
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    cache = ["--cache-dir", str(REPOSITORY / ".mypy_cache")]
    files = [str(tmp_path / f"{name}.py") for name in NAMES if name != "test_shift"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *cache, *files], cwd=REPOSITORY, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_analysis_with_a_window_takes_a_rectangle_a_mask_and_auto(tmp_path: Path, photo: torch.Tensor) -> None:
    mask = np.zeros([4 * side for side in photo.shape[-2:]], bool)
    mask[40:60, 50:90] = True
    network = demo_network("baseline")
    with plugin("contrast", tmp_path):
        numbers = [
            sr_hooks.run("contrast", network, photo, window=window).scalars
            for window in ((40, 50, 20, 40), mask, "auto")
        ]
        with pytest.raises(sr_hooks.SRHooksError, match="larger than the output"):
            sr_hooks.run("contrast", network, photo, window=(0, 0, 100_000))
        flat = sr_hooks.run("contrast", network, torch.full((1, 3, 32, 32), 0.5), window=(40, 40, 32))
    assert numbers[0] == numbers[1] and numbers[2]["contrast"] > numbers[0]["contrast"]
    assert flat.scalars["control"] == pytest.approx(0, abs=1e-6)


def test_the_analysis_with_layers_finds_the_silent_channels(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 1))
    with torch.no_grad():
        network[0].bias[:] = 1.0
        network[0].weight[:3], network[0].bias[:3] = 0, -1.0  # three channels below 0, at every pixel
    images = torch.rand(2, 3, 16, 16)
    with plugin("silent", tmp_path):
        result = sr_hooks.run("silent", network, images, layers=["0", "1"])
        with pytest.raises(sr_hooks.SRHooksError, match="no layer"):
            sr_hooks.run("silent", network, images, layers="body.0")
    assert result.scalars["silent"]["0"] == 0 and result.scalars["silent"]["1"] >= 3
    assert (result.arrays["largest_1"][:3] == 0).all() and result.arrays["largest_1"].shape == (8,)


@pytest.mark.parametrize("kind", ["equal", "random"])
def test_the_analysis_that_watches_sees_every_step(tmp_path: Path, kind: str) -> None:
    """Equal gradients have an alignment of 1; random ones that of the control, within what chance allows."""
    network = torch.nn.Conv2d(3, 3, 3, padding=1)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    watch = {"alignment": {"at": [16, 32]}, "image": torch.rand(1, 3, 16, 16), "folder": tmp_path / "run"}
    with plugin("alignment", tmp_path), sr_hooks.watch(network, optimizer, sinks=["folder"], budget="100%", **watch):
        for _ in range(32):
            for weight in network.parameters():
                draw = torch.randn(weight.shape, generator=generator)
                weight.grad = draw if kind == "random" else torch.ones_like(weight)
            optimizer.step()
    for step in (16, 32):
        scalars = sr_hooks.load(tmp_path / f"run/{step}/alignment").scalars
        assert scalars["control"] == 0.25
        if kind == "equal":
            assert scalars["alignment"] == pytest.approx(1, abs=1e-5)
        else:
            assert scalars["alignment"] == pytest.approx(0.25, abs=0.1)
