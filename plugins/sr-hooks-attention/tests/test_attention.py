"""What each attention is worth: put out of work exactly, measured, saved and watched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from attention_networks import GATES, Gated, small
from sr_hooks_attention.finding import Event, acting
from sr_hooks_attention.gates import high_pass, levelled, opened, statistics

import sr_hooks
from sr_hooks.degradations import make_lr
from sr_hooks.hooks import bypass
from sr_hooks.images import psnr


def test_opening_channel_attention_is_to_bypass_its_module(basicsr, photos):
    module = small("RCAN")
    result = sr_hooks.run("attention", module, photos, size=16)
    network = sr_hooks.Network(module)
    names = [row["site"] for row in result.scalars["table"]]
    changed = result.provenance["changed"]
    for group, parts in (*((name, [name]) for name in names), ("all channel", names)):
        for index, photo in enumerate(photos):
            lr = make_lr(photo, "clean", scale=2)[..., 16:32, 16:32]
            hr = photo[..., 32:64, 32:64]
            with torch.no_grad(), network.prepared():
                before = psnr(network(lr).clamp(0, 1), hr, border=2)
                with bypass(module, parts):
                    after = psnr(network(lr).clamp(0, 1), hr, border=2)
            change = result.arrays["changes_open"][changed.index(group), index]
            assert change == pytest.approx(float(after - before), abs=1e-9) != 0
    rows = {row["site"]: row for row in result.scalars["table"]}
    assert all(row["open_low"] <= row["open"] <= row["open_high"] and row["adapts"] > 0 for row in rows.values())


def test_opening_window_attention_leaves_each_position_its_own_value(basicsr, lr):
    module = small("SwinIR").eval()
    network = sr_hooks.Network(module, scale=2, multiple=8, channels=3)
    part = module.get_submodule("layers.0.residual_group.blocks.0.attn")
    inputs: list[torch.Tensor] = []
    handle = part.register_forward_hook(lambda _, args, out: inputs.extend([args[0], out]))
    with torch.no_grad(), acting(network, opened):
        network(lr)
    with torch.no_grad(), acting(network, levelled):
        network(lr)
    handle.remove()
    tokens, alone, again, alike = inputs
    value = part.qkv(tokens)[..., 24:]
    torch.testing.assert_close(alone, part.proj(value), atol=1e-6, rtol=1e-5)
    everyone = part.qkv(again)[..., 24:].mean(dim=1, keepdim=True).expand_as(value)
    torch.testing.assert_close(alike, part.proj(everyone), atol=1e-6, rtol=1e-5)


def test_levelling_a_gate_that_tells_nothing_apart_changes_nothing(photos):
    network = Gated(lambda f, m: torch.sigmoid(m.more(f.mean((2, 3), keepdim=True)) * 0 + 0.3))
    result = sr_hooks.run("attention", network, photos, size=24, degradation="noise:10")
    (row,) = result.scalars["table"]
    assert row["level"] == pytest.approx(0, abs=1e-6) and abs(row["open"]) > 1e-3
    assert row["spread"] == pytest.approx(0, abs=1e-7) and row["adapts"] == 0
    assert (
        "little is gained by telling apart" in result.verdict
        and "the same gate for every image at (network)" in result.verdict
    )


def test_statistics_of_known_gates(lr):
    energy = high_pass(lr)
    gate = (energy / energy.max()).sqrt()
    found = statistics(Event(("", 0, 0), "spatial", gate, lr, True), energy)
    assert found["correlation"] == pytest.approx(1) and found["mean"] == pytest.approx(float(gate.mean()), rel=1e-5)
    half = torch.zeros(1, 4, 1, 1)
    half[:, :2] = 1
    found = statistics(Event(("", 0, 0), "channel", half, torch.rand(1, 4, 8, 8), True), energy)
    assert (found["mean"], found["saturation"], found["sparsity"]) == (0.5, 1, 0.5)
    eye = torch.eye(16).expand(2, 3, 16, 16)
    found = statistics(Event(("", 0, 0), "mixture", eye, None, True), energy)
    assert found["saturation"] == 1 and found["sparsity"] == pytest.approx(15 / 16)
    assert np.isnan(found["correlation"])


def test_sites_are_spaced_and_saved_with_a_figure(basicsr, photos, tmp_path: Path):
    result = sr_hooks.run("attention", small("RCAN"), photos[:2], size=16, most=2)
    tried = [row["site"] for row in result.scalars["table"] if row["open"] is not None]
    assert tried == ["body.0.residual_group.0.rcab.3", "body.1.residual_group.1.rcab.3"]
    assert "2 of 4 sites were tried one by one" in result.verdict
    result.save(tmp_path / "rcan")
    gated = sr_hooks.run("attention", Gated(GATES["pixel"]), photos[:1], size=16)
    gated.save(tmp_path / "gated")
    assert all((tmp_path / name / "figure.png").is_file() for name in ("rcan", "gated"))
    assert gated.arrays["map_0"].shape == (16, 16) and "one image has no interval" in gated.verdict
    again = sr_hooks.run("attention", small("RCAN").eval(), photos[:1], size=16)
    assert sr_hooks.load(tmp_path / "rcan").scalars["sites"] == len(again.scalars["table"])


def test_bad_input(photos):
    for options, words in (
        ({"size": 4}, "at least 8"),
        ({"degradation": "nois:5"}, "did you mean noise"),
    ):
        with pytest.raises(sr_hooks.SRHooksError, match=words):
            sr_hooks.run("attention", Gated(GATES["pixel"]), photos, **options)
    network = sr_hooks.Network(Gated(GATES["pixel"]), scale=1, multiple=128, channels=3)
    with pytest.raises(sr_hooks.SRHooksError, match="less than 128"):
        sr_hooks.run("attention", network, photos)


def test_watched_in_a_basicsr_training(basicsr, tmp_path: Path):
    runs = pytest.importorskip(
        "tests.integration.basicsr.runs", reason="started outside the repository, whose runs this borrows"
    )
    data = runs.make_data(tmp_path / "pictures")
    block = {"attention": {"every": 2, "budget": "off"}}
    content = runs.options(data, runs.NETWORKS["RCAN"], train={"total_iter": 4}, sr_hooks=block)
    runs.train(runs.write(content, tmp_path / "x.yml"), tmp_path / "run", sr_hooks.analyze)
    found = sorted((tmp_path / "run").rglob("result.json"))
    assert [path.parent.parent.name for path in found] == ["2", "4"]
    assert all((path.parent / "figure.png").is_file() for path in found)
    content["network_g"] = runs.NETWORKS["MSRResNet"]
    with pytest.raises(sr_hooks.SRHooksError, match="has no attention"):
        runs.train(runs.write(content, tmp_path / "y.yml"), tmp_path / "refused", sr_hooks.analyze)
