"""`nn.MultiheadAttention` is found, with torch's own results and weights, also where torch takes its fused path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sr_hooks_attention.finding import acting, find
from sr_hooks_attention.fused import multi_head_attention
from torch import nn
from torch.nn import functional as F

import sr_hooks

ARGUMENTS = {
    "plain": {},
    "batch first": {"batch_first": True},
    "without bias": {"bias": False},
    "keys of another width": {"kdim": 6, "vdim": 5},
    "added key and value": {"add_bias_kv": True},
    "added zero": {"add_zero_attn": True},
}
MASKS = {
    "none": {},
    "bool": {"attn_mask": torch.ones(5, 7).triu(3).bool()},
    "numbers a head": {"attn_mask": torch.linspace(-2, 2, 3 * 2 * 35).view(6, 5, 7)},
    "padding": {"key_padding_mask": torch.tensor([[False] * 5 + [True] * 2, [False] * 7, [True] + [False] * 6])},
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_written_out_it_gives_what_torch_gives(monkeypatch, arguments, mask):
    options = ARGUMENTS[arguments]
    module = nn.MultiheadAttention(8, 2, **options).eval()
    key, value = torch.randn(7, 3, options.get("kdim", 8)), torch.randn(7, 3, options.get("vdim", 8))
    inputs = [torch.randn(5, 3, 8), key, value]
    if options.get("batch_first"):
        inputs = [part.transpose(0, 1) for part in inputs]
    expected = module(*inputs, average_attn_weights=False, **MASKS[mask])
    calls = []

    def written_out(*args, **kwargs):
        calls.append(args)
        return multi_head_attention(*args, **kwargs)

    monkeypatch.setattr(F, "multi_head_attention_forward", written_out)
    result = module(*inputs, average_attn_weights=False, **MASKS[mask])
    assert len(calls) == 1
    for own, other in zip(result, expected, strict=True):
        torch.testing.assert_close(own, other, atol=1e-6, rtol=1e-5)


class Encoder(nn.Module):
    """Self-attention over all positions by a module of torch."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.first, self.attention, self.last = nn.Conv2d(3, 8, 3, padding=1), attention, nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.first(x).flatten(2).transpose(1, 2)
        if isinstance(self.attention, nn.MultiheadAttention):
            tokens = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        else:
            tokens = self.attention(tokens)
        return x + self.last(tokens.transpose(1, 2).unflatten(2, x.shape[-2:]))


def test_its_weights_are_drawn(lr):
    module = Encoder(nn.MultiheadAttention(8, 2, batch_first=True)).eval()
    image = lr[..., :13, :17]
    result = sr_hooks.run("attention-map", module, image, query=(5, 6), check="none", heads="apart")
    (row,) = result.scalars["layers"]
    assert (row["layer"], row["kind"], row["heads"]) == ("attention", "self", 2)
    with torch.no_grad():
        tokens = module.first(image).flatten(2).transpose(1, 2)
        weights = module.attention(tokens, tokens, tokens, average_attn_weights=False)[1]
    expected = weights[0, :, 5 * 17 + 6].view(2, 13, 17).numpy()
    assert np.allclose(result.arrays["weights_0"], expected, atol=1e-6) and expected.std() > 0


def test_the_fused_path_of_an_encoder_layer_is_followed_too(lr):
    """In evaluation without gradients torch computes the whole layer in one kernel, which would hide the attention."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    network = sr_hooks.Network(Encoder(nn.TransformerEncoder(layer, 2)).eval(), scale=1, multiple=1, channels=3)
    image = lr[..., :13, :17]
    events = []
    with torch.no_grad():
        plain = network(image)
        with acting(network, events.append):
            followed = network(image)
    torch.testing.assert_close(plain, followed, atol=1e-5, rtol=1e-5)
    names = [f"attention.layers.{number}.self_attn" for number in range(2)]
    assert [site.name for site in find(network, image)] == names == [event.key[0] for event in events]


def test_taken_out_of_work_it_costs(photos):
    module = Encoder(nn.MultiheadAttention(8, 2, batch_first=True))
    result = sr_hooks.run("attention", sr_hooks.Network(module, scale=1, multiple=1, channels=3), photos[:1], size=16)
    (row,) = result.scalars["table"]
    assert row["site"] == "attention" and row["kind"] == "self" and row["open"] != 0


@pytest.mark.parametrize("how", [{"is_causal": True}, {"enable_gqa": True}])
def test_fused_attention_with_a_causal_mask_or_shared_keys(lr, how):
    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.first(x).flatten(2).transpose(1, 2)
            query = tokens.view(1, -1, 4, 2).transpose(1, 2)
            key = query[:, ::2] if "enable_gqa" in how else query
            mixed = F.scaled_dot_product_attention(query, key, key, **how)
            return x + self.last(mixed.transpose(1, 2).reshape(tokens.shape).transpose(1, 2).unflatten(2, x.shape[-2:]))

    network = sr_hooks.Network(Fused(), scale=1, multiple=1, channels=3)
    image = lr[..., :9, :11]
    with torch.no_grad():
        plain = network(image)
        with acting(network, lambda event: event.gate.clone()):  # values that are returned take the kernel's place
            again = network(image)
    torch.testing.assert_close(plain, again, atol=1e-6, rtol=1e-5)
    result = sr_hooks.run("attention-map", network, image, query=(4, 5), check="none")
    later = result.arrays["weights_0"].ravel()[4 * 11 + 6 :]
    assert (later.max() < 1e-7) == ("is_causal" in how)
