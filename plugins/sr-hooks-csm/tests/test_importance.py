"""Fitted weights of channels: a minimum by an independent gradient, right where the truth is planted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sr_hooks_csm.importance import fitting, summary
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.analyses import one_input_each
from sr_hooks.cli import main
from sr_hooks.demo import demo_network, photographs
from sr_hooks.hooks import parse_tap
from sr_hooks.images import downsample, read_image
from sr_hooks.inference import ExecutionPlan
from sr_hooks.networks import import_basicsr

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hr() -> torch.Tensor:
    """Corners of the four photographs, (4,3,48,48)."""
    return torch.cat([read_image(path)[..., 96:144, 96:144] for path in photographs()])


class Planted(nn.Module):
    """The input enlarged, and what 12 channels add: channel i has the size `sizes[i]` and is heard `heard[i]` times.

    So a channel adds sizes[i] * heard[i], and a gradient at it is heard[i]: saliency sees the latter alone.
    """

    def __init__(self, sizes: np.ndarray, heard: np.ndarray) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.head, self.tail = nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.Conv2d(12, 12, 3, padding=1, bias=False)
        with torch.no_grad():
            rows = torch.randn(12, 27, generator=generator)
            self.head.weight.copy_((rows / rows.norm(dim=1, keepdim=True)).view(12, 3, 3, 3))
            self.head.weight.mul_(torch.tensor(sizes, dtype=torch.float32).view(-1, 1, 1, 1))
            columns = torch.randn(12, 12, 3, 3, generator=generator)
            columns /= columns.flatten(2).norm(dim=(0, 2)).view(1, -1, 1, 1)
            self.tail.weight.copy_(columns * torch.tensor(heard, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        centred = x - x.mean(dim=(-2, -1), keepdim=True)
        return F.interpolate(x, scale_factor=2, mode="nearest") + F.pixel_shuffle(self.tail(self.head(centred)), 2)


HEARD = np.geomspace(0.02, 0.5, 12)
LOUD_BUT_UNHEARD = HEARD[::-1] ** 2 / HEARD * 3
"""Sizes that make the channels with the smallest gradient add most."""


def planted(sizes: np.ndarray = LOUD_BUT_UNHEARD) -> sr_hooks.Network:
    return sr_hooks.Network(Planted(sizes, HEARD), scale=2, multiple=1, channels=3, name="planted")


def explain(network: sr_hooks.Network, hr: torch.Tensor, **options) -> sr_hooks.Result:
    """Importance at the head, where the ground truth is what the network gives, and noise: every channel helps."""
    lr = downsample(hr, 2) * 0.4 + 0.3
    with torch.no_grad():
        output = network(lr)
    noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(2))
    truth = (output + 0.01 * noise).clamp(0, 1)
    return sr_hooks.run("importance", network, truth, layers="head", lr=lr, **options)


def test_weights_find_what_was_planted_where_saliency_is_misled(hr):
    result = explain(planted(), hr)
    assert result.verdict.startswith("better than saliency"), result.verdict
    assert result.scalars["correlation"] > 0.8 and result.scalars["correlation_saliency"] < -0.8
    assert result.scalars["low"] > 0.5 and result.scalars["taps"][0]["most_important"] in (0, 1)
    counts, table = result.scalars["taps"][0]["kept"]["counts"], result.arrays["kept_psnr_0"]
    assert counts == [2, 3, 6, 9] and (table[0] > table[2]).all()  # fitted weights choose better sets than saliency


def test_a_penalty_alone_without_the_output_is_no_better(hr, monkeypatch):
    """The test above can fail: a fit that does not look at the output has no reason to rank one channel above another.

    Here it keeps what adds most changes, by the sign of its loss.
    """
    loss = fitting.decibels_lost
    monkeypatch.setattr(fitting, "decibels_lost", lambda *a, **k: -loss(*a, **k))
    upside_down = explain(planted(HEARD), hr)
    assert upside_down.verdict.startswith("no better than saliency"), upside_down.verdict
    monkeypatch.setattr(fitting, "decibels_lost", lambda output, *a, **k: 0 * loss(output, *a, **k))
    assert explain(planted(), hr).verdict.startswith("degenerate: all weights")


def test_where_saliency_ranks_as_well_it_cannot_tell(hr):
    result = explain(planted(np.ones(12)), hr)
    assert result.scalars["correlation_saliency"] > 0.8
    assert result.verdict.startswith("cannot tell") and "covers 0" in result.verdict
    assert result.scalars["low"] <= 0 <= result.scalars["high"]


@pytest.mark.parametrize("keep", ["output", "truth"])
def test_the_weights_are_a_minimum_by_an_independent_gradient(hr, keep):
    """Inside of [0, 1] the gradient of loss and penalty is 0; at 0 it does not go below, at 1 not above."""
    network, penalty = planted(), 1.0
    inputs = one_input_each(network, hr[:1], "clean")
    (lr,), gt = inputs.lr[0], inputs.gt[0]
    how = {"steps": 400, "keep": keep, "border": 2}
    (weights,) = fitting.fit_weights(network, lr, gt, parse_tap("head"), ExecutionPlan(), penalties=(penalty,), **how)
    a = torch.tensor(weights, requires_grad=True)
    module = network.module
    own = module(lr).detach()
    handle = module.head.register_forward_hook(lambda _, args, out: out * a.view(1, -1, 1, 1))
    output = module(lr)
    handle.remove()
    inside = (..., slice(2, -2), slice(2, -2))
    error = (own - gt)[inside].square().mean()
    change = (output - (own if keep == "output" else gt))[inside].square().mean() / error
    value = 10 * torch.log10(1 + change if keep == "output" else change)
    (gradient,) = torch.autograd.grad(value, a)
    total = gradient.numpy() + penalty / 12
    within = (weights > 1e-3) & (weights < 1 - 1e-3)
    assert 0 < within.sum() < 12 and np.abs(total[within]).max() < 0.05 * penalty / 12 * 12
    assert (total[weights <= 1e-3] > -1e-2).all() and (total[weights >= 1 - 1e-3] < 1e-2).all()


def test_the_demo_network_over_many_taps(hr):
    images = torch.cat([read_image(path)[..., 96:160, 96:160] for path in photographs()])
    layers = ["body.0.conv1", "body.2.conv1", "body.8.conv1", "body.11.conv2"]
    result = sr_hooks.run("importance", demo_network("target"), images, layers=layers, steps=5)
    assert result.verdict.startswith("better than saliency"), result.verdict
    csm = sr_hooks.run("csm", demo_network("target"), images, layers=layers)
    for name in ("saliency", "psnr", "base_psnr"):
        assert np.array_equal(result.arrays[name], csm.arrays[name], equal_nan=True)
    assert result.scalars["correlation_saliency"] == pytest.approx(
        np.mean([row["correlation"] for row in csm.scalars["taps"]])
    )


def test_few_images_and_dead_networks_are_called_so(hr):
    few = sr_hooks.run("importance", planted(), hr[:2], layers="head")
    assert (
        few.verdict.startswith("cannot tell") and "2 images are too few" in few.verdict and few.scalars["low"] is None
    )
    mute = Planted(np.ones(12), HEARD * 0)
    assert sr_hooks.run("importance", mute, hr, layers="head").verdict.startswith("degenerate: zeroing")


def test_a_tap_of_one_channel_ranks_nothing_and_one_without_gradient_is_called_so(hr):
    class Narrow(nn.Module):
        """One channel, then four whose gradient does not reach the weights."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.one, self.four = nn.Conv2d(3, 1, 3, padding=1), nn.Conv2d(1, 4, 3, padding=1)
            self.last = nn.Conv2d(4, 3, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.last(self.four(self.one(x)).detach())

    one = sr_hooks.run("importance", Narrow(), hr, layers="one", degradation="noise:20")
    assert "degenerate: all weights" in one.verdict and one.scalars["taps"][0]["kept"]["counts"] == []
    cut = sr_hooks.run("importance", Narrow(), hr, layers="four", degradation="noise:20")
    assert cut.verdict.startswith("gradient cut in part") and "all weights of a tap are equal" in cut.verdict
    assert one.figure(panels=["weights"]) is not None and cut.figure() is not None


def test_tokens_are_weighted_by_their_last_dimension(hr):
    class Tokens(nn.Module):
        """Favours the third of four token channels; the others are unheard."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.back = nn.Linear(3, 4), nn.Linear(4, 3)
            with torch.no_grad():
                self.back.weight[:, [0, 1, 3]] = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.back(self.embed(x.flatten(2).transpose(1, 2)))
            return x + tokens.transpose(1, 2).unflatten(2, x.shape[-2:])

    result = sr_hooks.run("importance", Tokens(), hr, layers="embed", degradation="noise:20")
    means = result.arrays["importance"][:, 0].mean(axis=0)
    assert means.argmax() == 2 and means[2] > 2 * means[[0, 1, 3]].max()


def test_mistakes_are_named(hr):
    for wrong, words in (
        ({"penalties": (1, 0.5)}, "the smallest first"),
        ({"penalties": (0, 1)}, "above 0"),
        ({"keep": "both"}, "output, truth"),
        ({"steps": 0}, "steps"),
        ({"layers": "heads"}, "no layer"),
    ):
        with pytest.raises(sr_hooks.SRHooksError, match=words):
            sr_hooks.run("importance", planted(), hr, **wrong)


def test_reruns_are_equal_and_nothing_is_left_on_the_network(hr):
    network = planted()
    first, again = (sr_hooks.run("importance", network, hr, layers="head", steps=2) for _ in range(2))
    assert first.scalars == again.scalars
    assert all(np.array_equal(first.arrays[key], again.arrays[key], equal_nan=True) for key in first.arrays)
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    sr_hooks.run("importance", network, hr, layers="head", steps=2)
    assert all(torch.equal(before[name], value) for name, value in network.module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.module.modules())
    assert all(p.grad is None for p in network.module.parameters())


def test_watched_in_a_basicsr_training(tmp_path):
    runs = pytest.importorskip(
        "tests.integration.basicsr.runs", reason="started outside the repository, whose runs this borrows"
    )
    import_basicsr()
    block = {"importance": {"every": 2, "layers": "conv_first", "penalties": [1, 10], "steps": 2, "budget": "off"}}
    data = runs.make_data(tmp_path / "pictures")
    content = runs.options(data, runs.NETWORKS["RCAN"], train={"total_iter": 2}, sr_hooks=block)
    runs.train(runs.write(content, tmp_path / "x.yml"), tmp_path / "run", sr_hooks.analyze)
    (path,) = (tmp_path / "run").rglob("result.json")
    assert (path.parent / "figure.png").is_file()
    assert sr_hooks.load(path.parent).scalars["penalties"] == [1, 10]


def test_the_command_with_its_figure(tmp_path):
    files = [str(path) for path in photographs()[:3]]
    common = ["importance", "--model", "demo:target", "--image", *files, "--crop", "48", "--steps", "3"]
    for layers in (["auto"], ["body.0", "body.11"]):
        out = tmp_path / layers[0]
        assert main([*common, "--layers", *layers, "--penalties", "1", "10", "--out", str(out)]) == 0
        loaded = sr_hooks.load(out)
        assert (out / "figure.png").stat().st_size > 20_000 and loaded.arrays["weights"].shape[2] == 2
    figure = loaded.figure(panels=["weights", "taps"], width="single", colormap="cividis")
    assert figure.get_figwidth() == 3.5


def test_the_correlation_of_a_known_table():
    effects = np.array([[1.0, 2, 3, 4], [3.0, 2, 3, 6]])  # means 2, 2, 3, 5
    table = {"effect": effects, "importance": effects, "saliency": -effects, "activation": effects[:, ::-1],
             "first_order": np.ones((2, 4))}  # fmt: skip
    rhos = summary._correlations(table, np.arange(2), np.arange(4))
    assert rhos["importance"] == pytest.approx(1) and rhos["saliency"] == pytest.approx(-1)
    assert rhos["activation"] < 0 and np.isnan(rhos["first_order"])
