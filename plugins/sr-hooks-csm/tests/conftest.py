"""One thread and a separate cache for every module, and two photographs."""

from __future__ import annotations

import pytest
import torch

from sr_hooks.demo import photographs
from sr_hooks.images import read_image


@pytest.fixture(scope="module", autouse=True)
def _one_thread(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SR_HOOKS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def hr() -> torch.Tensor:
    """Corners of two photographs, (2,3,48,48)."""
    return torch.cat([read_image(photographs()[i])[..., 96:144, 96:144] for i in (0, 1)])
