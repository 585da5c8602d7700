"""torch's switches of precision, streams, and what a reduced precision states."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.demo.assets import demo_network

WINDOW = (84, 64, 32)


def relative(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def read() -> tuple[object, ...]:
    return tuple(
        getattr(owner, name)
        for owner, name in (
            (getattr(torch.backends.cudnn, "conv", None), "fp32_precision"),
            (torch.backends.cuda.matmul, "fp32_precision"),
        )
        if hasattr(owner, name)
    )


@pytest.fixture(params=["old", "new"])
def tf32_everywhere(request):
    """A process that allows TensorFloat-32, by torch's older or newer switches."""
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    newer = hasattr(getattr(cudnn, "conv", None), "fp32_precision")
    if request.param == "new" and not newer:
        pytest.skip("this torch has no newer switches")
    before = (cudnn.conv.fp32_precision, products.fp32_precision) if newer else (cudnn.allow_tf32, products.allow_tf32)
    older = torch.get_float32_matmul_precision()
    if request.param == "new":
        cudnn.conv.fp32_precision = products.fp32_precision = "tf32"
    else:
        cudnn.allow_tf32 = products.allow_tf32 = True
    yield
    if request.param == "old":
        torch.set_float32_matmul_precision(older)
    if newer:
        cudnn.conv.fp32_precision, products.fp32_precision = before
    else:
        cudnn.allow_tf32, products.allow_tf32 = before


def test_float32_is_float32_whatever_the_process_allows(pair, lr, deterministic, tf32_everywhere):
    before = read()
    cones = [sr_hooks.lam(pair[0], lr, window=WINDOW, steps=9, cone=cone) for cone in ("auto", "off")]
    assert read() == before
    cpu = sr_hooks.lam(demo_network("baseline"), lr, window=WINDOW, steps=9)
    for result in cones:
        assert relative(result.attribution, cpu.attribution) < 1e-3


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_reduced_precision_states_its_deviation(pair, lr, precision):
    exact = sr_hooks.lam(pair[0], lr, window=WINDOW, steps=9)
    reduced = sr_hooks.lam(pair[0], lr, window=WINDOW, steps=9, precision=precision)
    true, stated = relative(reduced.attribution, exact.attribution), reduced.precision_deviation
    assert stated is not None and true < 0.2
    assert true <= 1.5 * stated + 1e-4 and stated <= 1.5 * true + 1e-2


def test_another_stream_gives_the_same_answer(pair, device, lr, deterministic):
    plain = sr_hooks.lam(pair[0], lr, window=WINDOW, steps=9)
    stream = torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else nullcontext()
    with stream:
        image = lr.to(device, non_blocking=True)
        image = (image + 1) - 1 if device.type == "cpu" else image.roll(0, 0)  # made on that stream
        result = sr_hooks.lam(pair[0], image, window=WINDOW, steps=9)
    assert relative(result.attribution, plain.attribution) < 1e-4


def test_a_rerun_differs_in_the_last_bits_at_most(pair, device, lr):
    first, second = (sr_hooks.lam(pair[0], lr, window=WINDOW, steps=9).attribution for _ in range(2))
    assert relative(first, second) < 1e-4
    assert device.type != "cpu" or np.array_equal(first, second)
