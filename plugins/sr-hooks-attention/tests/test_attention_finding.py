"""Attention is found in real networks by what they do, and nothing else is taken for it."""

from __future__ import annotations

import importlib
from collections import Counter

import pytest
import torch
from attention_networks import GATES, NO_GATES, Attending, Gated, small
from sr_hooks_attention.finding import Event, acting, find
from sr_hooks_attention.gates import levelled, opened

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.demo import photographs


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


def test_nothing_stays_behind(lr):
    network = sr_hooks.Network(Gated(GATES["pixel"]))

    def fail(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), acting(network, fail):
        network(lr)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.module.modules())
    with torch.no_grad():
        network(lr)  # would raise again if anything followed it still
