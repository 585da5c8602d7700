"""mmagic's networks in the table of verified networks; see tests/doctor/test_verified_networks.py."""

from __future__ import annotations

import pytest
import torch

from sr_hooks import Network
from sr_hooks.doctor.diagnosis import examine
from tests.doctor.test_verified_networks import check
from tests.integration.mmagic import mm_runs

pytestmark = mm_runs.needs_mmagic


@pytest.mark.parametrize("name", mm_runs.GENERATORS)
def test_mmagic(name: str) -> None:
    mm_runs.load_mmagic()
    from mmengine.registry import MODELS, DefaultScope

    with DefaultScope.overwrite_default_scope("mmagic"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = MODELS.build(dict(mm_runs.GENERATORS[name]))
    check("mmagic", name, examine(Network(module.eval(), name=name)))
