"""What the tests of the guard share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> Iterator[None]:
    """Ctrl-C raises and cuDNN does not benchmark, whatever started this process and was trained in it before."""
    handler, benchmark = signal.getsignal(signal.SIGINT), torch.backends.cudnn.benchmark
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.backends.cudnn.benchmark = False
    yield
    signal.signal(signal.SIGINT, handler)
    torch.backends.cudnn.benchmark = benchmark
