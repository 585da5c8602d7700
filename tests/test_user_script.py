"""What mypy says of a user's script: results have types, and a misspelt attribute or option is an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sr_hooks

pytest.importorskip("mypy", reason="mypy is not installed")

pytestmark = pytest.mark.slow

SCRIPT = """
import torch
import sr_hooks

network, lr = torch.nn.Conv2d(3, 3, 3, padding=1), torch.rand(1, 3, 24, 24)
one = sr_hooks.lam(network, lr, window=(8, 8, 8))
number: float = one.diffusion_index
for each in sr_hooks.lam(network, lr, window=[(8, 8, 8), (0, 0, 8)], steps=10):
    number = each.completeness_gap
number = sr_hooks.run("lam", network, lr, window=(8, 8, 8)).diffusion_index
numbers: list[float] = [result.gini for result in sr_hooks.run("lam", network, lr, window=[(8, 8, 8)])]
text: str = sr_hooks.run("ddr", network, lr, patch=8).verdict
text = sr_hooks.check(one, network, lr).overall
text = sr_hooks.ddr(network, lr, patch=8).verdict
anything = sr_hooks.run("a-plugin", network, lr)
text = anything.verdict if isinstance(anything, sr_hooks.Result) else anything[0].verdict
"""

MISTAKES = [
    ("one.diffusion_index", "one.difusion_index", "attr-defined"),
    ("each.completeness_gap", "each.completenes_gap", "attr-defined"),
    ("window=(8, 8, 8)).diffusion_index", "window=(8, 8, 8)).difusion_index", "attr-defined"),
    ("result.gini", "result.ginni", "attr-defined"),
    ("lr, patch=8).verdict\\ntext = sr_hooks.check", "lr, patch=8).verdicts\\ntext = sr_hooks.check", "attr-defined"),
    ("network, lr).overall", "network, lr).overal", "attr-defined"),
    ("sr_hooks.ddr(network, lr, patch=8)", "sr_hooks.ddr(network, lr, pacth=8)", "call-arg"),
    ("window=(8, 8, 8))\\nnumber", "window=(8, 8, 8), stebs=3)\\nnumber", "arg-type"),
    ("anything.verdict if", "anything.verdikt if", "attr-defined"),
]


def mypy(tmp_path: Path, scripts: dict[str, str]) -> str:
    for name, text in scripts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    root = Path(sr_hooks.__file__).parents[1]
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", f"--config-file={os.devnull}"]
    environment = {**os.environ, "MYPYPATH": str(root)}
    done = subprocess.run(
        [*command, *sorted(scripts)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    return done.stdout + done.stderr


def test_a_right_script_passes_and_each_mistake_is_an_error_in_its_own_script(tmp_path):
    scripts = {"right.py": SCRIPT}
    for number, (before, after, _) in enumerate(MISTAKES):
        before, after = (text.replace("\\n", "\n") for text in (before, after))
        assert before in SCRIPT, before
        scripts[f"wrong{number}.py"] = SCRIPT.replace(before, after, 1)
    messages = mypy(tmp_path, scripts)
    assert "right.py" not in messages, messages
    for number, (_, after, code) in enumerate(MISTAKES):
        lines = [line for line in messages.splitlines() if line.startswith(f"wrong{number}.py") and "error:" in line]
        assert lines and code in lines[0], f"{after}: {messages}"
