"""Watched trainings: not one bit changes, the first NaN is named at once and its input saved, films are made."""

from __future__ import annotations

import hashlib
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.demo import photographs
from sr_hooks.images import downsample, read_image
from sr_hooks.results import read_index

IMAGE = downsample(read_image(photographs()[0]), 8)


@pytest.fixture(autouse=True)
def _one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)


class Fragile(nn.Module):
    """Batch normalisation, dropout, a dead channel, and a layer that divides by what the input's mean leaves of 1.5."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.2)
        self.divide = Divide()
        self.tail = nn.Conv2d(6, 12, 3, padding=1)
        with torch.no_grad():
            self.head.bias[2] = -100

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.divide(self.drop(self.norm(self.relu(self.head(x)))), x)
        return F.interpolate(x, scale_factor=2.0) + F.pixel_shuffle(self.tail(features), 2)


class Divide(nn.Module):
    def forward(self, features: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return features / (x.amax() < 1.5)


def train(
    steps: int = 9, bad: int = 0, watch: dict[str, Any] | None = None, loss: Any = F.l1_loss, clip: bool = False
) -> list[str]:
    """A plain training; SHA-256 of all that it depends on at the end. Batch `bad` is too bright."""
    torch.manual_seed(3)
    net = Fragile().train()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    with sr_hooks.watch(net, optimizer, **watch) if watch is not None else nullcontext():
        for step in range(1, steps + 1):
            x = torch.rand(2, 3, 12, 12) + (step == bad)
            optimizer.zero_grad()
            loss(net(x), F.interpolate(x, scale_factor=2.0)).backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())
    assert hooks == 0 and not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
    parts = [*net.state_dict().values(), *(p.grad for p in net.parameters()), torch.get_rng_state()]
    parts += [v for state in optimizer.state_dict()["state"].values() for v in state.values()]
    return [hashlib.sha256(part.detach().contiguous().numpy().tobytes()).hexdigest() for part in parts]


HERE = {"image": IMAGE, "folder": "out", "budget": "off"}


@pytest.mark.slow
@pytest.mark.parametrize("bad", [0, 7])
def test_bit_for_bit_and_the_first_nan_is_named_with_its_input(bad, caplog):
    caplog.set_level(logging.INFO)
    plain = train(bad=bad)
    health, features = {"every": 3}, {"layers": ["head", "relu"], "every": 3, "top": 4}
    assert train(bad=bad, watch={**HERE, "health": health, "features": features}) == plain
    entries = {(e["iteration"], e["analysis"]) for e in read_index("out")}
    assert entries == {(i, name) for i in (3, 6, 9) for name in ("health", "features")}
    alarms = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    if not bad:
        assert alarms == [] and not Path("out/nonfinite").exists()
        return
    assert alarms[0].startswith("sr_hooks: health at iteration 7: divide is the first layer whose values are NaN or")
    saved = sr_hooks.load("out/nonfinite/7")
    torch.manual_seed(3)
    Fragile()
    assert saved.scalars["first_nonfinite"] == "divide" and saved.scalars["iteration"] == 7
    assert saved.arrays["input"].shape == (2, 3, 12, 12) and saved.arrays["input"].min() >= 1
    assert "weights are not finite already" in alarms[1], "the step of iteration 7 broke them"
    assert len(alarms) == 3 == len(list(Path("out/nonfinite").iterdir()))
    last = sr_hooks.load("out/9/health")
    assert last.scalars["first_nonfinite"] == "head" and "head is the first layer with NaN" in last.verdict


def test_the_alarm_comes_at_the_step_itself(caplog):
    """The run ends at the bad step, at which nothing is due."""
    train(steps=4, bad=4, watch={**HERE, "health": {"every": 1000}})
    assert "health at iteration 4: divide is the first layer" in caplog.text and Path("out/nonfinite/4").is_dir()


def test_a_loss_that_is_not_finite_is_not_blamed_on_a_layer(caplog):
    def broken(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.l1_loss(output, target) * float("nan")

    train(steps=1, loss=broken, watch={**HERE, "health": {"every": 1000}})
    assert "run again, gives finite values in every layer" in caplog.text
    assert sr_hooks.load("out/nonfinite/1").scalars["first_nonfinite"] is None


def test_without_the_alarm_nothing_is_said(caplog):
    train(steps=4, bad=4, watch={**HERE, "health": {"every": 1000, "alarm": False}})
    assert "health at iteration" not in caplog.text and not Path("out/nonfinite").exists()


def test_a_planted_dead_relu_is_named_and_the_history_grows(caplog):
    images = [IMAGE, *(downsample(read_image(p), 8) for p in photographs()[1:3])]
    torch.manual_seed(0)
    net = sr_hooks.Network(Fragile().eval(), scale=2, channels=3)
    direct = sr_hooks.run("health", net, torch.cat([*images, *images]))
    assert "relu (1 of 6)" in direct.verdict and "cannot tell" not in direct.verdict
    assert direct.scalars["layers"][1]["dead_channels"] == [2]
    train(watch={**HERE, "health": {"every": 3}})
    last = sr_hooks.load("out/9/health")
    assert last.arrays["history_iteration"].tolist() == [3, 6, 9] and last.arrays["history_dead"].shape[0] == 3
    relu = last.scalars["layers"][1]
    assert 2 in relu["dead_channels"] and last.arrays["history_dead"][-1][1] == relu["dead"]
    assert "cannot tell" in last.verdict and last.figure() is not None


def test_a_film_for_each_layer_shows_the_same_channels(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    train(watch={**HERE, "features": {"layers": ["head", "tail"], "every": 3, "top": 4}})
    runs = [sr_hooks.load(f"out/{iteration}/features") for iteration in (3, 6, 9)]
    assert len({tuple(run.scalars["layers"][0]["shown"]) for run in runs}) == 1
    assert not np.array_equal(runs[0].arrays["maps_1"], runs[2].arrays["maps_1"])
    assert main(["show", "out", "--gif", "film.gif"]) == 0 and "6 pictures" in capsys.readouterr().out
    with image.open("film_head.gif") as film:
        assert film.n_frames == 3
    assert Path("film_tail.gif").is_file()


def test_pictures_in_tensorboard():
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter("events") as writer:
        train(steps=2, watch={**HERE, "tensorboard": writer, "features": {"layers": "head", "every": 2}})
    events = EventAccumulator("events", {"images": 0, "scalars": 0}).Reload()
    assert "sr_hooks/features/figure" in events.Tags()["images"]
