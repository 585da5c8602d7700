"""mmagic's BasicVSR, from its own config: a LAM and a DDR of a clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.analyses.lam import integration as lam_explanation
from sr_hooks.demo.assets import photographs
from sr_hooks.images.clips import by_frames, camera_pan
from sr_hooks.images.image import downsample, read_image
from sr_hooks.inference.calibration import ExecutionPlan
from tests.integration.mmagic import mm_runs

pytestmark = mm_runs.needs_mmagic


def test_basicvsr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mm_runs.load_mmagic()
    from mmengine.config import Config

    monkeypatch.setattr(lam_explanation, "calibrate", lambda *_: ExecutionPlan())  # for time; speed is not asked about
    content = mm_runs.config(mm_runs.make_data(tmp_path / "data"), tmp_path / "run")
    content["model"]["generator"] = {"type": "BasicVSRNet", "mid_channels": 8, "num_blocks": 1}
    Config(content).dump(str(tmp_path / "x.py"))
    network = sr_hooks.Network.from_mmagic(tmp_path / "x.py", frames=3)
    assert type(network.module).__name__ == "BasicVSRNet" and (network.frames, network.scale) == (3, 4)
    hr = camera_pan(read_image(photographs()[1]), frames=3, size=(144, 144), step=(2, 4), start=(40, 40))
    lr = by_frames(lambda frames: downsample(frames, 4), hr)
    result = sr_hooks.lam(network, lr, window=(64, 64, 16), steps=3)
    assert result.attribution.shape == (3, 3, 36, 36) and np.isfinite(result.attribution).all()
    assert result.frame == 1 and (result.frame_shares > 0).all() and result.frame_shares[1] > 0.5
    assert result.completeness_gap < 0.05
    assert not network.module.is_mirror_extended, "a state that a still clip would leave behind"
    print(np.round(result.frame_shares, 5), result.completeness_gap)

    last = sr_hooks.lam(network, lr, window=(64, 64, 16), steps=2, frame=2)
    assert last.frame == 2 and last.frame_shares.argmax() == 2
    with torch.no_grad(), pytest.raises(sr_hooks.SRHooksError, match="BasicVSRNet returns frames 0 to 2"):
        sr_hooks.lam(network, lr, window=(64, 64, 16), frame=3)
