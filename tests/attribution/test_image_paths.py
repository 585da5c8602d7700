"""Paths of images from nothing to see to the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.attribution.image_paths import PerFrame, curves_of, make_path
from sr_hooks.errors import SRHooksError
from sr_hooks.faithfulness import completeness
from sr_hooks.faithfulness.subject import subject_of
from sr_hooks.images.image import write_image
from tests.support.networks import LinearUp


@pytest.mark.parametrize(
    "path",
    ["blur", "blur:2", "linear:black", "linear:mean", "linear:blur", "linear:maxdistance", "gaussian", "uniform:0.1"],
)
def test_paths_end_at_the_image(baseline, small_lr, path):
    points = make_path(path, seed=4)(small_lr, [0.0, 0.5, 1.0])
    assert torch.allclose(points[2:], small_lr, atol=1e-6)
    result = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), path=path, steps=9)
    assert np.isfinite(result.attribution).all()


def test_custom_path(baseline, small_lr):
    straight = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), path="black", steps=9)
    own = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16), path=lambda x, t: x * t, steps=9)
    assert np.allclose(straight.attribution, own.attribution, atol=1e-6)


def test_maximum_distance_is_the_farthest_image(small_lr):
    (start,) = make_path("linear:maxdistance")(small_lr, [0.0])
    distance = (start - small_lr[0]).abs()
    assert set(start.unique().tolist()) <= {0.0, 1.0} and bool((distance >= 0.5).all())
    assert float(distance.sum()) == pytest.approx(float(torch.maximum(small_lr, 1 - small_lr).sum()), rel=1e-6)


class TestExpected:
    @pytest.fixture
    def folder(self, tmp_path, photo):
        for index, image in enumerate((photo[..., :40, :60], photo[..., 100:130, 100:124], photo[..., 9:20, 9:40])):
            write_image(image, tmp_path / f"{index}.png")
        return tmp_path

    def test_is_the_mean_over_the_lines(self, baseline, small_lr, folder):
        window = (40, 40, 16)
        result = sr_hooks.lam(baseline, small_lr, window=window, path=f"expected:{folder}", steps=6, seed=2)
        members = make_path(f"expected:{folder}", seed=2).members
        lines = [sr_hooks.lam(baseline, small_lr, window=window, path=member, steps=6) for member in members]
        expected = np.mean([line.attribution for line in lines], axis=0)
        assert len(lines) == 3
        assert np.abs(result.attribution - expected).max() <= 1e-6 * np.abs(expected).max()
        assert np.abs(lines[0].attribution - expected).max() > 0.01 * np.abs(expected).max(), "the lines differ"
        changes = [line.scalars["objective_change"] for line in lines]
        assert result.scalars["objective_change"] == pytest.approx(np.mean(changes), rel=1e-6)
        least = sum(line.error * np.linalg.norm(line.attribution) for line in lines) / 3
        assert result.error == pytest.approx(least / np.linalg.norm(expected), rel=1e-3)

    def test_of_a_linear_network_is_the_closed_form(self, lr, folder):
        module = LinearUp()
        arguments = {"window": (20, 24, 8), "objective": "intensity", "steps": 4}
        result = sr_hooks.lam(module, lr, path=f"expected:{folder}:2", seed=1, **arguments)
        x = lr.clone().requires_grad_()
        (weight,) = torch.autograd.grad(module(x)[..., 20:28, 24:32].sum(), x)
        starts = [line(lr, [0.0]) for line in make_path(f"expected:{folder}:2", seed=1).members]
        assert len(starts) == 2
        expected = (weight * (lr - sum(starts) / 2))[0].numpy()
        assert np.allclose(result.attribution, expected, atol=1e-6) and result.completeness_gap < 1e-5

    def test_black_images_are_the_black_line(self, baseline, small_lr, tmp_path):
        write_image(torch.zeros(1, 3, 30, 30), tmp_path / "black.png")
        arguments = {"window": (40, 40, 16), "steps": 5}
        black = sr_hooks.lam(baseline, small_lr, path="linear:black", **arguments)
        same = sr_hooks.lam(baseline, small_lr, path=f"expected:{tmp_path}", **arguments)
        assert np.allclose(same.attribution, black.attribution, atol=1e-6)

    def test_follows_the_seed_and_is_checked(self, baseline, small_lr, folder):
        arguments = {"window": (40, 40, 16), "path": f"expected:{folder}:1", "steps": 12}
        first, again, other = (sr_hooks.lam(baseline, small_lr, seed=seed, **arguments) for seed in (1, 1, 2))
        assert np.array_equal(first.attribution, again.attribution)
        assert not np.array_equal(first.attribution, other.attribution)
        subject = subject_of(first, None, None, None)
        assert completeness.judge(subject).word == "passes"

    def test_clips_take_it_frame_by_frame(self, small_lr, folder):
        path = PerFrame(make_path(f"expected:{folder}", seed=3))
        curves = curves_of(path)
        assert len(curves) == 3
        assert curves[0](small_lr[:, None].expand(-1, 2, -1, -1, -1), [0.0, 1.0]).shape == (2, 2, *small_lr.shape[1:])

    @pytest.mark.parametrize("argument", ["", ":3", "no/such/folder", "{}:0"])
    def test_what_is_no_folder_is_refused(self, folder, argument):
        with pytest.raises(SRHooksError, match=r"folder|expected:FOLDER"):
            make_path("expected:" + argument.format(folder))
