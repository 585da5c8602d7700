"""Similarity divided among workers: equal bits for any number of them, and after an interruption."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.demo import photographs
from sr_hooks.grid import run_in_parts
from sr_hooks.images import downsample, read_image, write_image


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def module() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))


def stored(out: Path) -> dict[str, Path]:
    """Folder of each part and of the result by what it is called inside."""
    files = sorted((out / "cells").rglob("result.json"))
    names = [json.loads(file.read_text())["analysis"] for file in files]
    return {f"{name} {number}": file.parent for number, (name, file) in enumerate(zip(names, files, strict=True))}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("measure", "other", "parts"), [("cka", True, 2 + 3 * 7), ("cka", False, 2 + 2 * 7), ("affinity", False, 2 + 2)]
)
def test_the_number_of_workers_changes_no_bit(measure, other, parts, tmp_path):
    """300 patches: features in parts of 48, pixels and affinities in parts of 256; Gram matrices in blocks of 200."""
    (tmp_path / "files").mkdir()
    for number, photo in enumerate(photographs()):
        write_image(downsample(read_image(photo), 2)[..., :80, :90], tmp_path / f"files/{number}.png")
    network = sr_hooks.Network(module(), scale=1, multiple=1, channels=3)
    options = {"measure": measure, "layers": ["0", "2"], "patch": 8, "patches": 300, "halves": 10, "memory": 0.001}
    if other:
        torch.save(module().state_dict(), tmp_path / "other.pth")
        options["other"] = str(tmp_path / "other.pth")
    whole = sr_hooks.run("similarity", network, tmp_path / "files", **options)
    assert whole.scalars["patches"] == 300
    counts = (1, 2) if other or measure == "affinity" else (1,)
    for workers in counts:
        result = run_in_parts(
            "similarity", network, tmp_path / "files", out=tmp_path / str(workers), workers=workers, **options
        )
        for name, values in whole.arrays.items():
            assert np.allclose(result.arrays[name], values, rtol=0, atol=1e-5), name
        assert result.verdict == whole.verdict
    first = stored(tmp_path / "1")
    assert len(first) == parts + 1
    (folder,) = [path for name, path in first.items() if "part" not in name]
    arrays = (folder / "arrays.npz").read_bytes()
    for workers in counts[1:]:
        (again,) = [path for name, path in stored(tmp_path / str(workers)).items() if "part" not in name]
        assert (again / "arrays.npz").read_bytes() == arrays

    lost = next(path for name, path in first.items() if "part" in name)
    written = {path: path.stat().st_mtime_ns for path in first.values() if path not in (lost, folder)}
    for path in (lost, folder):
        shutil.rmtree(path)
    run_in_parts("similarity", network, tmp_path / "files", out=tmp_path / "1", **options)
    assert (folder / "arrays.npz").read_bytes() == arrays and lost.is_dir(), "the missing part was computed again"
    assert written == {path: path.stat().st_mtime_ns for path in written}, "the other parts were not"


def test_another_network_must_have_a_name(tmp_path):
    network = sr_hooks.Network(module(), scale=1, multiple=1, channels=3)
    options = {"other": module(), "layers": ["0"], "patch": 8}
    with pytest.raises(sr_hooks.SRHooksError, match="give it by name"):
        run_in_parts("similarity", network, torch.rand(1, 3, 64, 64), out=tmp_path / "out", **options)
