"""torch's switches and the process's surroundings are as before, whatever the code inside sets."""

from __future__ import annotations

import gc
import io
import logging
import os
import random
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr_hooks.training import preserved

pytestmark = pytest.mark.slow


def read_default_device() -> str:
    return str(torch.empty(1).device)


def set_default_device() -> None:
    torch.set_default_device("meta")


def is_flushing() -> bool:
    return float(torch.tensor([512], dtype=torch.int32).view(torch.float32) * 1) == 0


def enter_autocast() -> None:
    torch.autocast("cpu", dtype=torch.bfloat16).__enter__()


def autocast_state() -> Any:
    torch.autocast_increment_nesting()
    return (
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.is_autocast_cache_enabled(),
        torch.autocast_decrement_nesting(),
    )


C = torch.backends
TORCH: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "default device": (read_default_device, set_default_device),
    "default dtype": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.float64)),
    "mkldnn": (lambda: C.mkldnn.enabled, lambda: C.mkldnn.set_flags(False)),
    "mkldnn attribute": (lambda: C.mkldnn.enabled, lambda: setattr(C.mkldnn, "enabled", False)),
    "mkldnn deterministic": (lambda: C.mkldnn.deterministic, lambda: setattr(C.mkldnn, "deterministic", True)),
    "denormals": (is_flushing, lambda: torch.set_flush_denormal(True)),
    "anomaly": (torch.is_anomaly_enabled, lambda: torch.autograd.set_detect_anomaly(True)),
    "anomaly's NaN check": (
        torch.is_anomaly_check_nan_enabled,
        lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    ),
    "grad mode": (torch.is_grad_enabled, lambda: torch.set_grad_enabled(False)),
    "autocast": (autocast_state, enter_autocast),
    "autocast's dtype": (autocast_state, lambda: torch.set_autocast_dtype("cpu", torch.float16)),
    "autocast's cache": (autocast_state, lambda: torch.set_autocast_cache_enabled(False)),
    "determinism": (
        torch.get_deterministic_debug_mode,
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    ),
    "filled memory": (
        lambda: torch.utils.deterministic.fill_uninitialized_memory,
        lambda: setattr(torch.utils.deterministic, "fill_uninitialized_memory", False),
    ),
    "threads": (torch.get_num_threads, lambda: torch.set_num_threads(3)),
    "cudnn": (lambda: C.cudnn.enabled, lambda: setattr(C.cudnn, "enabled", False)),
    "cudnn benchmark": (lambda: C.cudnn.benchmark, lambda: setattr(C.cudnn, "benchmark", True)),
    "flash attention": (C.cuda.flash_sdp_enabled, lambda: C.cuda.enable_flash_sdp(False)),
    "math attention": (C.cuda.math_sdp_enabled, lambda: C.cuda.enable_math_sdp(False)),
    "einsum": (lambda: C.opt_einsum.strategy, lambda: setattr(C.opt_einsum, "strategy", "optimal")),
    "fp16 sums": (
        lambda: C.cuda.matmul.allow_fp16_reduced_precision_reduction,
        lambda: setattr(C.cuda.matmul, "allow_fp16_reduced_precision_reduction", False),
    ),
    "warn always": (torch.is_warn_always_enabled, lambda: torch.set_warn_always(True)),
    "matmul precision": (torch.get_float32_matmul_precision, lambda: torch.set_float32_matmul_precision("medium")),
    "convolutions' TF32": (lambda: C.cudnn.allow_tf32, lambda: setattr(C.cudnn, "allow_tf32", False)),
    "products' TF32": (lambda: C.cuda.matmul.allow_tf32, lambda: setattr(C.cuda.matmul, "allow_tf32", True)),
}


@pytest.mark.parametrize("name", TORCH)
def test_a_switch_of_torch_is_put_back(name: str) -> None:
    read, change = TORCH[name]
    gc.collect()  # what earlier tests left half done ends now, and not between two lines of this one
    before = read()
    with preserved():
        change()
        assert read() != before, "else this test could not fail"
    assert read() == before


