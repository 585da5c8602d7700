"""The cone of influence gives what the whole network gives, on all that convolutional networks do, or is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.attribution.objectives.window_values import GradientMagnitude
from sr_hooks.attribution.receptive_field.proved_cones import AGREEMENT, WindowCones
from sr_hooks.images.windows import Window
from tests.support.architectures import ARCHITECTURES
from tests.support.cones import Shaped, conv, gradients, plainly, through
from tests.support.networks import Circular, Tiny

pytestmark = pytest.mark.slow

OPERATIONS = {
    "dilated": through(conv(dilation=2, padding=2)),
    "not padded as much as it takes": through(conv(k=5, padding=1), nn.ReflectionPad2d(1)),
    "kernel of unlike sides": through(conv(k=1, padding=0), nn.Conv2d(6, 6, (1, 5), padding=(0, 2))),
    "grouped": through(conv(groups=3)),
    "strided and transposed": through(conv(stride=2), nn.ConvTranspose2d(6, 6, 4, stride=2, padding=1)),
    "transposed, more than a pixel": through(conv(k=2, stride=2, padding=0), nn.ConvTranspose2d(6, 6, 2, stride=2)),
    "transposed with a hole": through(conv(stride=3, padding=1), nn.ConvTranspose2d(6, 6, 3, stride=3)),
    "shuffled": through(conv(o=24), nn.PixelShuffle(2), conv(), nn.PixelUnshuffle(2), conv(24, 6)),
    "nearest": plainly(lambda y: F.avg_pool2d(F.interpolate(y, scale_factor=2, mode="nearest").tanh(), 2)),
    "bilinear": plainly(lambda y: F.avg_pool2d(F.interpolate(y, scale_factor=3, mode="bilinear").tanh(), 3)),
    "bicubic": plainly(lambda y: F.avg_pool2d(F.interpolate(y, scale_factor=2, mode="bicubic").tanh(), 2)),
    "aligned corners": plainly(
        lambda y: F.avg_pool2d(F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True).tanh(), 2)
    ),
    "pooled": plainly(lambda y: F.interpolate(F.max_pool2d(y, 2), scale_factor=2)),
    "pooled with overlap": plainly(lambda y: F.interpolate(F.max_pool2d(y, 3, 2, 1), scale_factor=2)),
    "mirrored": plainly(lambda y: F.pad(y, (2, 3, 1, 4), mode="reflect")[..., :-5, 5:]),
    "repeated": plainly(lambda y: F.pad(y, (2, 3, 1, 4), mode="replicate")[..., 5:, :-5]),
    "zeros around": plainly(lambda y: F.pad(y, (2, 3, 1, 4))[..., 3:-2, 2:-3]),
    "split and joined": plainly(lambda y: torch.cat([y.chunk(2, 1)[1], y[:, :3]], dim=1)),
    "stacked and picked": plainly(lambda y: torch.stack([y, y * 2], dim=1)[:, 1]),
    "channels mixed": plainly(lambda y: y.view(1, 2, 3, *y.shape[-2:]).transpose(1, 2).reshape(y.shape)),
    "mean over channels": plainly(lambda y: y / (y.mean(1, keepdim=True).abs() + 1)),
    "softmax over channels": plainly(lambda y: y * y.softmax(1)),
    "softmax over rows": plainly(lambda y: y * y.softmax(2)),
    "global pooling": plainly(lambda y: y * y.mean((2, 3), keepdim=True)),
    "rolled": plainly(lambda y: torch.roll(y, 3, dims=2)),
    "in place": plainly(lambda y: F.relu_(y.clone().add_(0.1).mul_(2))),
    "in place through a view": plainly(lambda y: (z := y.clone(), z[:, :2].mul_(3))[0]),
    "batch norm": through(nn.BatchNorm2d(6)),
    "group norm": through(nn.GroupNorm(2, 6)),
    "prelu": through(nn.PReLU(6)),
    "transposed image": plainly(lambda y: y.transpose(2, 3).tanh().transpose(2, 3)),
    "ramp of columns": plainly(lambda y: y * torch.arange(y.shape[-1])),
    "map of weights": plainly(lambda y: y * torch.linspace(0, 1, y.shape[-2])[:, None]),
    "double precision": plainly(lambda y: y.double().tanh().float()),
}


@pytest.mark.slow
@pytest.mark.parametrize("window", [(9, 12, 4, 5), (0, 0, 3, 3), (20, 2, 4, 4), (0, 26, 8, 4), (0, 0, 24, 30)])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_what_it_gives_whole(name, window):
    torch.manual_seed(2)
    _, off = gradients(OPERATIONS[name](), Window(*window))
    assert off < AGREEMENT


@pytest.mark.parametrize("name", ["global pooling", "group norm", "aligned corners"])
def test_what_needs_everything_gets_everything(name):
    cone, _ = gradients(OPERATIONS[name](), Window(9, 12, 4, 4))
    assert cone.inputs == (0, 24, 0, 30)


def test_a_softmax_over_rows_needs_all_rows_and_no_more_columns():
    cone, _ = gradients(OPERATIONS["softmax over rows"](), Window(9, 12, 4, 4))
    assert cone.inputs == (0, 24, 12 - 2, 16 + 1 + 2)


@pytest.mark.parametrize(("top", "rows"), [(9, (9 - 2 - 3, 13 + 1 + 2 - 3)), (2, (0, 24))], ids=["inside", "wrapped"])
def test_a_cyclic_shift_needs_what_it_moves(top, rows):
    cone, off = gradients(OPERATIONS["rolled"](), Window(top, 12, 4, 4))
    assert cone.inputs == (*rows, 12 - 2, 16 + 1 + 2) and off < AGREEMENT


def test_a_convolution_needs_its_halo_and_no_more():
    cone, _ = gradients(nn.Sequential(conv(3), conv(k=5), conv(o=3, k=1, padding=0)), Window(9, 12, 4, 4))
    assert cone.inputs == (9 - 3, 13 + 1 + 3, 12 - 3, 16 + 1 + 3)  # a pixel for the difference, 1 + 2 for the kernels
    assert cone.shown_box == (9, 14, 12, 17)


def test_work_is_counted_by_hand():
    cone, _ = gradients(nn.Sequential(conv(3, 4), conv(4, 3)), Window(9, 12, 4, 4))
    assert cone.work == 5 * 5 * 4 * 3 * 9 + 7 * 7 * 3 * 4 * 9


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_lam_with_and_without_the_cone_is_one(basicsr, lr, name):
    network = sr_hooks.Network.from_basicsr(name, ARCHITECTURES[name])
    near = sr_hooks.lam(network, lr, window=(40, 24, 12), steps=7)
    everything = sr_hooks.lam(network, lr, window=(40, 24, 12), steps=7, cone="off")
    off = np.linalg.norm(near.attribution - everything.attribution) / np.linalg.norm(everything.attribution)
    assert everything.scalars["cone"] is None and off < AGREEMENT
    if name == "RIDNet":  # a global pooling stands near its end, and it enlarges nothing
        assert near.scalars["cone"] == "off: the windows depend on nearly everything"
    elif name == "RCAN":
        assert near.scalars["cone"]["stops_at"] and near.scalars["cone"]["work"] < 0.9
    else:
        assert near.scalars["cone"]["work"] < 0.6


@pytest.mark.parametrize("objective", ["intensity", "channel:1", "gabor:45", "residual", lambda p: p.square().mean()])
@pytest.mark.parametrize("path", ["blur", "linear:mean", "gaussian:0.1", "linear:blur"])
def test_objectives_and_paths(lr, objective, path):
    given = {"window": (30, 100, 10), "steps": 5, "objective": objective, "path": path}
    near, everything = (sr_hooks.lam(Tiny(), lr, **given, cone=cone) for cone in ("auto", "off"))
    assert near.scalars["cone"]["input"]["height"] < 20
    assert np.array_equal(near.arrays["nodes"], everything.arrays["nodes"])
    distance = np.linalg.norm(near.attribution - everything.attribution) / np.linalg.norm(everything.attribution)
    assert distance < AGREEMENT


def test_the_cost_does_not_grow_with_the_image(basicsr):
    network = sr_hooks.Network.from_basicsr("MSRResNet", {"num_feat": 16, "num_block": 4, "upscale": 4})
    work = []
    for side in (64, 128, 256):
        found = WindowCones(network, GradientMagnitude(), [Window(2 * side, 2 * side, 16, 16)], (3, side, side))
        work.append(found.cone((0,), 1).work)
    assert work[0] == work[1] == work[2]


def test_windows_share_a_cone_where_that_is_less_work(lr):
    def groups(*windows):
        network = sr_hooks.Network(Tiny())
        return [g.indices for g in WindowCones(network, GradientMagnitude(), windows, tuple(lr.shape[1:])).groups]

    assert groups(Window(30, 30, 16, 16), Window(32, 30, 16, 16)) == [(0, 1)]
    assert groups(Window(2, 2, 8, 8), Window(100, 100, 8, 8)) == [(0,), (1,)]


def test_several_windows_are_what_each_is_alone(lr):
    windows = [(30, 30, 16), (32, 30, 16), (4, 100, 8)]
    together = sr_hooks.lam(Tiny(), lr, window=windows, steps=7)
    for window, found in zip(windows, together, strict=True):
        alone = sr_hooks.lam(Tiny(), lr, window=window, steps=7)
        assert np.linalg.norm(found.attribution - alone.attribution) < AGREEMENT * np.linalg.norm(alone.attribution)


def test_outside_of_the_cone_the_map_is_exactly_zero(lr):
    result = sr_hooks.lam(Tiny(), lr, window=(60, 60, 8), steps=5)
    place = result.scalars["cone"]["input"]
    inside = np.zeros_like(result.map, dtype=bool)
    rows, columns = (slice(place[a], place[a] + place[b]) for a, b in (("top", "height"), ("left", "width")))
    inside[rows, columns] = True
    assert not result.map[~inside].any() and result.map[inside].any()


class Straight(torch.autograd.Function):
    """Rounds, with the gradient of the identity: what runs does not say how it is differentiated."""

    @staticmethod
    def forward(x):
        return torch.round(x * 8) / 8

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def held(y):
    with torch.no_grad():
        return 3 * y.sin()


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (lambda y: y * (2 if y.mean() > 0 else 1), "DataDependent"),
        (lambda y: y + 0.1 * torch.randn_like(y), "random"),
        (lambda y: Straight.apply(y), "custom_function"),
        (lambda y: y + held(y), "differ by"),
        (lambda y: torch.from_numpy(np.tanh(y.detach().numpy())) + y, ""),
    ],
    ids=["branch on values", "random numbers", "a gradient of its own", "a part without gradient", "leaves torch"],
)
def test_what_cannot_be_proved_is_computed_whole(small_lr, operation, reason):
    torch.manual_seed(2)
    network = sr_hooks.Network(Shaped(operation), scale=1, multiple=1, channels=3)
    result = sr_hooks.lam(network, small_lr, window=(8, 8, 8), steps=5)
    whole = sr_hooks.lam(network, small_lr, window=(8, 8, 8), steps=5, cone="off")
    assert result.scalars["cone"].startswith("off: ") and reason in result.scalars["cone"]
    if reason != "random":
        assert np.array_equal(result.attribution, whole.attribution)


def test_a_users_hook_refuses_the_cone_even_after_a_recording(lr):
    network = sr_hooks.Network(Tiny())
    assert sr_hooks.lam(network, lr, window=(8, 8, 8), steps=3).scalars["cone"]["work"] < 1
    seen = []
    handle = network.module.head.register_forward_hook(lambda m, a, y: seen.append(y.shape) or y * 0)
    result = sr_hooks.lam(network, lr, window=(8, 8, 8), steps=3)
    handle.remove()
    assert result.scalars["cone"] == "off: a hook is attached to its module head" and seen
    assert sr_hooks.lam(network, lr, window=(8, 8, 8), steps=3).scalars["cone"]["work"] < 1


def test_a_changed_network_is_recorded_anew_and_changed_weights_are_seen(lr):
    network = sr_hooks.Network(Tiny())
    first = sr_hooks.lam(network, lr, window=(8, 8, 8), steps=3)
    with torch.no_grad():
        network.module.tail.weight.mul_(-2)
    second = sr_hooks.lam(network, lr, window=(8, 8, 8), steps=3)
    network.module.act = nn.Tanh()
    third = sr_hooks.lam(network, lr, window=(8, 8, 8), steps=3)
    for result in (second, third):
        assert not np.allclose(first.attribution, result.attribution)
    again = sr_hooks.lam(network, lr, window=(8, 8, 8), steps=3, cone="off")
    assert np.linalg.norm(third.attribution - again.attribution) < AGREEMENT * np.linalg.norm(again.attribution)


def test_recording_leaves_nothing_on_the_network(lr):
    class Noting(Tiny):
        def forward(self, x):
            self.last = x
            return super().forward(x)

    module = Noting()
    sr_hooks.lam(module, lr, window=(8, 8, 8), steps=3)
    assert type(module.last) is torch.Tensor and module.last.isfinite().all()


def test_wrapping_convolutions_are_computed_whole(lr):
    result = sr_hooks.lam(Circular(), lr, window=(0, 0, 8), steps=3)
    assert result.scalars["cone"].startswith("off: ")
    assert np.array_equal(result.attribution, sr_hooks.lam(Circular(), lr, window=(0, 0, 8), steps=3).attribution)


def test_the_picture_is_whole_or_near_the_window(lr, tmp_path):
    near = sr_hooks.lam(Tiny(), lr, window=(60, 60, 8), steps=3, picture="window")
    whole = sr_hooks.lam(Tiny(), lr, window=(60, 60, 8), steps=3, picture="whole")
    known = ~np.isnan(near.output)
    assert 0 < known.sum() < known.size and known[:, 60:68, 60:68].all()
    assert np.allclose(near.output[known], whole.output[known], atol=1e-5)
    assert "output" not in near.arrays and known.sum() == near.arrays["output_part"].size
    assert np.array_equal(near.window_output, near.output[:, 60:68, 60:68])
    assert np.allclose(near.window_output, whole.window_output, atol=1e-5) and near.output_size == whole.output_size
    assert np.isfinite(near.picture).all() and np.array_equal(whole.picture, whole.arrays["output"])
    near.save(tmp_path / "near")
    assert (tmp_path / "near" / "figure.png").stat().st_size > 10000
