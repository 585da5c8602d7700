"""LAM against closed forms, the published arrays, and itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import sr_hooks
from sr_hooks.analyses.lam import integration
from sr_hooks.demo.assets import photographs
from sr_hooks.images.image import blur, downsample, read_image
from tests.support.networks import Answering, Circular, LinearUp, Tiny


def test_linear_network_gives_the_closed_form(lr):
    """D = w.x + b, so the attribution is w * (image - baseline), whatever the steps."""
    module = LinearUp()
    result = sr_hooks.lam(module, lr, window=(20, 24, 8), objective="intensity", path="black")
    x = lr.clone().requires_grad_()
    (weight,) = torch.autograd.grad(module(x)[..., 20:28, 24:32].sum(), x)
    expected = (weight * lr)[0].numpy()
    assert np.allclose(result.attribution, expected, atol=1e-6)
    assert result.completeness_gap < 1e-5
    assert result.verdict.startswith("sound")


def test_linear_network_along_the_blur_path(lr):
    module = LinearUp()
    result = sr_hooks.lam(module, lr, window=(20, 24, 8), objective="intensity", steps=5)
    x = lr.clone().requires_grad_()
    (weight,) = torch.autograd.grad(module(x)[..., 20:28, 24:32].sum(), x)
    expected = (weight * (lr - blur(lr, [1.2])))[0].numpy()
    assert np.allclose(result.attribution, expected, atol=1e-6)
    assert result.completeness_gap < 1e-4


def test_circular_network_gives_the_known_support():
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    result = sr_hooks.lam(Circular(), image, window=(0, 3, 1), objective="intensity", path="black")
    touched = np.argwhere(result.map > 0)
    rows, columns = {14, 15, 0, 1, 2}, {1, 2, 3, 4, 5}
    assert {tuple(p) for p in touched} <= {(r, c) for r in rows for c in columns}
    assert len(touched) >= 20


def test_all_zero_map_is_called_degenerate(lr):
    result = sr_hooks.lam(Answering(lambda y: y * 0), lr, window=(8, 8, 8))
    assert result.verdict.startswith("degenerate")
    assert np.isfinite(result.diffusion_index) and result.completeness_gap == 0
    assert not np.isnan(result.kde()).any()


def test_flat_image_is_degenerate_and_finite():
    result = sr_hooks.lam(Tiny(), torch.full((1, 3, 16, 16), 0.5), window=(4, 4, 8))
    assert result.verdict.startswith("degenerate")
    assert np.isfinite([v for v in result.headline().values() if v is not None]).all()


def test_flat_spot_anywhere_breaks_the_published_procedure_and_not_ours(lr):
    spotted = lr.clone()
    spotted[..., 40:43, 40:43] = 0.5
    identity = Answering(lambda y: y)
    published = sr_hooks.lam(identity, spotted, window=(8, 8, 8), compat="lam_demo", steps=4)
    ours = sr_hooks.lam(identity, spotted, window=(8, 8, 8), steps=5)
    assert published.nonfinite >= 12
    assert "not finite" in published.verdict
    assert ours.nonfinite == 0


def test_output_leaving_its_range_is_said(lr):
    result = sr_hooks.lam(Answering(lambda y: y * 1e6), lr, window=(8, 8, 8))
    assert result.verdict.startswith("out of range")


@pytest.mark.slow
@pytest.mark.parametrize("key", ["1_56_56", "7_20_80"])
def test_compat_reproduces_the_published_arrays(data, basicsr, key):
    golden = np.load(data / "golden/lam_msrresnet_x2.npz")
    case = next(c for c in json.loads((data / "golden/lam_msrresnet_x2.json").read_text()) if c["key"] == key)
    network = sr_hooks.Network.from_basicsr(
        "MSRResNet", {"upscale": 2}, weights=data / "weights/msrresnet_x2_target.pth"
    )
    lr = torch.from_numpy(golden[f"lr_{case['image']}"])
    window = (case["top"], case["left"], case["window"])
    result = sr_hooks.lam(network, lr, window=window, compat="lam_demo")
    expected = golden[f"grad_{key}"]
    assert np.linalg.norm(result.attribution - expected) < 1e-4 * np.linalg.norm(expected)
    assert abs(result.diffusion_index - case["di"]) < 0.01
    assert result.steps == 50


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["gradient", "intensity", "channel:1", "gabor:45", "residual"])
def test_objectives_are_complete(baseline, small_lr, objective):
    result = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), objective=objective, tolerance=0.03)
    assert np.isfinite(result.attribution).all() and result.map.max() > 0
    total = np.abs(result.attribution).sum()
    assert abs(result.attribution.sum() - result.scalars["objective_change"]) < 0.02 * total


@pytest.mark.slow
def test_loss_objective_and_custom_function(baseline, small_lr, photo):
    gt = photo[..., 40:136, 40:136]
    loss = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), objective="loss", gt=gt)
    custom = sr_hooks.lam(
        baseline, small_lr, window=(40, 40, 16), objective=lambda p: (p - gt[..., 40:56, 40:56]).square().sum()
    )
    assert np.array_equal(loss.attribution, custom.attribution)


@pytest.mark.slow
def test_auto_reaches_the_error_it_claims(baseline, small_lr):
    fine = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), steps=257).attribution
    result = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), tolerance=0.03)
    error = np.linalg.norm(result.attribution - fine) / np.linalg.norm(fine)
    assert result.error <= 0.03 and error < 0.06 and result.steps < 60


@pytest.mark.slow
def test_rerun_is_equal_and_noise_follows_the_seed(baseline, small_lr):
    first, again, other = (
        sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), path="gaussian", seed=s, steps=7) for s in (1, 1, 2)
    )
    assert np.array_equal(first.attribution, again.attribution)
    assert not np.array_equal(first.attribution, other.attribution)


@pytest.mark.slow
def test_several_windows_and_images_equal_one_by_one(baseline, small_lr):
    windows = [(40, 40, 16), (0, 0, 16), (80, 80, 16)]
    batch = torch.cat([small_lr, small_lr.flip(-1)])
    together = sr_hooks.lam(baseline, batch, window=windows)
    assert len(together) == 6
    for index, (image, window) in enumerate((i, w) for i in batch.split(1) for w in windows):
        alone = sr_hooks.lam(baseline, image, window=window)
        assert np.allclose(together[index].attribution, alone.attribution, atol=1e-7)
        assert together[index].window == (*window, window[2])


@pytest.mark.slow
def test_batching_does_not_change_the_answer(baseline, small_lr, monkeypatch):
    from sr_hooks.inference.calibration import ExecutionPlan

    found = []
    for plan in (ExecutionPlan(False, 1), ExecutionPlan(True, 4), ExecutionPlan(False, 64)):
        monkeypatch.setattr(integration, "calibrate", lambda *a, plan=plan: plan)
        found.append(sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), steps=13).attribution)
    for other in found[1:]:
        assert np.linalg.norm(other - found[0]) < 1e-4 * np.linalg.norm(found[0])


@pytest.mark.slow
def test_out_of_memory_halves_the_batch(baseline, small_lr, monkeypatch):
    from sr_hooks.inference.calibration import ExecutionPlan
    from sr_hooks.networks.network import Network

    monkeypatch.setattr(integration, "calibrate", lambda *a: ExecutionPlan(False, 8))
    plain = Network.__call__

    def scarce(self, x):
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (forced by the test)")
        return plain(self, x)

    monkeypatch.setattr(Network, "__call__", scarce)
    result = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), steps=9, cone="off")
    assert result.provenance["execution"]["batch"] == 2 and result.steps == 9


@pytest.mark.slow
def test_out_of_memory_halves_the_cones_batch(baseline, small_lr, monkeypatch):
    from sr_hooks.attribution.receptive_field.cone import Cone
    from sr_hooks.inference.calibration import ExecutionPlan

    alone = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), steps=9)
    monkeypatch.setattr(integration, "calibrate", lambda *a: ExecutionPlan(False, 8))
    plain = Cone.__call__

    def scarce(self, x, fixed):
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (forced by the test)")
        return plain(self, x, fixed)

    monkeypatch.setattr(Cone, "__call__", scarce)
    result = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), steps=9)
    assert result.provenance["execution"]["batch"] == 2 and result.steps == 9
    assert np.linalg.norm(result.attribution - alone.attribution) < 1e-4 * np.linalg.norm(alone.attribution)


@pytest.mark.slow
def test_bfloat16_stays_close(baseline, lr):
    full = sr_hooks.lam(baseline, lr, window=(72, 56, 16), steps=13)
    half = sr_hooks.lam(baseline, lr, window=(72, 56, 16), steps=13, precision="bfloat16")
    assert np.linalg.norm(half.attribution - full.attribution) < 0.1 * np.linalg.norm(full.attribution)
    assert full.precision_deviation is None and 0 < half.precision_deviation < 0.1
    assert half.verdict.startswith("sound")


@pytest.mark.slow
def test_bfloat16_says_where_it_does_not_do(data, basicsr, photo):
    """A network that undoes blur magnifies the rounding of its input: its map in bfloat16 is noise."""
    network = sr_hooks.Network.from_basicsr(
        "MSRResNet", {"upscale": 2}, weights=data / "weights/msrresnet_x2_target.pth"
    )
    lr = sr_hooks.images.downsample(photo, 2)[..., 40:72, 40:72]
    result = sr_hooks.lam(network, lr, window=(24, 24, 16), steps=5, precision="bfloat16")
    assert result.precision_deviation > 0.1 and result.verdict.startswith("imprecise")


def test_denoiser_at_scale_one_and_grey_input(lr):
    grey = sr_hooks.lam(Tiny(scale=1, channels=1), lr.mean(1, keepdim=True), window=(8, 8, 8, 12))
    assert grey.attribution.shape == (1, 64, 64) and grey.window == (8, 8, 8, 12)


def test_input_range_255_is_the_same_question(lr):
    class In255(Tiny):
        def forward(self, x):
            return super().forward(x / 255) * 255

    plain = sr_hooks.lam(Tiny(), lr, window=(8, 8, 8), steps=5)
    scaled = sr_hooks.lam(sr_hooks.Network(In255(), input_range=255), lr, window=(8, 8, 8), steps=5)
    assert np.allclose(plain.attribution, scaled.attribution, atol=1e-5)


def test_in_place_network_is_healed_and_said(lr):
    class InPlace(Tiny):
        def __init__(self):
            super().__init__()
            self.act = torch.nn.Sigmoid()  # its backward needs its output

        def forward(self, x):
            h = self.act(self.head(x))
            h += 1
            return F.interpolate(x, scale_factor=2) + 0.1 * self.shuffle(self.tail(h))

    result = sr_hooks.lam(InPlace(), lr, window=(8, 8, 8), steps=5)
    assert result.scalars["healed"] and "writes in place" in result.verdict


@pytest.mark.parametrize("cone", ["auto", "off"])
def test_in_place_outside_layers_makes_no_difference(lr, cone):
    class Written(Tiny):
        in_place = True

        def forward(self, x):
            h = torch.sigmoid(self.head(x))
            if self.in_place:
                h += 1  # the sigmoid's backward needs what it gave
            else:
                h = h + 1
            return F.interpolate(x, scale_factor=2) + 0.1 * self.shuffle(self.tail(h))

    plain = Written()
    plain.in_place = False
    found, expected = (sr_hooks.lam(net, lr, window=(8, 8, 8), steps=5, cone=cone) for net in (Written(), plain))
    assert np.linalg.norm(found.attribution - expected.attribution) < 1e-5 * np.linalg.norm(expected.attribution)


@pytest.mark.slow
@pytest.mark.parametrize("photograph", [0, 2])
def test_the_stated_deviation_of_bfloat16_is_near_the_true_one(baseline, target, photograph):
    """Within a factor of 1.5, on networks of which one magnifies rounding tenfold."""
    lr = downsample(read_image(photographs()[photograph]), 4)[..., 8:48, 8:48]
    for network in (baseline, target):
        half = sr_hooks.lam(network, lr, window=(30, 30, 16), steps=9, precision="bfloat16")
        full = sr_hooks.lam(network, lr, window=(30, 30, 16), steps=9)
        error = np.linalg.norm(half.attribution - full.attribution) / np.linalg.norm(full.attribution)
        assert 1 / 1.5 < error / half.precision_deviation < 1.5


def test_tensor_float_32_is_switched_and_put_back(baseline, small_lr):
    from sr_hooks.networks.calling import tensor_float_32

    def switches():
        new = getattr(torch.backends.cudnn, "conv", None)
        if new is not None:
            return new.fp32_precision, torch.backends.cuda.matmul.fp32_precision
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    before = switches()
    for allowed in (True, False):
        with tensor_float_32(allowed):
            assert switches() in ((("ieee", "tf32")[allowed],) * 2, (allowed,) * 2)
        assert switches() == before
    result = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), steps=5, precision="tf32")
    assert result.precision_deviation < 1e-5 and abs(result.scalars["di_deviation"]) < 1e-4  # on a CPU it is float32


@pytest.mark.slow
def test_images_explained_together_are_what_each_is_alone(baseline, small_lr, monkeypatch):
    """What a GPU does: several images share the batches of each round."""
    from sr_hooks.analyses.lam.integration import Question
    from sr_hooks.inference.calibration import ExecutionPlan

    images = torch.cat([small_lr, small_lr.flip(-1), small_lr * 0.5])
    windows = [(40, 40, 16), (8, 20, 16)]
    alone = [sr_hooks.lam(baseline, image[None], window=windows) for image in images]
    monkeypatch.setattr(Question, "images_at_once", lambda self, shape: 2)
    monkeypatch.setattr(integration, "calibrate", lambda *a: ExecutionPlan(False, 7))
    together = sr_hooks.lam(baseline, images, window=windows)
    for found, expected in zip(together, [result for each in alone for result in each], strict=True):
        assert found.steps == expected.steps and found.window == expected.window
        assert np.linalg.norm(found.attribution - expected.attribution) < 1e-5 * np.linalg.norm(expected.attribution)
        assert found.scalars["output_range"] == pytest.approx(expected.scalars["output_range"], abs=1e-5)
        assert found.provenance["input_sha256"] == expected.provenance["input_sha256"]
