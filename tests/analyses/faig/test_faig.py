"""FAIG: planted filters, exact symmetries, the published arrays, completeness, and every architecture."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks import Network, SRHooksError, faig
from sr_hooks.analyses.degraded_pairs import make_inputs
from sr_hooks.analyses.faig.filters import Filters
from sr_hooks.attribution.weight_paths import StraightPath, WeightGradients
from sr_hooks.errors import ImageError, NetworkError, OptionError
from sr_hooks.images.image import downsample
from tests.conftest import hooks_on
from tests.support.architectures import ARCHITECTURES
from tests.support.networks import Tiny

SMALL = {**ARCHITECTURES, "SwinIR": {**ARCHITECTURES["SwinIR"], "img_size": 16}}


def moved(module: nn.Module, amount: float = 0.02, seed: int = 0) -> nn.Module:
    """A copy with every parameter changed a little, at random."""
    other = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += amount * torch.randn(parameter.shape, generator=generator)
    return other


@pytest.fixture(scope="module")
def gt(photo):
    """Two pieces of a photograph, (2,3,32,32)."""
    return torch.cat([photo[..., 80:112, 80:112], photo[..., 40:72, 100:132]])


@pytest.fixture(scope="module")
def pair():
    baseline = Tiny(2)
    return Network(baseline), Network(moved(baseline))


@pytest.fixture(scope="module")
def result(pair, gt):
    return faig(*pair, images=gt, any_order=True)


# -- what it answers ---------------------------------------------------------------------------------


class Planted(nn.Module):
    """Two layers of 3 channels without bias, of which one kernel removes noise.

    The baseline passes the image through. In the target the kernel (1, 1) of the
    first layer has become a 5-pixel average, which removes noise from the green channel; all others have moved by next
    to nothing.
    """

    def __init__(self, smooth: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.last = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.first.weight.zero_()
            for channel in range(3):
                self.first.weight[channel, channel, 1, 1] = 1
            self.last.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            if smooth:
                self.first.weight[1, 1] = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 1, 0]]) / 5
                self.first.weight += 1e-3
                self.last.weight -= 1e-3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x))


def test_a_planted_denoising_kernel_is_ranked_first(photo):
    smooth_part = F.avg_pool2d(photo[..., :128, :128], 4)  # so that averaging costs little but for the noise
    result = faig(Planted(False), Planted(True), images=smooth_part, degradations=("noise:40", "clean"))
    first = result.filters.where(result.ranking("noise:40")[:1])
    assert first == [("first", 1, 1)]
    scores = result.scores["noise:40"]["first"]
    assert scores[1, 1] > 5 * np.delete(scores.ravel(), 4).max()
    assert result.completeness_gap < 0.01


def test_antisymmetry_is_exact(result):
    one, other = result.contrast("blur:2", "noise:25.5"), result.contrast("noise:25.5", "blur:2")
    assert np.array_equal(one, -other) and np.any(one)
    assert np.array_equal(result.contrast("blur:2"), one)
    distinct = np.unique(one).size == one.size
    assert not distinct or np.array_equal(result.ranking("blur:2"), result.ranking("noise:25.5")[::-1])


def test_three_degradations_in_one_pass_equal_each_alone(pair, gt):
    kinds = ("clean", "blur:2", "jpeg:30")
    together = faig(*pair, images=gt, degradations=kinds, steps=6, any_order=True)
    for row, kind in enumerate(kinds):
        alone = faig(*pair, images=gt, degradations=(kind,), steps=6, any_order=True)
        assert np.array_equal(alone.arrays["scores"][0], together.arrays["scores"][row])
    mean = together.contrast("clean")
    assert np.allclose(mean, together.arrays["scores"][0] - together.arrays["scores"][1:].mean(axis=0))


def test_scores_are_those_of_the_equations(pair, gt):
    """By hand: trapezoid-like sums of plain autograd, the absolute value between path sum and kernel sum, per image."""
    from sr_hooks.attribution.weight_quadrature import nodes

    baseline, target = pair
    lrs = downsample(gt, 2)
    result = faig(baseline, target, degraded={"clean": lrs}, gt=gt, steps=7, any_order=True)
    rule = nodes(7)
    total = 0
    for lr, truth in zip(lrs.split(1), gt.split(1), strict=True):
        sums = 0
        for t, weight in rule:
            module = copy.deepcopy(target.module)
            with torch.no_grad():
                for p, b, e in zip(
                    module.parameters(), baseline.module.parameters(), target.module.parameters(), strict=True
                ):
                    p.copy_(b + t * (e - b))
            (module(lr) - truth).square().sum().backward()
            sums = sums + weight * module.tail.weight.grad
        change = target.module.tail.weight - baseline.module.tail.weight
        total = total + (sums / sum(w for _, w in rule) * change).abs().sum(dim=(2, 3))
    expected = (total / 2).detach().numpy()
    assert np.allclose(result.scores["clean"]["tail"], expected, rtol=1e-4)
    assert result.scores["clean"]["tail.weight"].shape == (12, 8)


def test_a_straight_integrand_is_integrated_closely_and_only_what_moved_is_scored(gt):
    """Where only the last, linear layer moves, the loss is quadratic along the path."""
    baseline = Tiny(2)
    target = copy.deepcopy(baseline)
    with torch.no_grad():
        target.tail.weight += 0.03 * torch.randn(target.tail.weight.shape, generator=torch.Generator().manual_seed(1))
    result = faig(baseline, target, images=gt, steps=80, any_order=True)
    assert result.completeness_gap < 1e-3
    assert not result.scores["blur:2"]["head"].any() and result.scores["blur:2"]["tail"].any()


# -- the published procedure and the real pair -------------------------------------------------------

MSR = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 16, "upscale": 2}


@pytest.fixture(scope="module")
def real_pair(data, basicsr):
    weights = data / "weights"
    return tuple(
        Network.from_basicsr("MSRResNet", MSR, weights=weights / f"msrresnet_x2_{state}.pth")
        for state in ("baseline", "target")
    )


@pytest.fixture(scope="module")
def golden(data):
    stored = np.load(data / "golden/faig_msrresnet_x2.npz")
    degraded = {name: torch.from_numpy(stored[name]) for name in ("blur", "noise")}
    return degraded, torch.from_numpy(stored["gt"]), stored["faig_blur_minus_noise"], list(stored["names"])


def gauss_legendre(pair, lrs, gt, count: int) -> list[np.ndarray]:
    """One image's scores for each of its degraded inputs, by another quadrature than FAIG's."""
    baseline, target = pair
    path, filters = StraightPath.between(baseline.module, target.module), Filters.of(target.module)
    sums = [[torch.zeros_like(path.end[n]) for n in path.moving] for _ in lrs]
    with target.prepared():
        engine = WeightGradients(target, path)
        for position, weight in zip(*np.polynomial.legendre.leggauss(count), strict=True):
            engine.move_to((float(position) + 1) / 2)
            for row, lr in zip(sums, lrs, strict=True):
                torch._foreach_add_(row, engine(lr, gt)[1], alpha=float(weight) / 2)
    return [
        filters.reduce({n: (s * path.difference(n)).abs() for n, s in zip(path.moving, row, strict=True)}).numpy()
        for row in sums
    ]


@pytest.mark.slow
def test_parity_with_the_published_procedure(real_pair, golden):
    degraded, gt, expected, names = golden
    result = faig(*real_pair, degraded=degraded, gt=gt, compat="faig")
    found = result.contrast("blur", "noise")
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)
    assert [layer.parameter for layer in result.filters.layers] == names
    assert result.steps == 100 and result.verdict.startswith("published procedure")
    assert result.completeness_gap < 0.01


@pytest.mark.slow
def test_twenty_nodes_are_as_good_as_the_published_hundred(real_pair, golden):
    """Against 64 Gauss-Legendre nodes: relative error up to 0.0054, top 1 % from 0.995, completeness under 1 %."""
    degraded, gt, *_ = golden
    result = faig(*real_pair, degraded=degraded, gt=gt)
    truth = gauss_legendre(real_pair, list(degraded.values()), gt, 64)
    expected, found = truth[0] - truth[1], result.contrast("blur", "noise")
    assert result.steps <= 20
    assert np.linalg.norm(found - expected) <= 0.0054 * np.linalg.norm(expected)
    count = round(0.01 * expected.size)
    for sign in (1, -1):
        tops = [set(np.argsort(-sign * v, kind="stable")[:count].tolist()) for v in (expected, found)]
        assert len(tops[0] & tops[1]) >= 0.995 * count
    assert result.completeness_gap < 0.01 and result.verdict.startswith("sound")


@pytest.mark.slow
def test_the_stated_error_is_true_on_other_photographs_and_degradations(real_pair, data):
    """Against 64 Gauss-Legendre nodes an image. The rule was made on BSDS500, with other degradations."""
    photos = [str(path) for path in sorted((data / "set5/GTmod12").glob("*.png"))[-4:]]
    inputs = make_inputs(real_pair[1], photos, ("blur:3", "noise:15"), crop=40)
    degraded = {name: [row[i] for row in inputs.lr] for i, name in enumerate(inputs.names)}
    result = faig(*real_pair, degraded=degraded, gt=list(inputs.gt), any_order=True)
    each = [gauss_legendre(real_pair, row, gt, 64) for row, gt in zip(inputs.lr, inputs.gt, strict=True)]
    truth = np.mean([blur - noise for blur, noise in each], axis=0)
    error = np.linalg.norm(result.contrast("blur:3", "noise:15") - truth) / np.linalg.norm(truth)
    assert 0.5 * result.error <= error <= 1.2 * result.error


# -- conduct -----------------------------------------------------------------------------------------


def test_equal_on_a_rerun_and_networks_untouched(pair, gt, result):
    before = [network.sha256() for network in pair]
    modes = [m.training for m in pair[1].module.modules()]
    again = faig(*pair, images=gt, any_order=True)
    assert np.array_equal(again.arrays["scores"], result.arrays["scores"]) and again.scalars == result.scalars
    assert [network.sha256() for network in pair] == before
    assert [m.training for m in pair[1].module.modules()] == modes
    assert hooks_on(pair[1].module) == 0 and all(p.grad is None for p in pair[1].module.parameters())
    assert all(p.requires_grad for p in pair[1].module.parameters())


def test_a_tolerance_is_kept_with_few_nodes_where_the_pair_is_close(gt):
    baseline = Tiny(2)
    near = faig(baseline, moved(baseline, 0.002), images=gt, any_order=True)
    assert near.steps == 10 and near.error < 0.01
    far = faig(baseline, moved(baseline, 0.3), images=gt, any_order=True, tolerance=0.002)
    assert far.steps > near.steps


def test_save_load_and_attach(result, pair, tmp_path):
    result.save(tmp_path / "r")
    again = sr_hooks.load(tmp_path / "r")
    assert isinstance(again, sr_hooks.FaigResult) and np.array_equal(again.arrays["scores"], result.arrays["scores"])
    assert (tmp_path / "r/figure.png").stat().st_size > 10_000
    with pytest.raises(NetworkError, match="attach"):
        again.mask("blur:2")
    with pytest.raises(NetworkError, match="not those"):
        again.attach(pair[1], pair[0])
    assert again.attach(*pair).mask("blur").sha256() == result.mask("blur:2").sha256()


def test_half_of_the_images_at_other_sizes(pair, gt, photo):
    result = faig(*pair, images=[gt[:1], photo[0, :, :41, :30]], steps=4, any_order=True)
    assert result.scalars["images"] == 2 and np.isfinite(result.arrays["scores"]).all()
    assert len(result.provenance["gt_sha256"]) == 2


def test_bfloat16_ranks_much_the_same(pair, gt, result):
    half = faig(*pair, images=gt, precision="bfloat16", any_order=True)
    assert np.corrcoef(half.contrast("blur:2"), result.contrast("blur:2"))[0, 1] > 0.95


# -- networks of all kinds ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["EDSR", "RRDBNet", "RCAN", "SwinIR", "SRVGGNetCompact"])
def test_architectures(basicsr, photo, name):
    baseline = Network.from_basicsr(name, SMALL[name])
    target = Network(moved(baseline.module, 0.003))
    side = 16 * int(baseline.scale)
    result = faig(baseline, target, images=photo[..., 60 : 60 + side, 60 : 60 + side], steps=6, any_order=True)
    assert result.filters.count == Filters.of(target.module).count
    assert np.isfinite(result.arrays["scores"]).all() and result.arrays["scores"].max() > 0
    assert result.completeness_gap < 0.1
    linear = [layer for layer in result.filters.layers if layer.kind == "Linear"]
    assert bool(linear) == (name == "SwinIR")
    if linear:
        assert all(layer.experimental and layer.shape[1] == 1 for layer in linear)
        assert "experimental" in result.verdict
    masked = result.mask("blur:2", top=0.05)
    assert torch.isfinite(masked(downsample(photo[..., :side, :side], float(baseline.scale)))).all()


class Various(nn.Module):
    """Grouped, strided, dilated, transposed, 1x1, 5x3 and 1-D convolutions, a Linear and a shared one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.wide = nn.Conv2d(3, 8, (5, 3), padding=(2, 1))
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(12, 6, 4, stride=2, padding=1)
        self.line = nn.Conv1d(6, 6, 3, padding=1)
        self.mix = nn.Linear(6, 3)
        self.again = self.wide
        self.tail = nn.Conv2d(3, 3, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.depthwise(F.relu(self.grouped(F.relu(self.wide(x)))))
        f = self.up(F.relu(self.down(f + self.again(x))))
        f = self.line(f.flatten(2)).view_as(f)
        return x + self.tail(self.mix(f.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


SHAPES = {
    "wide": (8, 3),
    "grouped": (8, 2),
    "depthwise": (8, 1),
    "down": (12, 8),
    "up": (6, 12),
    "line": (6, 6),
    "mix": (3, 1),
    "tail": (3, 3),
}


def test_every_kind_of_convolution(gt):
    baseline = Network(Various(), scale=1, multiple=2, channels=3)
    target = Network(moved(baseline.module, 0.02), scale=1, multiple=2, channels=3)
    result = faig(baseline, target, images=gt, steps=8, biases=True, any_order=True)
    scores = result.scores["noise:25.5"]
    assert {n: scores[n].shape for n in scores if not n.endswith(".bias")} == SHAPES
    assert scores["up.bias"].shape == (6, 1) and "tail.bias" not in scores
    assert list(scores) == [layer.name for layer in result.filters.layers]
    order = [p.removesuffix(".weight") for p in dict(target.module.named_parameters())]
    assert [n for n in order if n in scores] == list(scores)
    # Any one filter masked is the baseline's there and the target's elsewhere, whatever the layer.
    for number in (0, 30, 60, 200, result.filters.count - 1):
        (layer, row, column) = result.filters.where([number])[0]
        if layer.endswith(".bias"):
            continue
        result.arrays["scores"][:] = 0
        result.arrays["scores"][0, number] = 1
        masked = dict(result.mask("blur:2", top=1e-9).module.named_parameters())
        for name, value in masked.items():
            new, old = dict(target.module.named_parameters())[name], dict(baseline.module.named_parameters())[name]
            expected = new.detach().clone()
            if name == f"{layer}.weight":
                where = (column, row) if layer == "up" else (row,) if layer == "mix" else (row, column)
                expected[where] = old.detach()[where]
            assert torch.equal(value, expected), (layer, name)


class InPlace(nn.Module):
    """Adds in place to what its own backward needs, as one of 41 pretrained networks tried did."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.act = nn.Sigmoid()
        self.tail = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.conv(x))
        h += x
        return self.tail(h)


def test_writing_in_place_is_healed_and_derived_weights_are_scored_as_what_they_come_to(gt):
    baseline = InPlace()
    result = faig(baseline, moved(baseline), images=gt, steps=20, any_order=True)
    assert result.completeness_gap < 0.01 and [layer.name for layer in result.filters.layers] == ["conv", "tail"]
    assert "in place" in result.verdict and "1 layers compute their weights from others (tail, ...)" in result.verdict


# -- what is refused ---------------------------------------------------------------------------------


def test_identical_checkpoints_have_a_verdict(gt):
    same = Tiny(2)
    result = faig(same, copy.deepcopy(same), images=gt)
    assert not result.arrays["scores"].any() and result.completeness_gap == 0
    assert result.verdict.startswith("identical") and result.steps >= 1 and result.scalars["gradients"] == 0
    assert result.figure() is not None
    with pytest.raises(OptionError, match="identical"):
        sr_hooks.verify(result, gt)


class Sharp(nn.Module):
    """The identity, or far from it."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(gain * torch.eye(3).view(3, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def test_swapped_order_is_refused_and_can_be_meant(gt):
    good, bad = Sharp(1.0), Sharp(0.2)
    assert faig(bad, good, images=gt).verdict.startswith("sound")
    with pytest.raises(OptionError, match=r"swapped"):
        faig(good, bad, images=gt)
    assert faig(good, bad, images=gt, any_order=True).verdict.startswith("swapped?")


def test_other_architectures_and_missing_keys(pair, gt):
    with pytest.raises(NetworkError, match="not two states of one architecture"):
        faig(Planted(False), pair[1], images=gt)
    with pytest.raises(NetworkError, match=r"head\.weight is \(4, 3, 3, 3\) in the baseline"):
        faig(Tiny(2, features=4), pair[1], images=gt)
    lacking = Tiny(2)
    del lacking.tail.bias
    lacking.tail.register_parameter("bias", None)
    with pytest.raises(NetworkError, match=r"baseline lacks tail\.bias"):
        faig(Network(lacking), pair[1], images=gt)


def test_a_weights_file_as_baseline(pair, gt, tmp_path, result):
    pair[0].save(tmp_path / "baseline.pth")
    again = faig(str(tmp_path / "baseline.pth"), pair[1], images=gt, any_order=True)
    assert np.array_equal(again.arrays["scores"], result.arrays["scores"])
    state = pair[0].module.state_dict()
    del state["tail.bias"]
    torch.save(state, tmp_path / "lacking.pth")
    with pytest.raises(SRHooksError, match=r"not in the file: tail\.bias"):
        faig(str(tmp_path / "lacking.pth"), pair[1], images=gt)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"gt": torch.rand(2, 3, 30, 32)}, ImageError, "gt is 30x32"),
        ({"gt": torch.rand(1, 3, 32, 32)}, ImageError, "2 images and gt has 1"),
        ({"gt": None}, OptionError, "needs gt"),
        ({"degraded": {"a": torch.full((2, 3, 16, 16), float("nan"))}}, ImageError, "NaN"),
        ({"degraded": {"a": torch.rand(2, 3, 16, 16) * 255}}, ImageError, "divide by 255"),
        ({"degraded": {"a": torch.rand(2, 2, 16, 16)}}, ImageError, "channel"),
        ({"degraded": {}}, OptionError, "must map"),
        ({"images": torch.rand(1, 3, 32, 32)}, OptionError, "not both"),
        ({"steps": 1}, OptionError, "at least 2"),
        ({"tolerance": 0}, OptionError, "above 0"),
        ({"compat": "paper"}, OptionError, "compat"),
        ({"compat": "faig", "precision": "bfloat16"}, OptionError, "float32"),
        ({"baseline": None}, OptionError, "baseline must be"),
    ],
)
def test_bad_requests(pair, gt, change, error, message):
    request = {"baseline": pair[0], "degraded": {"a": downsample(gt, 2)}, "gt": gt, **change}
    with pytest.raises(error, match=message):
        faig(request.pop("baseline"), pair[1], **request)


