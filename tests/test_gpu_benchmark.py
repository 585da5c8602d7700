"""benchmarks/gpu.py on the CPU: every row runs, a row that fails stands alone, and the files say what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import sr_hooks
from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks/gpu.py"


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--quick", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.usefixtures("basicsr")
def test_every_row_runs_on_the_cpu(tmp_path: Path):
    pytest.importorskip("spandrel")
    done = run("--out", str(tmp_path), "--seconds", "500")
    table = json.loads((tmp_path / "gpu.json").read_text())
    failed = [row for row in table["rows"] if "failed" in row]
    assert done.returncode == 0 and failed == [], f"{failed} {done.stderr[-2000:]}"
    names = [row["row"] for row in table["rows"]]
    networks = ("MSRResNet x2", "MSRResNet x4", "EDSR-M", "RCAN", "SwinIR light", "RRDBNet", "HAT-S-like")
    assert names[:7] == [f"LAM {name}" for name in networks]
    assert names[7:] == ["LAMs in three ways", "growing image", "DDR", "FAIG", "CSM", "CEM", "armed watch"]
    for row in table["rows"][:7]:
        assert row["error automatic"] < 0.1 and row["error published"] < 0.2 and row["stated automatic"] > 0
        assert row["floor s"] > 0 and row["published s"] > 0 and row["kernels' share"] is None
    assert table["facts"]["device"] == "cpu" and table["facts"]["torch"] and table["facts"]["card"]
    text = (tmp_path / "gpu.md").read_text()
    assert all(f"| {name} |" in text for name in names)


@pytest.mark.slow
def test_a_row_that_fails_stands_alone(tmp_path: Path):
    """No time is left for the second row."""
    done = run("--out", str(tmp_path), "--seconds", "0.0000001", "--only", "armed watch", "--only", "DDR")
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert done.returncode == 1 and [row["row"] for row in rows] == ["DDR", "armed watch"]
    assert [row["failed"] for row in rows if "failed" in row][-1] == "no time left of 1e-07 s"
    assert "no time left" in (tmp_path / "gpu.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "words"), [(("--device", "cuda:99"), "this machine has cpu"), (("--only", "no such"), "no row 'no such'")]
)
def test_wrong_arguments_are_one_line(flags: tuple[str, str], words: str):
    done = run(*flags)
    assert done.returncode == 2 and words in done.stderr.strip().splitlines()[-1]


def test_the_twin_of_msrresnet_is_basicsrs(basicsr):
    """What stands in for BasicSR's network on a machine without BasicSR takes the same weights to the same output."""
    folder = str(REPOSITORY / "benchmarks/gpu_parts/msrresnet.py")
    x = torch.rand(1, 3, 12, 10)
    for scale in (2, 4):
        arguments = {"num_feat": 8, "num_block": 2, "upscale": scale}
        real = sr_hooks.Network.from_basicsr("MSRResNet", arguments)
        twin = sr_hooks.Network.from_import(f"{folder}:MSRResNet", arguments)
        twin.module.load_state_dict(real.module.state_dict(), strict=True)
        with torch.no_grad():
            assert torch.allclose(twin(x), real(x), atol=1e-6)
