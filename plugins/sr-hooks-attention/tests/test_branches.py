"""Gates of one value for a whole feature: A2N's softmax over two branches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sr_hooks_attention.finding import find
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.degradations import make_lr
from sr_hooks.demo import photographs
from sr_hooks.images import psnr, read_image


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def photos() -> list[torch.Tensor]:
    return [read_image(path)[..., 64:160, 64:160] for path in photographs()]


class TwoBranches(nn.Module):
    """A2N's block: a softmax of pooled features weighs a branch with pixel attention against one without."""

    def __init__(self, features: int = 8, temperature: float = 2.0) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, features, 3, padding=1), nn.Conv2d(features, 3, 3, padding=1)
        self.weigh = nn.Sequential(nn.Linear(features, 4), nn.ReLU(), nn.Linear(4, 2))
        self.attend, self.plain = nn.Conv2d(features, features, 3, padding=1), nn.Conv2d(features, features, 1)
        self.temperature, self.put = temperature, None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        weights = F.softmax(self.weigh(y.mean(dim=(2, 3))) / self.temperature, dim=1)
        weights = weights if self.put is None else torch.full_like(weights, self.put)
        attended, plain = self.attend(y) * torch.sigmoid(y), self.plain(y)
        both = attended * weights[:, 0].view(-1, 1, 1, 1) + plain * weights[:, 1].view(-1, 1, 1, 1)
        return x + self.last(both)


def test_the_gate_of_a2n_is_seen(photos):
    """One pair an image, put to 1 and 1 (opened) and to one half each (levelled), as forwards by hand have it."""
    module = TwoBranches()
    network = sr_hooks.Network(module, scale=1, multiple=1, channels=3)
    result = sr_hooks.run("attention", network, photos, size=32, degradation="noise:20")
    rows = {row["site"]: row for row in result.scalars["table"]}
    branches = [row for row in rows.values() if row["kind"] == "branch"]
    assert len(branches) == 2 and sum(row["mean"] for row in branches) == pytest.approx(1, abs=1e-6)
    totals = {total["group"]: total for total in result.scalars["groups"]}

    def mean_psnr() -> float:
        values = []
        for index, photo in enumerate(photos):
            lr, top = make_lr(photo, "noise:20", scale=1, first=index), (96 - 32) // 2
            part, truth = (image[..., top : top + 32, top : top + 32] for image in (lr, photo))
            with torch.no_grad():
                values.append(float(psnr(module(part).clamp(0, 1), truth, border=1)))
        return float(np.mean(values))

    own = mean_psnr()
    for how, value in (("open", 1.0), ("level", 0.5)):
        module.put = value
        assert totals["all branch"][how] == pytest.approx(mean_psnr() - own, abs=1e-3)
        module.put = None


def test_a_scale_that_no_image_moves_is_no_branch(photos):
    """Weights that are parameters, even behind a softmax, are the same for every image."""

    class Fixed(TwoBranches):
        def __init__(self) -> None:
            super().__init__()
            self.parameter = nn.Parameter(torch.randn(1, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, weights = self.first(x), F.softmax(self.parameter, dim=1)
            return x + self.last(self.attend(y) * weights[:, 0].view(-1, 1, 1, 1) * torch.sigmoid(y))

    network = sr_hooks.Network(Fixed(), scale=1, multiple=1, channels=3)
    assert [site.kind for site in find(network, photos[0][..., :32, :32])] == ["pixel"]
