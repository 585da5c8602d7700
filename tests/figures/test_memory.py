"""The figure of a 4K input x4 costs little memory beside the result that it shows."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.grids import environment

SCRIPT = """
import torch, sr_hooks
from torch import nn

class Up(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.up = nn.Conv2d(3, 48, 3, padding=1), nn.PixelShuffle(4)

    def forward(self, x):
        return self.up(self.conv(x))

def peak():  # not by getrusage, which begins with the memory of the process that started this one
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20

torch.set_num_threads(1)
network = sr_hooks.Network(Up(), scale=4, channels=3, input_range=1, multiple=1)
result = sr_hooks.lam(network, torch.rand(1, 3, 2160, 3840), window=(4000, 8000, 16))
assert result.output_size == (8640, 15360) and result.window_output.shape == (3, 16, 16)
before = peak()
result.figure().savefig("figure.png")
drawn = peak()
result.save("lam")
again = sr_hooks.load("lam")
assert (again.window_output == result.window_output).all() and again.computed_box == result.computed_box
print(before, drawn, peak())
"""


@pytest.mark.slow
def test_lam_of_a_4k_input_with_its_figure(tmp_path):
    """It took 13 GiB. The whole output, 8640 x 15360 float32, would take 1.48 GiB, and torch itself takes 0.5."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    before, drawn, saved = map(float, done.stdout.split())
    assert drawn < 1.4 and drawn - before < 0.25, done.stdout
    assert saved < 1.9, done.stdout
    assert (tmp_path / "figure.png").is_file() and (tmp_path / "lam/result.json").is_file()
