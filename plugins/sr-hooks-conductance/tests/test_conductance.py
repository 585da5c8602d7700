"""Conductance where the answer is known, its completeness, its proof, and methods that must fail."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sr_hooks_conductance import path_sums, train_only
from sr_hooks_conductance.proof import agreement
from sr_hooks_conductance.units import units_of
from torch import nn

import sr_hooks
from sr_hooks.attribution import make_path
from sr_hooks.demo import photographs
from sr_hooks.errors import ImageError, NetworkError, TapError
from sr_hooks.images import blur, downsample, read_image


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def lr() -> torch.Tensor:
    return read_image(photographs()[1])[..., 60:85, 40:71]  # odd sides


class Block(nn.Module):
    """x plus a factor times a branch."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.factor * self.second(torch.relu(self.first(x)))


class Chain(nn.Module):
    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.head, self.body, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.ModuleList(blocks), nn.Conv2d(6, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.head(x)
        for block in self.body:
            y = block(y)
        return x + self.last(y)


def network_of(module: nn.Module) -> sr_hooks.Network:
    return sr_hooks.Network(module, scale=1, multiple=1, channels=3)


def chain(*factors: float) -> sr_hooks.Network:
    return network_of(Chain([Block(factor) for factor in factors]))


def test_complete_over_the_output_and_over_the_cut(lr):
    result = sr_hooks.run("conductance", chain(1, 1, 1), lr, window=(5, 7, 9))
    scalars = result.scalars
    assert scalars["completeness_gap"] < 0.005 and scalars["output_gap"] < 0.005
    parts = float(result.arrays["direct"].sum()) + scalars["around"]
    assert parts == pytest.approx(scalars["objective_change"], rel=0.01)
    assert abs(float(result.arrays["direct"].sum())) > 0.01 * abs(scalars["objective_change"]), "blocks have a share"
    assert [row["part"] for row in scalars["layers"]] == ["added"] * 3


def test_a_layer_times_zero_scores_zero(lr):
    result = sr_hooks.run("conductance", chain(1, 0, 1), lr)
    assert result.arrays["conductance"][1] == result.arrays["signed"][1] == result.arrays["change"][1] == 0
    assert (result.arrays["conductance"][[0, 2]] > 0).all()

    class Silent(Chain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.head(x)
            return x + self.last(y + 0 * self.body[0].first(y))

    silent = network_of(Silent([Block()]))
    named = sr_hooks.run("conductance", silent, lr, layers=["head", "body.0.first"])
    assert named.arrays["conductance"][1] == 0 < named.arrays["conductance"][0]


class Branches(nn.Module):
    """The same branch several times, each with an equal share."""

    def __init__(self, count: int) -> None:
        super().__init__()
        torch.manual_seed(3)
        first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1))
        self.branches = nn.ModuleList([first] + [nn.Sequential(*first) for _ in range(count - 1)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.stack([branch(x) for branch in self.branches]).mean(dim=0)


def test_a_duplicated_branch_shares_its_score(lr):
    one = sr_hooks.run("conductance", network_of(Branches(1)), lr, layers="branches.0").arrays
    two = sr_hooks.run("conductance", network_of(Branches(2)), lr).arrays
    for key in ("conductance", "signed"):
        assert two[key] == pytest.approx([one[key][0] / 2] * 2, rel=1e-4), key


def test_of_a_linear_network_the_integral_is_known(lr):
    """D is the sum of the output, so a block adds the sum of (branch of the image) less (branch of the baseline)."""

    class Scale(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.conv, self.factor = nn.Conv2d(6, 6, 1), factor
            self.part = nn.Sequential(self.conv)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.factor * self.part(x)

    module = Chain([Scale(0.5), Scale(-2.0)])
    result = sr_hooks.run("conductance", network_of(module), lr, objective="intensity", steps=2)
    with torch.no_grad():
        conv = module.body[1].conv
        start, end = (conv(module.body[0](module.head(x))) for x in (make_path("blur")(lr, [0.0]), lr))
        added = module.last.weight[..., 0, 0] @ (-2.0 * (end - start)).flatten(2)[0]
    assert result.arrays["signed"][1] == pytest.approx(float(added.double().sum()), rel=1e-3, abs=1e-3)


def test_a_cut_that_counts_a_way_twice_is_not_complete(lr, monkeypatch):
    """Broken: gradients through later blocks are summed as if they were a cut's, so what passes two counts twice."""
    whole = path_sums._node

    def broken(question, times):
        node = whole(question, times)
        return path_sums.Node(node.values, node.parts, node.total, {k: node.total[k] for k in node.direct})

    monkeypatch.setattr(path_sums, "_node", broken)
    result = sr_hooks.run("conductance", chain(3, 3, 3), lr, steps=16)
    assert result.scalars["completeness_gap"] > 0.01
    assert result.verdict.startswith("cannot tell: the integral is not complete")


def test_random_masks_as_a_path_are_not_complete(lr):
    """Broken: the published mask path, along which random pixels are shown; it is no curve that can be integrated."""
    order = torch.rand(1, 1, *lr.shape[-2:], generator=torch.Generator().manual_seed(0))

    def masks(image: torch.Tensor, t: float) -> torch.Tensor:
        return image * (order < t if t < 1 else torch.ones_like(order))

    result = sr_hooks.run("conductance", chain(3, 3, 3, 3), lr, path=masks, steps=16)
    assert result.scalars["completeness_gap"] > 0.01 and result.verdict.startswith("cannot tell")


def test_scores_in_random_order_do_not_agree():
    rng = np.random.default_rng(0)
    effect = np.exp(rng.normal(size=16))
    noise = {"noise": rng.normal(size=16)}
    right, wrong = agreement(effect**2, noise, effect, 0), agreement(rng.permutation(effect), noise, effect, 0)
    assert right.value == pytest.approx(1) and right.low > 0.9 and right.excess_low > 0
    assert wrong.low < 0 < wrong.high
    assert agreement(np.ones(16), noise, effect, 0).value == 0, "equal scores rank nothing"


def test_batches_of_nodes_change_nothing(lr):
    network = chain(1, 1)
    one, several = (sr_hooks.run("conductance", network, lr, batch=batch, steps=6) for batch in (1, 5))
    for key in ("conductance", "signed", "direct"):
        assert several.arrays[key] == pytest.approx(one.arrays[key], rel=1e-4, abs=1e-5), key
    assert several.scalars["error"] == pytest.approx(one.scalars["error"], rel=1e-3)
    assert several.scalars["gap_of_half_the_nodes"] > several.scalars["completeness_gap"]


def test_blocks_that_share_parts_keep_their_weights(lr):
    network = network_of(Branches(2))
    before = [p.clone() for p in network.module.parameters()]
    sr_hooks.run("conductance", network, lr, steps=2)
    assert all(torch.equal(a, b) for a, b in zip(before, network.module.parameters(), strict=True))


def test_the_network_is_as_before_and_too_few_blocks_are_refused_an_answer(lr):
    network = chain(1, 1)
    before = {key: value.clone() for key, value in network.module.state_dict().items()}
    result = sr_hooks.run("conductance", network, lr)
    assert result.verdict.startswith("cannot tell: 2 layers are too few")
    assert all(torch.equal(value, before[key]) for key, value in network.module.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.module.modules())
    assert all(p.requires_grad for p in network.module.parameters())


def test_units_runs_of_one_module_and_names(lr):
    class Twice(Chain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(super().forward(x))

    twice = network_of(Twice([Block(), Block()]))
    units = units_of(twice, lr, "blocks")
    assert [[str(tap) for tap in unit.taps] for unit in units] == [[f"body.{i}#0", f"body.{i}#1"] for i in range(2)]
    assert sr_hooks.run("conductance", twice, lr, steps=16).scalars["completeness_gap"] < 0.02
    assert [unit.added for unit in units_of(network_of(Branches(2)), lr, "blocks")] == [False, False]
    with pytest.raises(TapError, match=r"body\.7"):
        sr_hooks.run("conductance", chain(1, 1), lr, layers="body.7")
    with pytest.raises(ImageError, match="ground truth"):
        sr_hooks.run("conductance", chain(1, 1), lr, gt=lr[..., :10])


def test_the_list_is_a_filter_for_fine_tuning(lr):
    network = chain(0.1, 3, 0.1, 0.1)
    result = sr_hooks.run("conductance", network, lr, top=0.25)
    assert result.scalars["finetune"] == ["body.1"]
    names = train_only(network.module, result)
    assert names == [f"body.1.{part}.{kind}" for part in ("first", "second") for kind in ("weight", "bias")]
    assert [name for name, p in network.module.named_parameters() if p.requires_grad] == names
    other = chain(1, 1, 1, 1).module
    exec(result.scalars["finetune_python"], {"network": other})
    assert [name for name, p in other.named_parameters() if p.requires_grad] == names
    with pytest.raises(NetworkError):
        train_only(network.module, ["nothing"])


def test_inputs_that_leave_nothing_to_explain(lr):
    grey = sr_hooks.run("conductance", chain(*[1] * 6), torch.full_like(lr, 0.5), steps=2)
    assert grey.verdict.startswith("cannot tell: the image is its own baseline") and grey.figure() is not None
    with pytest.raises(TapError, match="no convolution inside"):
        sr_hooks.run("conductance", network_of(nn.Conv2d(3, 3, 3, padding=1)), lr)
    with pytest.raises(TapError, match=r"no layer matches 'nope\.\*'"):
        sr_hooks.run("conductance", chain(1, 1), lr, layers="nope.*")

    class Broken(Chain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) / 0

    with pytest.raises(NetworkError, match="NaN or infinite on the path"):
        sr_hooks.run("conductance", network_of(Broken([Block()])), lr, steps=2)


def test_images_of_two_sizes_half_precision_and_channels_last_give_the_same(lr):
    network = chain(1, 0.5, 1)
    expected = sr_hooks.run("conductance", network, lr, steps=6).arrays
    one, two = sr_hooks.run("conductance", network, [lr, lr[..., :17, :20]], steps=6)
    assert one.arrays["map_0"].shape == (25, 31) and two.arrays["map_0"].shape == (17, 20)
    pair = sr_hooks.run("conductance", network, lr, window=[(0, 0, 8), (9, 9, 12)], steps=2)
    assert [result.scalars["window"] for result in pair] == [[0, 0, 8, 8], [9, 9, 12, 12]]
    last = network_of(Chain([Block(1), Block(0.5), Block(1)]).to(memory_format=torch.channels_last))
    last.module.load_state_dict(network.module.state_dict())
    rounded = network_of(copy.deepcopy(network.module).to(torch.bfloat16))
    for other, tolerance in ((one, 1e-5), (sr_hooks.run("conductance", last, lr, steps=6), 1e-4),
                             (sr_hooks.run("conductance", rounded, lr, steps=6), 0.1)):  # fmt: skip
        assert other.arrays["conductance"] == pytest.approx(expected["conductance"], rel=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MSRResNet", "EDSR", "RCAN", "RRDBNet", "SwinIR", "SRVGGNetCompact", "ECBSR",
                                  "RIDNet", "HAT"])  # fmt: skip
def test_networks_at_odd_sizes(lr, name):
    arguments = {
        "MSRResNet": {"num_feat": 16, "num_block": 8, "upscale": 2},
        "EDSR": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 8, "upscale": 2},
        "RCAN": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_group": 2, "num_block": 4, "squeeze_factor": 4,
                 "upscale": 2},
        "RRDBNet": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 8, "num_grow_ch": 4, "scale": 2},
        "SwinIR": {"upscale": 2, "img_size": 24, "window_size": 8, "depths": [4, 4], "embed_dim": 12,
                   "num_heads": [2, 2], "mlp_ratio": 2, "upsampler": "pixelshuffledirect"},
        "SRVGGNetCompact": {"num_feat": 16, "num_conv": 8, "upscale": 2},
        "ECBSR": {"num_in_ch": 3, "num_out_ch": 3, "num_block": 6, "num_channel": 8, "with_idt": False,
                  "act_type": "prelu", "scale": 2},
        "RIDNet": {"in_channels": 3, "mid_channels": 16, "out_channels": 3, "num_block": 4},
    }  # fmt: skip
    if name == "HAT":
        hat = pytest.importorskip("spandrel.architectures.HAT")
        module = hat.HAT(img_size=16, embed_dim=12, depths=(4, 4), num_heads=(2, 2), window_size=8, compress_ratio=3,
                         squeeze_factor=4, mlp_ratio=2, upscale=2, upsampler="pixelshuffle")  # fmt: skip
        network = sr_hooks.Network(module)
    else:
        network = sr_hooks.Network.from_basicsr(name, arguments[name])
    result = sr_hooks.run("conductance", network, lr)
    scalars = result.scalars
    assert scalars["completeness_gap"] < 0.01 and len(scalars["layers"]) >= (4 if name == "RIDNet" else 6)
    assert np.isfinite(result.arrays["conductance"]).all() and "map_0" in result.arrays
    assert result.figure() is not None
    if name in ("MSRResNet", "EDSR", "RCAN", "RRDBNet", "SwinIR", "HAT"):
        assert {row["part"] for row in scalars["layers"]} == {"added"}


