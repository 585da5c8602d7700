"""Two gloo processes on the CPU: rank 0 analyses the bare network, nobody waits past the limit, sums are reduced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import distributed

import sr_hooks
from sr_hooks.results.run_index import read_index
from tests.conftest import REPOSITORY
from tests.integration.basicsr import runs

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()), reason="this torch has no gloo"
)


def torchrun(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(parents=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return subprocess.run(
        [*launcher, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


def ranks(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def test_basicsr_through_the_launcher(basicsr: Any, tmp_path: Path) -> None:
    content = runs.options(
        runs.make_data(tmp_path / "pictures"),
        runs.NETWORKS["MSRResNet"],
        train={"total_iter": 10, "ema_decay": 0.9},
        logger={"print_freq": 5, "save_checkpoint_freq": 100},
        val={"val_freq": 100},
    )
    script = str(REPOSITORY / "tests/integration/basicsr/ddp_basicsr.py")
    for name, block in (("plain", {}), ("watched", {"lam": {"windows": [[8, 8, 8]], "every": 3, "budget": "off"}})):
        file = runs.write({**content, "sr_hooks": block}, tmp_path / f"{name}.yml")
        flags = ["-m", "sr_hooks", "train", script, "-opt", str(file), "--launcher", "pytorch"]
        done = torchrun(tmp_path / name, *flags)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert ranks(tmp_path / "watched") == ranks(tmp_path / "plain"), "not one bit on either rank"
    place = tmp_path / "watched/experiments/tiny/sr_hooks"
    entries = read_index(place)
    assert [(e["iteration"], e["network"]) for e in entries] == [(3, "ema"), (6, "ema"), (9, "ema")]
    assert "DistributedDataParallel" not in sr_hooks.load(place / entries[0]["folder"]).provenance["network"]["class"]


def test_sums_over_ranks_and_the_limit(tmp_path: Path) -> None:
    done = torchrun(tmp_path / "run", str(REPOSITORY / "tests/integration/basicsr/ddp_loop.py"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    first, second = ranks(tmp_path / "run")
    assert first["weights"] == second["weights"]
    assert done.stderr.count("stopped after its limit of 1 s") == 2, "said and traced once, by one rank"
    assert 0.9 < second["slowest"] < 3.0, "the other rank waited as long as the limit, not longer"
    entries = read_index(tmp_path / "run/out")
    assert [(e["iteration"], e["analysis"]) for e in entries] == [(4, "ranks"), (8, "ranks"), (12, "ranks")]
    numbers = [e["headline"]["numbers"] for e in entries]
    assert numbers == [3.0 * 4, 3.0 * 8, 3.0 * 12], "1 from rank 0 and 2 from rank 1, each step, across the resume"
