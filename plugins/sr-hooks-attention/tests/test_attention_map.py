"""Weights are drawn at the pixels that they read: planted copies, and real networks against their own formulas."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from attention_networks import GATES, Attending, Gated, Windows, copying, small
from sr_hooks_attention.finding import acting
from torch import nn

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.images import write_image

SIZE = (37, 45)  # no multiple of any window


@pytest.fixture(scope="module")
def odd(photos) -> torch.Tensor:
    return photos[1][..., 20 : 20 + SIZE[0], 10 : 10 + SIZE[1]]


def planted(odd: torch.Tensor, shift: int = 0, **options):
    network = sr_hooks.Network(Windows(copying((0, -5), (-3, 0)), shift=shift), scale=1, multiple=1, channels=3)
    return sr_hooks.run("attention-map", network, odd, **{"query": (20 + shift, 30 + shift), "check": "none"} | options)


@pytest.mark.parametrize("shift", [0, 3])
def test_each_head_is_drawn_where_it_copies_from(odd, shift):
    result = planted(odd, shift, query=(20 + shift, 29 + shift), heads="apart")
    maps = result.arrays["weights_0"]
    assert maps.shape == (2, *SIZE) and maps.sum(axis=(1, 2)) == pytest.approx([1, 1], abs=1e-5)
    y, x = 20 + shift, 29 + shift
    assert maps[0, y, x - 5] == pytest.approx(1, abs=1e-5) and maps[1, y - 3, x] == pytest.approx(1, abs=1e-5)
    (row,) = result.scalars["layers"]
    assert row["heads"] == 2 and row["mean_distance"] == pytest.approx(4, abs=1e-4)
    assert row["offset"] == pytest.approx([-1.5, -2.5], abs=1e-4) and row["entropy"] == pytest.approx(0, abs=1e-4)


def test_a_copy_in_the_padding_is_drawn_at_the_pixel_that_it_mirrors(odd):
    network = sr_hooks.Network(Windows(copying((0, 5), (0, 5))), scale=1, multiple=1, channels=3)
    weights = sr_hooks.run("attention-map", network, odd, query=(20, 42), check="none").arrays["weights_0"]
    assert weights[20, 41] == pytest.approx(1, abs=1e-5), "column 47 of the padded image mirrors column 41 about 44"


def test_fused_attention_has_the_same_weights(odd):
    maps = []
    for fused in (False, True):
        torch.manual_seed(1)
        network = sr_hooks.Network(Attending(fused), scale=1, multiple=1, channels=3)
        maps.append(sr_hooks.run("attention-map", network, odd, query=(5, 6), check="none").arrays["weights_0"])
    assert np.allclose(*maps, atol=1e-6) and maps[0].std() > 0


def test_a_window_is_the_mean_of_its_pixels(odd):
    pixels = [(y, x) for y in (20, 21) for x in (29, 30)]
    window = planted(odd, query=(20, 29, 2)).arrays["weights_0"]
    single = [planted(odd, query=pixel).arrays["weights_0"] for pixel in pixels]
    assert np.allclose(window, np.mean(single, axis=0), atol=1e-6)


def test_rollout_of_two_copies_by_hand(odd):
    module = Windows(copying((0, -5), (0, -5), side=16), side=16, layers=2)
    network = sr_hooks.Network(module, scale=1, multiple=1, channels=3)
    result = sr_hooks.run("attention-map", network, odd, query=(20, 30), rollout=True, check="gradient")
    rollout = result.arrays["rollout"]
    assert rollout[20, [30, 25, 20]] == pytest.approx([0.25, 0.5, 0.25], abs=1e-5)
    control = result.arrays["rollout_control"]
    assert control.sum() == pytest.approx(1, abs=1e-5) and control[20, 25] < 0.1 and control[20, 30] > 0.24
    assert result.scalars["rollout_p"] <= 0.05, "what is used is the pixel ten to the left"


def test_swinir_shifted_against_its_own_formula(basicsr, odd):
    module = small("SwinIR").eval()
    name = "layers.0.residual_group.blocks.1.attn"
    part, seen = module.get_submodule(name), {}
    part.register_forward_hook(lambda _, args, out: seen.update(tokens=args[0]))
    result = sr_hooks.run("attention-map", module, odd, query=(35, 43), layers=name, heads="apart", check="none")
    tokens, windows = seen["tokens"], (5, 6)
    q, k, _ = part.qkv(tokens).reshape(30, 64, 3, 2, 6).permute(2, 0, 3, 1, 4).detach()
    bias = part.relative_position_bias_table[part.relative_position_index.view(-1)].view(64, 64, 2).permute(2, 0, 1)
    logits = q * part.scale @ k.transpose(-2, -1) + bias
    weights = logits.softmax(-1).detach()  # the mask cuts only the last windows of a row or column
    y, x = 35 - 4, 43 - 4  # rolled by half a window
    window, token = y // 8 * windows[1] + x // 8, y % 8 * 8 + x % 8
    expected = np.zeros((2, *SIZE))
    for key in range(64):
        ky, kx = y // 8 * 8 + key // 8 + 4, x // 8 * 8 + key % 8 + 4  # in the padded image of 40 x 48
        ky, kx = min(ky, 2 * 36 - ky), min(kx, 2 * 44 - kx)
        expected[:, ky, kx] += weights[window, :, token, key].numpy()
    assert np.allclose(result.arrays["weights_0"], expected, atol=1e-6)


NETWORKS = {
    "HAT": ("spandrel.architectures.HAT.__arch.HAT:HAT",
            {"img_size": 16, "window_size": 8, "depths": [1], "embed_dim": 12, "num_heads": [2], "mlp_ratio": 2,
             "squeeze_factor": 3, "compress_ratio": 3, "upsampler": "pixelshuffle", "upscale": 2}),
    "DAT": ("spandrel.architectures.DAT.__arch.DAT:DAT",
            {"img_size": 32, "embed_dim": 16, "depth": [2], "num_heads": [2], "split_size": [8, 8], "upscale": 2}),
    "Swin2SR": ("spandrel.architectures.Swin2SR.__arch.Swin2SR:Swin2SR",
                {"img_size": 16, "window_size": 8, "depths": [2], "embed_dim": 12, "num_heads": [2], "mlp_ratio": 2,
                 "upsampler": "pixelshuffledirect", "upscale": 2}),
    "SRFormer": ("spandrel_extra_arches.architectures.SRFormer.__arch.SRFormer:SRFormer",
                 {"img_size": 24, "window_size": 12, "depths": [2], "embed_dim": 24, "num_heads": [3], "mlp_ratio": 2,
                  "upsampler": "pixelshuffledirect", "upscale": 2}),
    "ATD": ("spandrel.architectures.ATD.__arch.atd_arch:ATD",
            {"img_size": 32, "window_size": 8, "depths": [2], "embed_dim": 24, "num_heads": [2], "num_tokens": 16,
             "category_size": 32, "reducted_dim": 4, "mlp_ratio": 2, "upsampler": "pixelshuffledirect", "upscale": 2}),
    "Uformer": ("spandrel.architectures.Uformer.__arch.Uformer:Uformer",
                {"img_size": 32, "embed_dim": 8, "depths": [1] * 9}),
}  # fmt: skip


def real(name: str) -> nn.Module:
    pytest.importorskip("spandrel_extra_arches" if name == "SRFormer" else "spandrel")
    path, arguments = NETWORKS[name]
    module, part = path.split(":")
    return getattr(importlib.import_module(module), part)(**arguments).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_lie_on_pixels_at_an_odd_size(odd, name):
    result = sr_hooks.run("attention-map", real(name), odd, query=(20, 29), layers="all", check="none")
    rows = result.scalars["layers"]
    shows = [row["shows"] for row in rows if row["kind"] not in ("channel", "transposed", "self")]
    assert len(shows) >= 2 and all(show.startswith("pixels") for show in shows)
    for index, row in enumerate(rows):
        if row["shows"].startswith("pixels"):
            weights = result.arrays[f"weights_{index}"]
            assert weights.shape == SIZE and weights.sum() + row["outside"] == pytest.approx(1, abs=1e-4)


def gates(module: nn.Module, lr: torch.Tensor) -> dict[str, torch.Tensor]:
    events: dict[str, torch.Tensor] = {}
    network = sr_hooks.Network(module)
    with torch.no_grad(), network.prepared(), acting(network, lambda e: events.update({e.key[0]: e.gate})):
        network(lr)
    return events


def test_overlapping_windows_of_hat_reach_beyond_the_window(odd):
    module = real("HAT")
    name = "layers.0.residual_group.overlap_attn"
    result = sr_hooks.run("attention-map", module, odd, query=(20, 29), layers=name, heads="apart", check="none")
    gate = gates(module, odd)[name]  # (5 x 6 windows, heads, 64, 144)
    row = gate[2 * 6 + 3, :, (20 - 16) * 8 + (29 - 24)].view(2, 12, 12)
    assert np.allclose(result.arrays["weights_0"][:, 14:26, 22:34], row.numpy(), atol=1e-6)


def test_permuted_keys_of_srformer_stand_for_two_by_two_pixels(odd):
    module = real("SRFormer")
    name = "layers.0.residual_group.blocks.0.attn"
    result = sr_hooks.run("attention-map", module, odd, query=(20, 29), layers=name, check="none")
    row = gates(module, odd)[name][1 * 4 + 2, :, (20 - 12) * 12 + (29 - 24)].mean(dim=0).view(6, 6)
    blocks = result.arrays["weights_0"][12:24, 24:36].reshape(6, 2, 6, 2).sum(axis=(1, 3))
    assert np.allclose(blocks, row.numpy(), atol=1e-6)


def test_a_dictionary_leads_to_the_pixels_that_read_the_same_entries(odd):
    module = real("ATD")
    name = "layers.0.residual_group.layers.0.attn_atd"
    result = sr_hooks.run("attention-map", module, odd, query=(20, 29), layers=name, check="gradient")
    gate = gates(module, odd)[name][0].view(40, 48, 16)[: SIZE[0], : SIZE[1]].double()  # padded to windows inside
    share = gate / gate.sum(dim=(0, 1))
    assert np.allclose(result.arrays["weights_0"], (share @ gate[20, 29]).numpy(), atol=1e-7)
    assert np.allclose(result.arrays["entries_0"], gate[20, 29].numpy(), atol=1e-6)


def bright(tokens: torch.Tensor) -> torch.Tensor:
    """Every pixel of a window reads its brightest."""
    value = tokens.sum(dim=-1)
    return (15 * value)[:, None, None, :].expand(-1, 2, tokens.shape[1], -1)


def network_of(logits, gain: float = 1.0) -> sr_hooks.Network:
    module = Windows(logits)
    with torch.no_grad():
        for conv in (module.first, module.last):
            conv.weight.fill_(0.25), conv.bias.zero_()

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.gain = module, gain

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (1 - self.gain) * nn.functional.avg_pool2d(x, 5, 1, 2) + self.gain * self.attention(x)

    return sr_hooks.Network(Beside(), scale=1, multiple=1, channels=3)


def noise() -> torch.Tensor:
    return torch.rand(1, 3, 61, 53, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("check", ["lam", "gradient"])
def test_attention_by_content_agrees_more_than_other_windows(check):
    result = sr_hooks.run("attention-map", network_of(bright), noise(), query=(20, 29), check=check)
    (row,) = result.scalars["layers"]
    assert row["read_rank"] > 0.95 and row["p_shuffled"] <= 0.05 and row["p"] <= 0.05 and row["control"] < 0.9
    assert result.verdict.startswith("agrees: the weights of 1 of 1") and "1 of 1 also more" in result.verdict


def test_a_copy_agrees_by_position_alone():
    network = network_of(copying((0, -5), (0, -5)))
    result = sr_hooks.run("attention-map", network, noise(), query=(20, 30), check="gradient")
    assert result.scalars["layers"][0]["p"] == 1 and result.verdict.startswith("agrees by position alone")


def test_attention_that_the_output_does_not_use_cannot_be_told():
    result = sr_hooks.run("attention-map", network_of(bright, gain=0.0), noise(), query=(28, 28), check="gradient")
    assert result.verdict.startswith("cannot tell: the weights of 0 of 1 layers agree with the gradient")


def test_the_command_gives_the_same_weights(odd, tmp_path):
    write_image(odd, tmp_path / "a.png")
    model = f"{Path(__file__).with_name('attention_networks.py')}:Copying"
    flags = ["--query", "20,30", "--check", "none", "--rollout", "--heads", "apart", "--out", str(tmp_path / "out")]
    assert main(["attention-map", "--model", model, "--image", str(tmp_path / "a.png"), *flags]) == 0
    (saved,) = {path.parent for path in (tmp_path / "out").rglob("result.json")}
    assert sr_hooks.load(saved).arrays["weights_0"][0, 20, 25] == pytest.approx(1, abs=1e-5)
    assert (saved / "figure.png").is_file()


def test_the_figure_takes_all_options(odd):
    result = planted(odd, heads="apart", rollout=True)
    figure = result.figure(panels=["input", "weights_0_1", "rollout_control"], crop=(8, 8, 24, 30), colormap="viridis")
    titles = [axes.get_title() for axes in figure.axes]
    assert any("head 2" in title for title in titles) and not any("head 1" in title for title in titles)


def test_mistakes_are_refused(odd):
    with pytest.raises(sr_hooks.SRHooksError, match=r"query \(37, 3\) is no pixel of the input, which is 37"):
        planted(odd, query=(37, 3))
    with pytest.raises(sr_hooks.SRHooksError, match=r"query \(3.7, 3\) is not understood"):
        planted(odd, query=(3.7, 3))
    with pytest.raises(sr_hooks.SRHooksError, match="no attention 'body' in Windows"):
        planted(odd, layers="body")
    with pytest.raises(sr_hooks.SRHooksError, match="no attention '3' in Windows"):
        planted(odd, layers=3)
    with pytest.raises(sr_hooks.SRHooksError, match="no attention that a query reads"):
        sr_hooks.run("attention-map", Gated(GATES["pixel"]), odd)


def test_several_images_give_a_result_each(odd):
    results = planted([odd, odd[..., :32, :40]], query=(20, 30))
    assert [result.arrays["weights_0"].shape for result in results] == [SIZE, (32, 40)]
    assert np.allclose(results[0].arrays["weights_0"], planted(odd, query=(20, 30)).arrays["weights_0"])


def test_the_text_of_a_query_is_the_same_query(odd):
    assert planted(odd, query="20,30").scalars["query"] == [[20, 30]]
    assert planted(odd, query="20,30,2").scalars["query"] == [[20, 30], [20, 31], [21, 30], [21, 31]]
    scaled = sr_hooks.run("attention-map", real("DAT"), odd, query=(20, 29), check="none")
    assert scaled.scalars["window"] == [40, 58, 2, 2]


def test_watched_in_a_basicsr_training(basicsr, tmp_path):
    runs = pytest.importorskip(
        "tests.integration.basicsr.runs", reason="started outside the repository, whose runs this borrows"
    )
    data = runs.make_data(tmp_path / "pictures")
    network = {"type": "SwinIR", "upscale": 2, "img_size": 16, "window_size": 8, "depths": [2], "embed_dim": 12,
               "num_heads": [2], "mlp_ratio": 2, "upsampler": "pixelshuffledirect"}  # fmt: skip
    block = {"attention-map": {"every": 2, "budget": "off", "query": [4, 5]}}
    content = runs.options(data, network, train={"total_iter": 4}, sr_hooks=block)
    runs.train(runs.write(content, tmp_path / "x.yml"), tmp_path / "run", sr_hooks.analyze)
    found = sorted((tmp_path / "run").rglob("result.json"))
    assert [path.parent.parent.name for path in found] == ["2", "4"]
    assert sr_hooks.load(found[0].parent).scalars["query"] == [[4, 5]]
    content["sr_hooks"] = {"attention-map": {"every": 2, "query": [4000, 5]}}
    with pytest.raises(sr_hooks.SRHooksError, match="is no pixel of the input"):
        runs.train(runs.write(content, tmp_path / "y.yml"), tmp_path / "refused", sr_hooks.analyze)
