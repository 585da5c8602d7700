"""Networks whose weights are not whole in a process are refused before the first step; DDP is watched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.errors import NetworkError
from tests.conftest import REPOSITORY

LOOP = Path(__file__).with_name("sharded_loop.py")


def run(kind: str, folder: Path, *watch: str) -> list[str]:
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(LOOP), kind, str(rank), str(folder), *watch],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=200) for process in processes]
    assert all(process.returncode == 0 for process in processes), outputs[0][1][-3000:] + outputs[1][1][-3000:]
    return [output for output, _ in outputs]


def trained(outputs: list[str]) -> list[str]:
    return [line for output in outputs for line in output.splitlines() if line.startswith("TRAINED")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fsdp1", "fsdp1 original", "fsdp2", "ddp"])
def test_two_processes(kind: str, tmp_path: Path) -> None:
    plain = run(kind, tmp_path / "plain")
    watched = run(kind, tmp_path / "watched", "watch")
    assert trained(plain) == trained(watched) and len(trained(plain)) == 2, "training goes on, and is the same"
    refusals = [output for output in watched if "REFUSED" in output]
    if kind == "ddp":
        assert not refusals
    else:
        assert len(refusals) == 2, "on every process, so that none waits for another"
        assert all("spreads its weights over the processes" in output for output in refusals)


def test_weights_without_values_are_refused() -> None:
    net = nn.Conv2d(3, 3, 3, device="meta")
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with pytest.raises(NetworkError, match="no values"):
        sr_hooks.watch(net, optimizer, lam={"windows": [[4, 4, 4]], "every": 1, "image": torch.rand(1, 3, 16, 16)})


def test_deepspeeds_partitioned_weights_are_refused() -> None:
    """DeepSpeed marks a parameter that it has partitioned by `ds_id`."""
    net = nn.Conv2d(3, 3, 3)
    net.weight.ds_id = 0  # type: ignore[attr-defined]
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with pytest.raises(NetworkError, match="DeepSpeed"):
        sr_hooks.watch(net, optimizer, lam={"windows": [[4, 4, 4]], "every": 1, "image": torch.rand(1, 3, 16, 16)})