def test_bad_requests_for_images(pair, gt):
    for request, message in (
        ({"degradations": ("blurr:2",)}, "did you mean blur"),
        ({"degradations": ("blur:2", "blur:2")}, "given twice"),
        ({"crop": 64}, "choose crop up to 32"),
        ({"gt": gt}, "gt goes with degraded"),
    ):
        with pytest.raises(SRHooksError, match=message):
            faig(*pair, images=gt, **request)
    with pytest.raises(OptionError, match="not neither"):
        faig(*pair)


def test_names_of_degradations_and_layers(result):
    assert result.index("noise") == 1 and set(result.scores) == {"blur:2", "noise:25.5"}
    with pytest.raises(OptionError, match=r"noise:25\.5"):
        result.ranking("noise:25")
    with pytest.raises(OptionError, match="did you mean head"):
        result.scores["blur"]["heat"]
    for top in (0, -0.1, 1.5):
        with pytest.raises(OptionError, match="share of the filters"):
            result.mask("blur", top=top)


def test_broken_weights_are_refused(pair, gt):
    broken = copy.deepcopy(pair[1].module)
    with torch.no_grad():
        broken.head.weight[0, 0, 0, 0] = float("inf")
    with pytest.raises(NetworkError, match=r"head\.weight holds NaN"):
        faig(pair[0], broken, images=gt)
