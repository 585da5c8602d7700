"""Memory of the device that runs out: a real cap on a card, a counted one on the CPU."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.analyses.lam import integration
from sr_hooks.attribution import wide_rounds
from sr_hooks.errors import ResourceError
from sr_hooks.inference import ExecutionPlan, available_memory
from sr_hooks.inference.memory import bytes_of_gradient
from tests.support.memory import SmallCard
from tests.support.training import Net

WINDOW = (100, 100, 16)


@contextmanager
def capped(device: torch.device, room: float) -> Iterator[None]:
    """Tensors may take `room` bytes more than now; afterwards they take what they took before."""
    if device.type == "cpu":
        with SmallCard(room) as card:
            yield
            gc.collect()
            assert card.live < 2**20
        return
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(device) + room) / total, device)
    try:
        yield
        gc.collect()
        torch.cuda.empty_cache()
        assert torch.cuda.memory_allocated(device) < before + 2**20, "nothing stays allocated"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@pytest.fixture(scope="module")
def large(photo) -> torch.Tensor:
    return photo[..., :128, :128].contiguous()


def test_lam_is_cut(pair, device, large):
    plain = sr_hooks.lam(pair[0], large, window=WINDOW, steps=5, cone="off")
    need = bytes_of_gradient(pair[0], (3, 128, 128))
    assert need is not None
    with capped(device, 0.9 * need):
        cut = sr_hooks.lam(pair[0], large, window=WINDOW, steps=5, cone="off")
        assert isinstance(cut.scalars["cone"], dict)
        assert np.linalg.norm(cut.attribution - plain.attribution) < 1e-3 * np.linalg.norm(plain.attribution)


def test_a_cones_activations_are_computed_twice(pair, device, large, caplog, monkeypatch):
    """One gradient at a time, and the memory is counted on a card too: its allocator takes more than tensors need."""
    monkeypatch.setattr(integration, "calibrate", lambda *_: ExecutionPlan(False, 1))
    monkeypatch.setattr(wide_rounds, "samples_that_fit", lambda *_: 1)
    options, lr = {"window": (40, 40, 16), "steps": 5, "picture": "window"}, large[..., :48, :48].contiguous()
    sr_hooks.lam(pair[0], lr, **options)
    with SmallCard() as card:
        plain = sr_hooks.lam(pair[0], lr, **options)
    with SmallCard(0.8 * card.peak) as small, caplog.at_level(logging.INFO, logger="sr_hooks"):
        twice = sr_hooks.lam(pair[0], lr, **options)
    assert small.refusals == 1 and "activations of a window's cone in CompactResNet baseline" in caplog.text
    assert isinstance(twice.scalars["cone"], dict)
    assert np.linalg.norm(twice.attribution - plain.attribution) < 1e-5 * np.linalg.norm(plain.attribution)


@pytest.mark.parametrize("analysis", ["lam", "faig", "ddr"])
def test_too_little_is_one_line(pair, device, large, photo, analysis):
    calls = {
        "lam": lambda: sr_hooks.lam(pair[0], large, window=(0, 0, 512, 512), steps=2),
        "faig": lambda: sr_hooks.faig(*pair, images=photo, degradations=("blur:4", "noise:25.5"), steps=4),
        "ddr": lambda: sr_hooks.ddr(pair[0], photo, patch=256, patches=4, tsne=0),
    }
    with capped(device, 2 * 2**20):
        with pytest.raises(
            ResourceError, match=f"{analysis} of CompactResNet .* does not fit into the memory"
        ) as refusal:
            calls[analysis]()
        assert "\n" not in str(refusal.value) and str(device) in str(refusal.value)
    assert sr_hooks.lam(pair[0], large[..., :24, :24], window=(20, 20, 16), steps=2).steps == 2  # and then it goes on


def test_what_is_free_is_known(device):
    free = available_memory(device)
    assert free is not None and free > 2**24
    if device.type == "cuda":
        with capped(device, 2**26):
            assert available_memory(device) <= free


def test_a_watched_run_goes_on(device, deterministic, caplog):
    def train(watch: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        net = Net().train().to(device)
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        generator = torch.Generator().manual_seed(3)
        block = {"lam": {"window": (0, 0, 1024), "every": 2, "budget": "off"}, "images": torch.rand(1, 3, 512, 512)}

        def steps() -> None:
            for _ in range(6):
                x = torch.rand(2, 3, 12, 12, generator=generator).to(device)
                optimizer.zero_grad()
                (net(x) - torch.nn.functional.interpolate(x, scale_factor=2.0)).square().mean().backward()
                optimizer.step()

        if not watch:
            steps()
        else:
            with sr_hooks.watch(net, optimizer, sinks=["log"], **block):
                steps()
        return {name: value.detach().cpu().clone() for name, value in net.state_dict().items()}

    plain = train(False)
    with capped(device, 16 * 2**20):
        watched = train(True)
    assert all(torch.equal(value, watched[name]) for name, value in plain.items())
    assert "ran out of memory at iteration 2 and is disabled; training goes on" in caplog.text
