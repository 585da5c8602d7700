"""Scales that are fractions, and two scales, are inferred; two scales without a whole ratio are refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks import Network
from sr_hooks.doctor import examine
from sr_hooks.errors import NetworkError


class Resizing(nn.Module):
    def __init__(self, factor: float | tuple[float, float]) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(self.conv(x), scale_factor=self.factor, mode="bilinear", align_corners=False)


class Rows(nn.Module):
    """One row, whatever the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean(dim=-2, keepdim=True)


@pytest.mark.parametrize(
    ("scale", "multiple"), [(2.5, 2), (1.5, 2), (1.25, 4), (0.75, 4), (1.2, 5), (1.1, 10), (3.5, 2), (2, 1), (0.5, 2)]
)
def test_a_fraction_is_inferred_with_its_multiple(scale: float, multiple: int, small_lr: torch.Tensor) -> None:
    network = Network(Resizing(scale))
    assert network.scale == pytest.approx(scale) and network.multiple == multiple
    height, width = network.output_size(*small_lr.shape[-2:])
    with torch.no_grad():
        assert network(small_lr).shape[-2:] == (height, width)
    odd = small_lr[..., :21, :23]
    cone, whole = (
        sr_hooks.lam(network, odd, window=(1, 2, 8), steps=4, cone=kind).attribution for kind in ("auto", "off")
    )
    assert cone.shape == (3, 21, 23) and np.abs(cone - whole).max() <= 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize(
    ("factors", "scale", "stretch"),
    [((2.0, 1.0), 2, (1, 2)), ((1.0, 3.0), 3, (3, 1)), ((4.0, 2.0), 4, (1, 2)), ((2.5, 1.25), 2.5, (1, 2)),],
)  # fmt: skip
def test_two_scales_are_one_scale_of_a_stretched_output(
    factors: tuple[float, float], scale: float, stretch: tuple[int, int], small_lr: torch.Tensor
) -> None:
    module, odd = Resizing(factors), small_lr[..., :20, :23]
    network = Network(module)
    assert (network.scale, network.facts.stretch) == (scale, stretch)
    by_hand = Network(module, output=lambda y: y.repeat_interleave(stretch[0], -2).repeat_interleave(stretch[1], -1))
    results = [sr_hooks.lam(one, odd, window=(4, 6, 8), steps=4) for one in (network, by_hand)]
    largest = np.abs(results[1].attribution).max()
    assert largest > 0 and np.abs(results[0].attribution - results[1].attribution).max() <= 1e-5 * largest
    whole = sr_hooks.lam(network, odd, window=(4, 6, 8), steps=4, cone="off").attribution
    assert np.abs(results[0].attribution - whole).max() <= 1e-5 * largest
    rows, columns = np.nonzero(results[0].map > 1e-3 * results[0].map.max())
    middle = (4 + 4) / scale, (6 + 4) / scale  # the window's, in input pixels
    assert abs(rows.mean() + 0.5 - middle[0]) < 1 and abs(columns.mean() + 0.5 - middle[1]) < 1
    assert results[0].provenance["network"]["stretch"] == list(stretch)


@pytest.mark.slow
def test_all_works_with_two_scales(tmp_path) -> None:
    diagnosis = examine(Resizing((2.0, 1.0)))
    assert [finding.works for finding in diagnosis.findings] == [True] * 4 and diagnosis.facts["stretch"] == [1, 2]
    result = sr_hooks.lam(Resizing((2.0, 1.0)), torch.rand(1, 3, 20, 24), window=(8, 8, 8), steps=4)
    result.save(tmp_path / "lam")
    assert (tmp_path / "lam/figure.png").is_file() and result.output.shape == (3, 40, 48)


@pytest.mark.parametrize(
    ("factors", "words"), [((3.0, 2.0), "3 times and width 2"), ((1.0, 1.5), "1 times and width 1.47")]
)
def test_two_scales_without_a_whole_ratio_are_refused(
    factors: tuple[float, float], words: str, small_lr: torch.Tensor
) -> None:
    with pytest.raises(NetworkError, match=f"no scale, since height becomes {words} times as large"):
        sr_hooks.lam(Resizing(factors), small_lr[..., :20, :24], window=(4, 4, 8))


def test_a_mean_over_rows_is_no_scale(small_lr: torch.Tensor) -> None:
    with pytest.raises(NetworkError, match="no multiple of theirs"):
        sr_hooks.lam(Rows(), small_lr, window=(4, 4, 8))