@pytest.mark.slow
def test_clips(lr):
    network = sr_hooks.Network.from_basicsr("BasicVSR", {"num_feat": 8, "num_block": 2})
    clip = torch.stack([read_image(photographs()[1])[..., 60:95, 40 + i : 75 + i] for i in range(2)], dim=1)
    result = sr_hooks.run("conductance", network, clip, steps=8)
    assert result.scalars["completeness_gap"] < 0.01
    assert {row["layer"].split(".")[0] for row in result.scalars["layers"]} >= {"backward_trunk", "forward_trunk"}


@pytest.mark.slow
def test_the_proof_agrees_on_the_target_and_the_baseline_cannot_be_told():
    data = Path(os.environ.get("SR_HOOKS_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not (data / "SOURCES.md").is_file():
        pytest.skip("the development data (shared/data, or SR_HOOKS_DATA) is not on this machine")
    hr = read_image(data / "set5/GTmod12/baby.png")[..., 208:304, 208:304]
    lr = downsample(blur(hr, [2.0], size=15), 2).clamp(0, 1)
    arguments = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 16, "upscale": 2}
    results = {
        (state, gt is not None): sr_hooks.run(
            "conductance",
            sr_hooks.Network.from_basicsr("MSRResNet", arguments, weights=data / f"weights/msrresnet_x2_{state}.pth"),
            lr, gt=gt,
        )
        for state, gt in (("target", None), ("target", hr), ("baseline", None))
    }  # fmt: skip
    for (state, with_gt), result in results.items():
        scalars = result.scalars
        assert scalars["completeness_gap"] < 0.01
        assert result.verdict.startswith("cannot tell") == (state == "baseline"), (state, with_gt)
        if state == "target":
            assert scalars["agreement"] >= 0.75 > max(scalars["controls"].values())
    assert results["target", True].figure() is not None
