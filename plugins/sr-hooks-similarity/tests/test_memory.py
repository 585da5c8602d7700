"""Memory is flat in the number of patches: features stream, none are held as a whole."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import torch, sr_hooks

def peak():  # GB of this process at most so far
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e6

torch.set_num_threads(1)
torch.manual_seed(0)
wide = torch.nn.Sequential(torch.nn.Conv2d(3, 128, 3, padding=1), torch.nn.Conv2d(128, 3, 1))
network = sr_hooks.Network(wide, scale=1, multiple=1, channels=3, input_range=1)
for count in (100, 300):
    options = {"layers": "all", "patch": 32, "patches": count, "memory": 0.04, "halves": 10}
    result = sr_hooks.run("similarity", network, torch.rand(count, 3, 32, 32), **options)
    assert result.scalars["patches"] == count
    print(peak())
"""


@pytest.mark.slow
def test_300_patches_take_no_more_than_100():
    """The wide layer's features of 200 patches more, 128x32x32 float32, would take 0.1 GB if they were held."""
    freed_at_once = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}  # so that holes of the heap are not counted
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, env=freed_at_once
    )
    assert done.returncode == 0, done.stderr
    few, many = map(float, done.stdout.split())
    assert many - few < 0.05, done.stdout
