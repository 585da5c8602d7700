"""What the tests share: one thread, BasicSR, photographs."""

from __future__ import annotations

import pytest
import torch

import sr_hooks
from sr_hooks.demo import photographs
from sr_hooks.images import read_image
from sr_hooks.networks import import_basicsr


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def basicsr():
    try:
        return import_basicsr()
    except sr_hooks.SRHooksError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def photos() -> list[torch.Tensor]:
    return [read_image(path)[..., 64:160, 64:160] for path in photographs()]


@pytest.fixture(scope="module")
def lr(photos) -> torch.Tensor:
    return photos[1][..., :32, :32]
