"""Every check here runs on a card (mark gpu) and, so that it is known to run, on the CPU (mark slow)."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch

import sr_hooks
from sr_hooks.demo.assets import demo_network


@pytest.fixture(
    params=[pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)], scope="module"
)
def device(request) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


@pytest.fixture(scope="module")
def pair(device) -> tuple[sr_hooks.Network, sr_hooks.Network]:
    """The demo's baseline and target on the device."""
    return demo_network("baseline").to(device), demo_network("target").to(device)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """cuDNN takes the same algorithms each time."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    yield
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


@pytest.fixture(autouse=True)
def _nothing_stays_on_the_network(pair) -> Iterator[None]:
    weights = [copy.deepcopy(network.module.state_dict()) for network in pair]
    yield
    for network, before in zip(pair, weights, strict=True):
        assert all(torch.equal(value, before[name]) for name, value in network.module.state_dict().items())
