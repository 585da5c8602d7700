"""Results: whole or absent on disk, equal when read back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import sr_hooks
from sr_hooks.errors import ResultError
from tests.support.networks import Tiny


@pytest.fixture(scope="module")
def result(lr):
    return sr_hooks.lam(Tiny(), lr, window=(8, 8, 8), steps=5)


@pytest.mark.slow
def test_saved_and_loaded_are_equal(result, tmp_path):
    folder = result.save(tmp_path / "a/b")
    loaded = sr_hooks.load(folder)
    assert type(loaded) is sr_hooks.LamResult
    assert np.array_equal(loaded.attribution, result.attribution) and loaded.verdict == result.verdict
    assert loaded.diffusion_index == result.diffusion_index and loaded.window == (8, 8, 8, 8)
    assert loaded.provenance == json.loads(json.dumps(result.provenance))
    assert sorted(p.name for p in folder.iterdir()) == ["arrays.npz", "figure.png", "result.json"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_provenance_says_it_all(result):
    p = result.provenance
    assert p["options"]["steps"] == 5 and p["network"]["scale"] == 2 and len(p["network"]["sha256"]) == 64
    assert {"torch", "numpy", "sr_hooks", "python"} <= set(p["versions"])
    assert len(p["input_sha256"]) == 64 and p["device"] == "cpu" and p["dtype"] == "float32" and p["seed"] == 0
    assert result.scalars["canvas"] == {"input": [64, 64], "output": [128, 128]} and p["seconds"] > 0


@pytest.mark.slow
def test_a_result_replaces_a_result(result, tmp_path):
    first = result.save(tmp_path / "r")
    (first / "result.json").write_text("{}")
    result.save(tmp_path / "r")
    assert sr_hooks.load(tmp_path / "r").steps == 5
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "result.json").write_text("{"), "damaged"),
        (lambda f: (f / "arrays.npz").write_bytes(b"PK"), "damaged"),
        (lambda f: (f / "arrays.npz").unlink(), "damaged"),
        (lambda f: (f / "result.json").write_text('{"format": 99}'), "newer sr_hooks"),
        (lambda f: (f / "result.json").unlink(), "no result in"),
    ],
)
def test_damage_is_named(result, tmp_path, spoil, message):
    folder = result.save(tmp_path / "r", figure=False)
    spoil(folder)
    with pytest.raises(ResultError, match=message):
        sr_hooks.load(folder)


def test_html_shows_figure_numbers_and_verdict(result):
    page = result._repr_html_()
    assert "data:image/png;base64," in page and "diffusion_index" in page
    assert "sound" in page or "not converged" in page


WRITER = """
import sys, torch, sr_hooks
from tests.support.networks import Tiny
x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
result = sr_hooks.lam(Tiny(), x, window=(8, 8, 8), steps=3)
print("go", flush=True)
while True:
    result.save(sys.argv[1], figure=False)
"""


@pytest.mark.slow
def test_killed_while_writing_leaves_a_whole_result_or_none(tmp_path):
    """SIGKILL at ten moments: what is there loads, at most hidden leftovers stand beside it."""
    root = str(Path(__file__).resolve().parents[2])
    for moment in range(10):
        folder = tmp_path / f"{moment}" / "result"
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, cwd=root, env=os.environ, text=True
        )
        assert writer.stdout is not None and writer.stdout.readline() == "go\n"
        time.sleep(0.003 + 0.007 * moment)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        if folder.exists():
            assert sr_hooks.load(folder).steps == 3
        assert all(p.name.startswith(".") or p.name == "result" for p in folder.parent.glob("*"))
