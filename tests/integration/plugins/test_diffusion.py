"""Conductance of a one-step diffusion network of diffusers' own classes, with and without activation checkpoints."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
import torch

import sr_hooks
from tests.support.diffusion import network_of

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _package():
    try:
        distribution("sr-hooks-conductance")
    except PackageNotFoundError:
        pytest.skip("sr-hooks-conductance is not installed: pip install ./plugins/sr-hooks-conductance")


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers", reason="diffusers is not installed here: pip install 'sr_hooks[diffusion]'")


@pytest.fixture
def lr() -> torch.Tensor:
    return torch.rand(1, 3, 19, 21, generator=torch.Generator().manual_seed(3))  # odd sides


@pytest.mark.parametrize("kind", ["SD-Turbo", "ResShift", "transformer"])
def test_checkpoints_of_activations_change_nothing(kind: str, diffusers, lr: torch.Tensor) -> None:
    results, runs = [], []
    for checkpointing in (False, True):
        module = network_of(diffusers, kind, checkpointing=checkpointing)
        count = [0]
        first = module.vae.decoder.mid_block.resnets[0].conv1
        first.register_forward_hook(lambda *_, count=count: count.__setitem__(0, count[0] + 1))
        results.append(sr_hooks.run("conductance", module, lr, window=(9, 11, 12), objective="intensity", steps=16))
        runs.append(count[0])
    plain, again = results
    assert runs[1] > runs[0], "computed again in the backward"
    for key in ("conductance", "signed", "direct", "change"):
        largest = np.abs(plain.arrays[key]).max()
        assert largest > 0
        np.testing.assert_allclose(again.arrays[key], plain.arrays[key], rtol=0, atol=1e-5 * largest, err_msg=key)
    layers = {row["layer"].split(".")[0]: row for row in plain.scalars["layers"]}
    assert {"vae", "denoiser"} <= layers.keys() or kind == "transformer"  # of one block nothing is repeated
    assert plain.scalars["completeness_gap"] < 0.01


def test_blocks_that_return_several_tensors_give_those_within(diffusers, lr: torch.Tensor) -> None:
    """UNet's up blocks hold attentions that return a tuple of one tensor; down blocks return their states too."""
    result = sr_hooks.run("conductance", network_of(diffusers, "SD-Turbo"), lr, steps=4)
    names = [row["layer"] for row in result.scalars["layers"]]
    assert "denoiser.up_blocks.0.attentions.1" in names and "denoiser.down_blocks.0" not in names
    named = sr_hooks.run("conductance", network_of(diffusers, "SD-Turbo"), lr, steps=4, layers="denoiser.*attentions.?")
    score = dict(zip(names, result.arrays["conductance"], strict=True))["denoiser.up_blocks.0.attentions.1"]
    scores = {row["layer"]: row["conductance"] for row in named.scalars["layers"]}
    assert scores["denoiser.up_blocks.0.attentions.1"] == pytest.approx(score, rel=1e-4)
    assert "denoiser.down_blocks.1.attentions.0" in scores
    assert result.figure() is not None
