"""The option `deterministic`: torch's switches meanwhile and afterwards, refusals, and what a result records."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import sr_hooks
from sr_hooks.analyses import determinism
from sr_hooks.cli.app import main
from sr_hooks.errors import OptionError
from tests.support.networks import Tiny


def switches():
    cudnn = torch.backends.cudnn
    return torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark


@pytest.fixture(params=[(False, False, True), (True, False, False)], ids=str)
def before(request):
    """The process's own switches."""
    own, cudnn = switches(), torch.backends.cudnn
    torch.use_deterministic_algorithms(request.param[0], warn_only=request.param[0])
    cudnn.deterministic, cudnn.benchmark = request.param[1:]
    yield request.param
    assert torch.is_deterministic_algorithms_warn_only_enabled() == request.param[0]
    torch.use_deterministic_algorithms(own[0])
    cudnn.deterministic, cudnn.benchmark = own[1:]


class Noting(Tiny):
    """Writes down the switches."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen.append((*switches(), torch.is_deterministic_algorithms_warn_only_enabled()))
        return super().forward(x)


seen: list[tuple[bool, ...]] = []


@pytest.mark.parametrize("name", ["lam", "ddr", "faig"])
def test_switches_hold_for_the_analysis_and_are_put_back(before, photo, small_lr, name):
    baseline, network = Tiny(), Noting()
    nn.init.normal_(baseline.head.weight, std=0.1)
    options = {
        "lam": {"window": (8, 8, 8), "steps": 3},
        "ddr": {"layers": "tail:in", "patch": 24, "patches": 6, "permutations": 9, "tsne": 0},
        "faig": {"baseline": baseline, "steps": 3, "any_order": True},
    }[name]
    images = small_lr if name == "lam" else photo[..., :48, :48]
    for wanted in (True, False):
        seen.clear()
        result = sr_hooks.run(name, network, images, deterministic=wanted, **options)
        inside = set(seen)
        assert (True, True, False, False) in inside if wanted else (*before, before[0]) in inside
        assert switches() == before and result.provenance["options"]["deterministic"] is wanted


def test_switches_are_put_back_after_an_error(before, small_lr):
    class Failing(nn.Module):
        def forward(self, x):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sr_hooks.lam(sr_hooks.Network(Failing(), scale=1, multiple=1, channels=3), small_lr, window=(8, 8, 8),
                     deterministic=True)  # fmt: skip
    assert switches() == before


class Unordered(nn.Module):
    """Its backward has no deterministic algorithm, as torch says it on a GPU."""

    def forward(self, x):
        return _Refusing.apply(x) * 1.0


class _Refusing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        if torch.are_deterministic_algorithms_enabled():
            raise RuntimeError(
                "upsample_bicubic2d_backward_out_cuda does not have a deterministic implementation, but you set "
                "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation"
            )
        return gradient + 1e-6 * torch.randn_like(gradient)


def test_an_operation_without_a_deterministic_algorithm_is_named(small_lr):
    network = sr_hooks.Network(Unordered(), scale=1)
    with pytest.raises(OptionError, match="upsample_bicubic2d_backward_out_cuda has no deterministic algorithm"):
        sr_hooks.lam(network, small_lr, window=(8, 8, 8), steps=3, deterministic=True)


def test_cublas_is_named_where_it_is_not_set_up(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = switches()
    with (
        pytest.raises(OptionError, match="CUBLAS_WORKSPACE_CONFIG=:4096:8"),
        determinism.deterministic_algorithms(True, torch.device("cuda")),
    ):
        pass
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with determinism.deterministic_algorithms(True, torch.device("cuda")):
        assert switches() == (True, True, False)
    assert switches() == before


def test_a_result_says_by_how_much_a_rerun_differs_where_it_may(small_lr, monkeypatch):
    """Only a CUDA device may; the test says that this one does."""
    network, options = sr_hooks.Network(Unordered(), scale=1), {"window": (8, 8, 8), "steps": 3}
    assert "reruns" not in sr_hooks.lam(network, small_lr, **options).provenance
    monkeypatch.setattr(determinism, "_varies", lambda device: True)
    record = sr_hooks.lam(network, small_lr, **options).provenance
    assert 1e-8 < record["rerun_deviation"] < 1e-4 and record["reruns"].startswith("may differ in the last bits")
    steady = sr_hooks.lam(Tiny(), small_lr, **options).provenance
    assert steady["rerun_deviation"] == 0
    assert "reruns" not in sr_hooks.lam(Tiny(), small_lr, deterministic=True, **options).provenance


def test_the_command_line_has_the_flag(capsys):
    with pytest.raises(SystemExit):
        main(["lam", "--help"])
    assert "--deterministic" in capsys.readouterr().out