PRECISIONS = """
import torch
from sr_hooks.training import preserved
from sr_hooks.networks.calling import tensor_float_32

get, backends = torch._C._get_fp32_precision_getter, torch.backends
def state():
    return [get("generic", "all")] + [get(b, o) for b in ("cuda", "mkldnn") for o in ("all", "matmul", "conv", "rnn")]
def older():
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return "refused"
{before}
before = state(), older()
with preserved(), tensor_float_32(True):
    {inside}
assert (state(), older()) == before, (before, state(), older())
with tensor_float_32(False):
    pass
assert (state(), older()) == before, (before, state(), older())
print("as before", before)
"""


@pytest.mark.skipif(
    not hasattr(torch._C, "_get_fp32_precision_getter"), reason="torch before 2.9 has older switches only"
)
@pytest.mark.parametrize(
    ("before", "inside"),
    [
        ("backends.cuda.matmul.fp32_precision = 'tf32'", "pass"),
        ("backends.cuda.matmul.fp32_precision = 'tf32'", "backends.cuda.matmul.fp32_precision = 'ieee'"),
        ("backends.cuda.matmul.fp32_precision = 'tf32'", "torch.set_float32_matmul_precision('medium')"),
        ("backends.fp32_precision = 'ieee'", "backends.fp32_precision = 'tf32'"),
        ("backends.cudnn.conv.fp32_precision = 'ieee'", "backends.cudnn.allow_tf32 = False"),
        ("backends.mkldnn.matmul.fp32_precision = 'bf16'", "backends.mkldnn.matmul.fp32_precision = 'ieee'"),
        ("torch.set_float32_matmul_precision('high')", "backends.cuda.matmul.fp32_precision = 'ieee'"),
        ("pass", "backends.cudnn.rnn.fp32_precision = 'ieee'"),
    ],
)
def test_precisions_by_whichever_switches_the_process_uses(before: str, inside: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRECISIONS.format(before=before, inside=inside)], capture_output=True, text=True
    )
    assert done.returncode == 0 and "as before" in done.stdout, done.stderr


@pytest.fixture
def put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner").mkdir()
    yield tmp_path


PROCESS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "working directory": (Path.cwd, lambda: os.chdir("inner")),
    "stdout": (lambda: sys.stdout, lambda: setattr(sys, "stdout", io.StringIO())),
    "stderr": (lambda: sys.stderr, lambda: setattr(sys, "stderr", io.StringIO())),
    "environment, new": (lambda: os.environ.get("SR_NEW"), lambda: os.environ.__setitem__("SR_NEW", "1")),
    "environment, gone": (lambda: os.environ.get("PATH"), lambda: os.environ.pop("PATH")),
    "warnings": (lambda: list(warnings.filters), lambda: warnings.simplefilter("error")),
    "warnings, replaced": (lambda: list(warnings.filters), warnings.resetwarnings),
    "module path": (lambda: list(sys.path), lambda: sys.path.insert(0, "elsewhere")),
    "arguments": (lambda: list(sys.argv), lambda: sys.argv.append("--more")),
    "NumPy's errors": (np.geterr, lambda: np.seterr(all="raise")),
    "NumPy's printing": (np.get_printoptions, lambda: np.set_printoptions(precision=2)),
    "logging": (lambda: logging.root.manager.disable, lambda: logging.disable(logging.CRITICAL)),
    "garbage collector": (gc.isenabled, gc.disable),
    "recursion limit": (sys.getrecursionlimit, lambda: sys.setrecursionlimit(5000)),
    "Ctrl-C": (lambda: signal.getsignal(signal.SIGINT), lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)),
    "SIGTERM": (lambda: signal.getsignal(signal.SIGTERM), lambda: signal.signal(signal.SIGTERM, lambda *_: None)),
}


@pytest.mark.parametrize("name", PROCESS)
def test_surroundings_are_put_back(name: str, put_back: Path) -> None:
    read, change = PROCESS[name]
    before = read()
    with preserved():
        change()
        assert read() != before, "else this test could not fail"
    assert read() == before


def test_a_switch_that_cannot_be_put_back_does_not_stop_the_others(tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    random.seed(3)
    wanted = random.random()
    random.seed(3)
    told: list[str] = []
    with preserved(report=told.append):
        os.chdir(tmp_path)
        folder.rmdir()
        random.random()
        torch.set_grad_enabled(False)
    assert random.random() == wanted and torch.is_grad_enabled()
    assert any("could not restore" in text for text in told)
