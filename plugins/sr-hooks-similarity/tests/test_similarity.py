"""Similarity of layers whose answer is known: rotations, independent features, shuffled weights; and real networks."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sr_hooks_similarity.alignment import cka_of_pairs
from torch import nn

import sr_hooks
from sr_hooks.demo import demo_network, photographs
from sr_hooks.faithfulness import shuffled
from sr_hooks.images import downsample, read_image
from sr_hooks.statistics import cka


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def images() -> list[torch.Tensor]:
    return [downsample(read_image(file), 2)[..., :100, :100] for file in photographs()[:2]]


OPTIONS = {"patch": 16, "patches": 40, "halves": 20}


def test_all_pairs_equal_the_cka_of_the_core():
    rng = np.random.default_rng(0)
    features = [rng.standard_normal((12, d)) @ rng.standard_normal((d, 7)) for d in (3, 5, 9)]
    grams = np.stack([(f - f.mean(0)) @ (f - f.mean(0)).T for f in features])
    expected = [[cka(a, b) for b in features] for a in features]
    assert np.allclose(cka_of_pairs(grams, grams), expected, rtol=1e-9)


def plain(module: nn.Module) -> sr_hooks.Network:
    return sr_hooks.Network(module, scale=1, multiple=1, channels=3)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x))


def test_a_rotation_of_the_channels_leaves_one(images):
    one = Two()
    other = copy.deepcopy(one)
    rotation, _ = torch.linalg.qr(torch.randn(16, 16))
    with torch.no_grad():
        other.first.weight.copy_(torch.einsum("oi,ichw->ochw", rotation, one.first.weight))
        other.first.bias.copy_(rotation @ one.first.bias)
    result = sr_hooks.run("similarity", plain(one), images, other=plain(other), layers="first", **OPTIONS)
    assert result.scalars["same_layer"][0]["similarity"] == pytest.approx(1, abs=1e-4)
    affinity = sr_hooks.run(
        "similarity", plain(one), images, other=plain(other), layers="first", measure="affinity", **OPTIONS
    )
    assert affinity.scalars["same_layer"][0]["similarity"] == pytest.approx(1, abs=1e-5)


def test_shuffled_patches_are_not_alike(images):
    result = sr_hooks.run("similarity", demo_network("target"), images, layers=["body.3", "auto"], **OPTIONS)
    assert np.abs(result.arrays["permuted"]).max() < 0.4 and np.diag(result.arrays["similarity"]) == pytest.approx(1)
    assert result.scalars["alone"] and result.figure() is not None


def test_of_a_network_alone_the_shuffled_network_has_the_same_two_layers_as_control(images):
    """Each layer is like the next one in any network, so this alone is nothing learned."""
    torch.manual_seed(2)
    parts = [nn.Conv2d(3, 16, 3, padding=1), *(nn.Conv2d(16, 16, 3, padding=1) for _ in range(3)), nn.Conv2d(16, 3, 1)]
    for measure in ("cka", "affinity"):
        network = plain(nn.Sequential(*parts))
        result = sr_hooks.run("similarity", network, images, measure=measure, **OPTIONS)
        within = sr_hooks.run("similarity", shuffled(network, 0), images, measure=measure, **OPTIONS)
        assert (result.arrays["random"] >= within.arrays["similarity"] - 1e-5).all()
        assert result.scalars["alike"] < 0.4 * result.scalars["pairs"], result.verdict
        assert np.diag(result.arrays["excess"]) == pytest.approx(0, abs=1e-6), "a layer is like itself"
        some = sr_hooks.run("similarity", network, images, measure=measure, layers=["0", "1"],
                            other_layers=["1", "2", "3"], **OPTIONS)  # fmt: skip
        assert some.arrays["random"] == pytest.approx(result.arrays["random"][:2, 1:4], abs=0.02)


def test_an_untrained_copy_has_no_excess(images):
    """Against another draw of the same random network, nothing is learned: no layer may be called alike beyond it."""
    torch.manual_seed(1)
    one, other = (
        nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 3, 3, padding=1)) for _ in range(2)
    )
    result = sr_hooks.run("similarity", plain(one), images, other=plain(other), layers=["0", "1"], **OPTIONS)
    assert result.scalars["mean_excess"] < 0.02


def test_the_two_trained_networks_exceed_their_controls_at_the_end(images):
    result = sr_hooks.run(
        "similarity", demo_network("baseline"), images, other=demo_network("target"), layers=["conv_first", "auto"],
        **OPTIONS,
    )  # fmt: skip
    first, last = result.scalars["same_layer"]
    assert first["random"] > 0.9, "an early layer is alike to an untrained one too: this is what the control is for"
    assert last["excess_low"] > 0.03 and "alike beyond" in result.verdict


@pytest.mark.parametrize("measure", ["cka", "affinity"])
def test_inputs_that_leave_nothing_to_compare(images, measure):
    options = {**OPTIONS, "measure": measure}
    grey = sr_hooks.run("similarity", plain(Two()), torch.full((1, 3, 100, 100), 0.4), **options)
    assert grey.verdict.startswith("cannot tell: of 36 patches only 1 differ") and grey.figure() is not None
    assert grey.scalars["alike"] == 0 and grey.scalars["constant"] == 2
    alone = sr_hooks.run("similarity", plain(Two()), images, layers="first", **options)
    assert alone.verdict.startswith("cannot tell: one layer has no pair") and alone.scalars["mean_excess"] is None
    with pytest.raises(sr_hooks.SRHooksError, match="no convolution inside"):
        sr_hooks.run("similarity", plain(nn.Conv2d(3, 3, 1)), images, **options)

    class Broken(Two):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x) / 0)

    with pytest.raises(sr_hooks.SRHooksError, match="last of Broken has values that are NaN or infinite"):
        sr_hooks.run("similarity", plain(Broken()), images, **options)


def test_a_weights_file_of_the_same_architecture(images, tmp_path):
    network = demo_network("baseline")
    file = tmp_path / "other.pth"
    torch.save({"params": demo_network("target").module.state_dict()}, file)
    by_file = sr_hooks.run("similarity", network, images, other=str(file), layers="auto", **OPTIONS)
    direct = sr_hooks.run("similarity", network, images, other=demo_network("target"), layers="auto", **OPTIONS)
    assert np.array_equal(by_file.arrays["similarity"], direct.arrays["similarity"])
    assert by_file.provenance["other"]["sha256"] != by_file.provenance["network"]["sha256"]


def test_a_training_is_compared_with_its_start(images, tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    optimizer = torch.optim.Adam(module.parameters(), 0.05)
    block = {"layers": ["0", "2"], "patch": 16, "patches": 16, "halves": 10, "every": 3, "image": images[0]}
    watch = sr_hooks.watch(module, optimizer, similarity=block, budget="off", sinks=["folder"], folder=tmp_path)
    with watch:
        for _ in range(6):
            optimizer.zero_grad()
            (module(images[1]) - 1).square().mean().backward()
            optimizer.step()
    results = [sr_hooks.load(file.parent) for file in sorted(tmp_path.rglob("result.json"))]
    assert len(results) == 2 and all("before this run" in r.provenance["other"]["name"] for r in results)
    early, late = sorted(results, key=lambda r: r.provenance["watch"]["iteration"])
    assert early.scalars["mean_similarity"] > late.scalars["mean_similarity"]


def test_reruns_are_equal_and_mistakes_are_named(images):
    one, again = (
        sr_hooks.run("similarity", demo_network("baseline"), images, layers=["conv_first", "auto"], **OPTIONS)
        for _ in range(2)
    )
    assert all(np.array_equal(one.arrays[k], again.arrays[k], equal_nan=True) for k in one.arrays)
    with pytest.raises(sr_hooks.SRHooksError, match="are needed: give more"):
        sr_hooks.run("similarity", demo_network("baseline"), images, patch=90)
    with pytest.raises(sr_hooks.SRHooksError, match="no_such"):
        sr_hooks.run("similarity", demo_network("baseline"), images, other="no_such.pth", **OPTIONS)


def test_a_clip_is_refused_by_name(images):
    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.layer(frame) for frame in clip.unbind(1)], dim=1)

    network = sr_hooks.Network(Frames(), scale=1, multiple=1, channels=3, frames=3)
    with pytest.raises(sr_hooks.SRHooksError, match="this analysis takes images, each of which Frames sees as a clip"):
        sr_hooks.run("similarity", network, torch.stack([images[0]] * 3, dim=1), **OPTIONS)
    alone = sr_hooks.run("similarity", network, images[0], layers=["layer#0", "layer#2"], **OPTIONS)
    assert alone.arrays["similarity"] == pytest.approx(np.ones((2, 2)), abs=1e-6), "frames of a clip without motion"
