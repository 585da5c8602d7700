"""Two processes, mmengine's wrappers: rank 0 analyses the bare network, not one bit changes on either."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch import distributed

import sr_hooks
from sr_hooks import Network
from sr_hooks.results.run_index import read_index
from tests.conftest import REPOSITORY
from tests.integration.basicsr.test_distributed import ranks, torchrun
from tests.integration.mmagic import mm_runs

pytestmark = [
    mm_runs.needs_mmagic,
    pytest.mark.skipif(
        not (distributed.is_available() and distributed.is_gloo_available()), reason="this torch has no gloo"
    ),
]


def test_wrapped_models(tmp_path: Path) -> None:
    mm_runs.load_mmagic()
    data = mm_runs.make_data(tmp_path / "pictures")
    common = {"every": 3, "budget": "off"}
    block = {"lam": {"windows": [[8, 8, 8]], "steps": 5, **common}, "faig": {**mm_runs.WATCHED["faig"], **common}}
    script = str(REPOSITORY / "tests/integration/mmagic/ddp_mmagic.py")
    done = torchrun(tmp_path / "here", script, str(data), json.dumps(block))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    inside = {
        "MMDistributedDataParallel": "MSRResNet",
        "MMSeparateDistributedDataParallel": "MMDistributedDataParallel",
    }
    for wrapper, kind in inside.items():
        for rank in ranks(tmp_path / "here"):
            assert rank[wrapper]["watched"] == rank[wrapper]["plain"], "not one bit on either rank"
            assert rank[wrapper]["plain"]["kinds"] == [wrapper, kind]
        run = tmp_path / "here" / wrapper / "watched"
        entries = read_index(run / "sr_hooks")
        names = [(entry["iteration"], entry["analysis"]) for entry in entries]
        assert names == [(i, name) for i in (3, 6) for name in ("lam", "faig", "faig")], wrapper
        found = [sr_hooks.load(run / "sr_hooks" / entry["folder"]).provenance["network"] for entry in entries]
        assert all(network["class"].endswith(".MSRResNet") for network in found)
        assert sorted(path.name for path in (run / "sr_hooks/states").iterdir()) == ["3.pt", "6.pt"]
        configs = list(run.glob("*/vis_data/config.py"))
        saved = Network.from_mmagic(configs[0], run / "iter_6.pth")
        assert saved.sha256() == found[-1]["sha256"], "a checkpoint of wrapped parts is read"
