"""Killed at twenty random moments, a watched run's index and results are always whole, and resuming completes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.integration.basicsr import runs


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, to start twenty trainings quickly")
def test_kill_minus_nine(basicsr: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    block = {"lam": {"windows": [[8, 8, 8]], "every": 2, "steps": 5, "budget": "off"}}
    content = runs.options(
        runs.make_data(tmp_path / "pictures"),
        runs.NETWORKS["MSRResNet"],
        train={"total_iter": 24},
        logger={"save_checkpoint_freq": 3},
        val={"val_freq": 100},
        sr_hooks=block,
    )
    file = runs.write(content, tmp_path / "x.yml")
    command = [
        sys.executable,
        "-m",
        "tests.integration.basicsr.kill_nursery",
        str(file),
        str(tmp_path / "run"),
        "20",
        "5",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.split("RESULT ")[-1])
    print(found)
    assert found["killed"] == 20 and found["resumed"] > 5
    assert found["iterations"] == list(range(2, 25, 2))
    assert found["remains"] == []
