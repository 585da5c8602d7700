"""Attention is found in real networks by what they do, put out of work exactly, and nothing else is taken for it."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sr_hooks_attention.finding import Event, acting, find
from sr_hooks_attention.gates import high_pass, levelled, opened, statistics
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.degradations import make_lr
from sr_hooks.demo import photographs
from sr_hooks.hooks import bypass
from sr_hooks.images import psnr, read_image
from sr_hooks.networks import import_basicsr


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def basicsr():
    try:
        return import_basicsr()
    except sr_hooks.SRHooksError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def photos() -> list[torch.Tensor]:
    return [read_image(path)[..., 64:160, 64:160] for path in photographs()]


@pytest.fixture(scope="module")
def lr(photos) -> torch.Tensor:
    return photos[1][..., :32, :32]


SMALL = {
    "RCAN": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_group": 2, "num_block": 2, "squeeze_factor": 4},
    "SwinIR": {"img_size": 16, "window_size": 8, "depths": [2, 2], "embed_dim": 12, "num_heads": [2, 2], "mlp_ratio": 2,
               "upsampler": "pixelshuffledirect"},
    "RIDNet": {"in_channels": 3, "mid_channels": 16, "out_channels": 3, "num_block": 2},
    "MSRResNet": {"num_feat": 8, "num_block": 1},
    "RRDBNet": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "num_grow_ch": 4},
    "EDSR": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1},
    "SRVGGNetCompact": {"num_feat": 8, "num_conv": 1},
}  # fmt: skip


def small(name: str) -> nn.Module:
    from basicsr.utils.registry import ARCH_REGISTRY

    for module in ("rcan", "swinir", "ridnet", "srresnet", "rrdbnet", "edsr", "srvgg"):
        importlib.import_module(f"basicsr.archs.{module}_arch")
    scale = {"scale": 2} if name == "RRDBNet" else {} if name == "RIDNet" else {"upscale": 2}
    return ARCH_REGISTRY.get(name)(**SMALL[name], **scale)


@pytest.mark.parametrize(
    ("name", "kind", "classes"),
    [("RCAN", "channel", "ChannelAttention"), ("RIDNet", "channel", "ChannelAttention"),
     ("SwinIR", "window", "WindowAttention")],
)  # fmt: skip
def test_found_in_basicsr(basicsr, lr, name, kind, classes):
    """The names of its classes, which finding does not look at, are the truth."""
    network = sr_hooks.Network(small(name))
    with network.prepared():
        sites = find(network, lr)
    truth = [part for part, module in network.module.named_modules() if type(module).__name__ == classes]
    assert [site.name for site in sites] == truth and {site.kind for site in sites} == {kind}


@pytest.mark.parametrize(
    ("path", "arguments", "kinds"),
    [
        ("NAFNet.__arch.NAFNet_arch:NAFNet",
         {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]}, {"channel": 3}),
        ("SPAN.__arch.span:SPAN",
         {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 2}, {"pixel": 6}),
        ("DAT.__arch.DAT:DAT",
         {"img_size": 32, "embed_dim": 32, "depth": [2], "num_heads": [2], "split_size": [8, 8], "upscale": 2},
         {"window": 2, "channel": 2, "spatial": 2, "transposed": 1}),
    ],
    ids=["NAFNet", "SPAN", "DAT"],
)  # fmt: skip
def test_found_elsewhere(lr, path, arguments, kinds):
    pytest.importorskip("spandrel")
    module, name = path.split(":")
    network = sr_hooks.Network(getattr(importlib.import_module(f"spandrel.architectures.{module}"), name)(**arguments))
    with network.prepared():
        assert Counter(site.kind for site in find(network, lr)) == kinds


class Attending(nn.Module):
    """Self-attention over all positions, written out or fused."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(3, 4, 3, padding=1) for _ in range(3))
        self.out, self.fused = nn.Conv2d(4, 3, 1), fused

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = torch.bmm((q @ k.transpose(1, 2) / 2).softmax(-1), v)
        return x + self.out(mixed.transpose(1, 2).unflatten(2, x.shape[-2:]))


class Gated(nn.Module):
    """A convolution whose output is gated by `gate`(feature, module)."""

    def __init__(self, gate) -> None:
        super().__init__()
        self.conv, self.more, self.gate = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1), gate
        self.weight = nn.Parameter(torch.randn(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        feature = self.conv(x)
        return x + feature * self.gate(feature, self)


GATES = {
    "channel": lambda f, m: m.more(f.mean((2, 3), keepdim=True)),
    "spatial": lambda f, m: torch.sigmoid(m.more(f).mean(1, keepdim=True)),
    "pixel": lambda f, m: torch.sigmoid(m.more(f)) * 2 - 0.5,
}
NO_GATES = {
    "activation": lambda f, m: torch.sigmoid(1.702 * f),
    "parameter": lambda f, m: torch.sigmoid(m.weight),
    "normalisation": lambda f, m: torch.rsqrt(f.square().mean(1, keepdim=True) + 1e-6),
    "product": lambda f, m: m.more(f),
    "number": lambda f, m: 0.1,
}


@pytest.mark.parametrize("kind", GATES)
def test_gates_without_a_module_of_their_own(lr, kind):
    network = sr_hooks.Network(Gated(GATES[kind]))
    (site,) = find(network, lr)
    assert (site.name, site.kind) == ("(network)", kind)


@pytest.mark.parametrize("kind", NO_GATES)
def test_what_only_looks_like_a_gate(lr, kind):
    with pytest.raises(sr_hooks.SRHooksError, match="Gated has no attention"):
        find(sr_hooks.Network(Gated(NO_GATES[kind])), lr)


@pytest.mark.parametrize("name", ["MSRResNet", "RRDBNet", "EDSR", "SRVGGNetCompact"])
def test_networks_without_attention(basicsr, photos, name):
    with pytest.raises(sr_hooks.SRHooksError, match=f"{name} has no attention: in a forward pass"):
        sr_hooks.run("attention", small(name), photos[:1], size=16)


def test_the_command_line_says_it_in_one_line(capsys, tmp_path):
    flags = ["--model", "demo:baseline", "--image", str(photographs()[0]), "--out", str(tmp_path / "out")]
    assert main(["attention", *flags]) == 2 and "has no attention" in capsys.readouterr().err


def test_fused_attention_is_the_same_attention(lr):
    seen = {}
    for fused in (False, True):
        torch.manual_seed(1)
        network = sr_hooks.Network(Attending(fused))
        (site,) = find(network, lr)
        assert site.kind == "self"
        gates: list[Event] = []
        with torch.no_grad(), acting(network, lambda event, gates=gates: gates.append(event)):
            plain = network(lr)
        changed = []
        for how in (opened, levelled):
            with torch.no_grad(), acting(network, how):
                changed.append(network(lr))
        seen[fused] = [gates[0].gate, plain, *changed]
    for written, fused in zip(seen[False], seen[True], strict=True):
        torch.testing.assert_close(written, fused, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(seen[True][1], seen[True][2], atol=1e-4)


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


def test_nothing_stays_behind(lr):
    network = sr_hooks.Network(Gated(GATES["pixel"]))

    def fail(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), acting(network, fail):
        network(lr)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.module.modules())
    with torch.no_grad():
        network(lr)  # would raise again if anything followed it still


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
