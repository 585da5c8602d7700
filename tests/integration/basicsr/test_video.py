"""A real training of BasicSR's BasicVSR, watched on its validation clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import sr_hooks
from sr_hooks.demo.assets import photographs
from sr_hooks.images.clips import by_frames, camera_pan
from sr_hooks.images.image import downsample, read_image, write_image
from tests.conftest import hooks_on
from tests.integration.basicsr import runs


def clips(root: Path) -> Path:
    """train/ and val/ with gt/ and lq/ of REDS's layout: a folder of numbered frames a clip."""
    for part, name, photo in (("train", "001", 0), ("val", "000", 1)):
        hr = camera_pan(read_image(photographs()[photo]), frames=2, size=(144, 144), step=(2, 4), start=(40, 40))
        for kind, frames in (("gt", hr), ("lq", by_frames(lambda each: downsample(each, 4), hr))):
            folder = root / part / kind / name
            folder.mkdir(parents=True)
            for t in range(2):
                write_image(frames[:, t], folder / f"{t:08d}.png")
    (root / "meta.txt").write_text("001 1 (144,144,3)\n")
    return root


def test_a_watched_training_of_basicvsr(basicsr: Any, tmp_path: Path) -> None:
    """Its own dataset gives the clips; the LAM of the step is that of the checkpoint it saved."""
    data = clips(tmp_path / "data")
    train, val = (
        {"name": "REDS4", "dataroot_gt": str(data / part / "gt"), "dataroot_lq": str(data / part / "lq"),
         "io_backend": {"type": "disk"}, "num_frame": 2}
        for part in ("train", "val")
    )  # fmt: skip
    recurrent = {
        "type": "REDSRecurrentDataset", "dataroot_flow": None, "meta_info_file": str(data / "meta.txt"),
        "val_partition": "REDS4", "test_mode": False, "interval_list": [1], "random_reverse": False, "gt_size": 144,
        "batch_size_per_gpu": 1,
    }  # fmt: skip
    network = {"type": "BasicVSR", "num_feat": 4, "num_block": 1}
    content = runs.options(data, network, model_type="VideoRecurrentModel", scale=4)
    content["datasets"]["train"] |= {**train, **recurrent}
    content["datasets"]["val"] = {**val, "type": "VideoRecurrentTestDataset", "cache_data": True}
    content["train"] |= {"total_iter": 1, "fix_flow": None}
    content["val"] = None  # BasicSR's validation of clips needs CUDA
    content["logger"]["save_checkpoint_freq"] = 1
    content["sr_hooks"] = {
        "lam": {"windows": [[64, 64, 16]], "frame": 0, "steps": 3, "at": 1},
        "faig": {"degradations": ["blur:1"], "images": 1, "crop": 144, "refine": 1, "at": 1},
    }
    file = runs.write(content, tmp_path / "x.yml")
    model = runs.train(file, tmp_path / "run", sr_hooks.analyze)
    assert hooks_on(model.net_g) == 0
    folder = tmp_path / "run/experiments/tiny"
    watched = sr_hooks.load(folder / "sr_hooks/1/lam")
    assert watched.attribution.shape == (2, 3, 36, 36) and watched.frame == 0 and watched.frame_shares.argmax() == 0
    assert watched.provenance["input_file"] == "000"
    probed = sr_hooks.load(next((folder / "sr_hooks/1").glob("faig*")))
    assert probed.degradations == ["blur:1"] and probed.scalars["images"] == 1
    afterwards = sr_hooks.lam(
        sr_hooks.Network.from_basicsr(file, weights=folder / "models/net_g_1.pth"),
        data / "val/lq/000", window=(64, 64, 16), frame=0, steps=3,
    )  # fmt: skip
    assert np.array_equal(afterwards.attribution, watched.attribution)
