"""Not one bit of a real BasicSR training changes: 60 iterations with and without every registered analysis."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.core import registry as plugins
from sr_hooks.results.run_index import read_index
from tests.integration.basicsr import runs

ITERATIONS, EVERY = 60, 7
EXTRA: dict[str, dict[str, Any]] = {
    "lam": {"windows": [[8, 8, 8]]},
    "ddr": {
        "images": 2,
        "patch": 16,
        "patches": 8,
        "degradations": ["clean", "noise:20"],
        "components": 4,
        "permutations": 9,
        "subsamples": 4,
        "tsne": 0,
    },
    "faig": {"images": 2, "crop": 24, "degradations": ["blur:1", "noise:20"], "refine": 1, "free": True},
}
"""What an analysis cannot do without on images as small as these."""


class NormNet(nn.Module):
    """Batch normalisation, dropout and a stochastic branch: what eval mode and random streams act on."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout2d(0.3)
        self.conv_last = nn.Conv2d(8, 12, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.drop(F.relu(self.norm(self.head(x))))
        if self.training and float(torch.rand(1)) < 0.5:
            features = features * 1.1
        return F.interpolate(x, scale_factor=2.0) + F.pixel_shuffle(self.conv_last(features), 2)


@pytest.fixture(scope="module")
def pictures(basicsr: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from basicsr.utils.registry import ARCH_REGISTRY

    if "NormNet" not in ARCH_REGISTRY:
        ARCH_REGISTRY.register(NormNet)
    return runs.make_data(tmp_path_factory.mktemp("pictures"))


def block() -> dict[str, Any]:
    """Every registered analysis that a training run has all inputs for: faig-verify, for one, needs a stored result."""
    blocks = {}
    for name, kind in plugins.contributions("register_analyses").items():
        own = EXTRA.get(name, {})
        fields = dataclasses.fields(kind.watch_options_type or kind.options_type)
        needed = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
        if needed <= {kind.watch_names.get(key, key) for key in own}:
            blocks[name] = {"every": EVERY, "budget": "off", "on_error": "raise", **own}
    return blocks


DRAWN = ("MSRResNet", "SRGANModel")  # with figures as well, which take most of the time
CASES = ["MSRResNet", "RCAN", "SwinIR", "RRDBNet", "NormNet", "SRGANModel", "ESRGANModel"]


@pytest.mark.parametrize("case", CASES)
def test_bit_for_bit(case: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if case not in DRAWN:
        monkeypatch.setattr(sr_hooks.Result, "_draw", lambda self, path: False)
    network = runs.NETWORKS.get(case, {"type": "NormNet"} if case == "NormNet" else runs.NETWORKS["MSRResNet"])
    content = runs.options(pictures, network, train={"total_iter": ITERATIONS})
    if case.endswith("GANModel"):
        content = runs.gan(content, case)
    content["val"]["val_freq"] = content["logger"]["save_checkpoint_freq"] = 30
    plain = runs.write(content, tmp_path / "plain.yml")
    watched = runs.write({**content, "sr_hooks": block()}, tmp_path / "watched.yml")

    without = runs.fingerprint(runs.train(plain, tmp_path / "plain"))
    model = runs.train(watched, tmp_path / "watched", sr_hooks.analyze)
    assert runs.fingerprint(model) == without

    entries = read_index(tmp_path / "watched/experiments/tiny/sr_hooks")
    assert {"lam", "ddr", "faig"} <= set(block())
    for name in block():
        seen = [entry for entry in entries if entry["analysis"] == name]
        assert sorted({entry["iteration"] for entry in seen}) == list(range(EVERY, ITERATIONS + 1, EVERY)), name
        assert {entry["network"] for entry in seen} == {"ema" if case.endswith("GANModel") else "raw"}
    weights = {
        sr_hooks.load(tmp_path / "watched/experiments/tiny/sr_hooks" / entry["folder"]).provenance["network"]["sha256"]
        for entry in entries
    }
    assert len(weights) == ITERATIONS // EVERY, "each look saw other weights"
