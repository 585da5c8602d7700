"""Memory that runs out: halved batches, a part of the image, checkpoints, one line; and nothing stays allocated."""

from __future__ import annotations

import dataclasses
import gc
import logging
import re

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.analyses.ddr.features.stream import Features
from sr_hooks.analyses.lam import integration, question
from sr_hooks.attribution import wide_rounds
from sr_hooks.attribution.path_integrals import SmallRounds
from sr_hooks.attribution.wide_rounds import WideRounds
from sr_hooks.cli.app import main
from sr_hooks.core.registry import registered
from sr_hooks.errors import ResourceError
from sr_hooks.faithfulness import deletion
from sr_hooks.faithfulness.subject import subject_of
from sr_hooks.inference import attempt, in_batches
from sr_hooks.inference.calibration import ExecutionPlan
from tests.conftest import hooks_on
from tests.support.memory import SmallCard
from tests.support.training import loop

WINDOW = (40, 40, 16)
WHOLE = (0, 0, 192, 192)


@pytest.fixture(scope="module")
def lr48(lr: torch.Tensor) -> torch.Tensor:
    return lr[..., :48, :48].contiguous()


def relative(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def test_an_attempt_gives_back_what_it_allocated():
    with SmallCard(1e6) as card:

        def greedy() -> torch.Tensor:
            kept = torch.ones(200_000)
            return kept + torch.ones(100_000).repeat(2)

        tried = attempt(greedy)
        assert tried.ran_out and tried.request == int(0.38 * 2**20) and card.live == 0
        with pytest.raises(MemoryError, match="tried to allocate 389 KiB"):
            tried.result()
        assert attempt(lambda: torch.ones(3)).result().sum() == 3
    with pytest.raises(ZeroDivisionError):
        attempt(lambda: 1 / 0)


@pytest.mark.slow
def test_batches_are_halved_until_they_fit():
    with SmallCard(1e6) as card:
        sizes = []

        def compute(part: slice) -> int:
            size = part.stop - part.start
            (torch.ones(size, 60_000) + 1).sum()
            sizes.append(size)
            return size

        assert sum(size for _, size in in_batches(11, compute, batch=8)) == 11
        assert sizes == [2, 2, 2, 2, 2, 1] and card.refusals == 2 and card.live == 0
        with pytest.raises(MemoryError):
            list(in_batches(2, lambda part: torch.ones(300_000), batch=2))
        gc.collect()
        assert card.live == 0


@pytest.mark.slow
@pytest.mark.parametrize("capacity", [9e6, 6.5e6])
def test_lam_is_cut_to_what_the_window_depends_on(baseline, lr48, monkeypatch, capacity):
    """Also where the cone was switched off: the answer is the same, and the result says that there is a cone."""
    monkeypatch.setattr(integration, "calibrate", lambda *_: ExecutionPlan(False, 4))
    plain = sr_hooks.lam(baseline, lr48, window=WINDOW, steps=3, cone="off")
    with SmallCard(capacity) as card:
        result = sr_hooks.lam(baseline, lr48, window=WINDOW, steps=3, cone="off")
    assert card.refusals >= 3 and card.peak <= capacity  # at 4, 2 and 1
    assert plain.scalars["cone"] is None and result.scalars["cone"]["input"]["height"] == 42
    assert relative(result.attribution, plain.attribution) < 1e-4
    del result
    gc.collect()
    assert card.live == 0 and hooks_on(baseline.module) == 0


@pytest.mark.slow
def test_lam_is_cut_on_an_accelerator_too(baseline, lr48, monkeypatch):
    """Its strategy, that of large batches, in a CPU's little memory; two images, then one."""
    plain = sr_hooks.lam(baseline, lr48, window=WINDOW, steps=5)
    monkeypatch.setattr(question, "strategy_of", lambda device: WideRounds())
    images = torch.cat([lr48, lr48.flip(-1)])
    with SmallCard(6.5e6) as card:
        results = sr_hooks.lam(baseline, images, window=WINDOW, steps=5, cone="off")
    assert card.refusals >= 3 and [result.scalars["cone"]["input"]["height"] for result in results] == [42, 42]
    assert relative(results[0].attribution, plain.attribution) < 1e-4
    del results
    gc.collect()
    assert card.live == 0


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [SmallRounds, WideRounds])
def test_a_cones_activations_are_computed_twice(baseline, lr48, caplog, monkeypatch, strategy):
    """Where the gradient of one window does not fit although only what the window depends on is computed."""
    monkeypatch.setattr(question, "strategy_of", lambda device: strategy())
    monkeypatch.setattr(integration, "calibrate", lambda *_: ExecutionPlan(False, 2))
    monkeypatch.setattr(wide_rounds, "samples_that_fit", lambda *_: 2)
    options = {"window": WINDOW, "steps": 5, "picture": "window"}
    plain = sr_hooks.lam(baseline, lr48, **options)
    with SmallCard(3.6e6) as card, caplog.at_level(logging.INFO, logger="sr_hooks"):
        result = sr_hooks.lam(baseline, lr48, **options)
    assert card.refusals == 2 and not baseline.backward.cone_bytes  # at two inputs, and at one
    assert caplog.text.count("activations of a window's cone in CompactResNet baseline are computed twice") == 1
    assert result.scalars["cone"] == plain.scalars["cone"] and result.scalars["cone"]["input"]["height"] == 42
    assert relative(result.attribution, plain.attribution) < 1e-6
    del result
    gc.collect()
    assert card.live == 0


@pytest.mark.slow
def test_then_activations_are_computed_twice(baseline, lr48, caplog):
    """The window is the whole output, so no part of the image can be left out."""
    plain = sr_hooks.lam(baseline, lr48, window=WHOLE, steps=3, cone="off")
    with SmallCard(9e6) as card, caplog.at_level(logging.INFO, logger="sr_hooks"):
        result = sr_hooks.lam(baseline, lr48, window=WHOLE, steps=3)
    assert "activations of CompactResNet baseline are computed twice" in caplog.text
    assert relative(result.attribution, plain.attribution) < 1e-6
    assert not baseline.backward.checkpoints and not any("forward" in vars(p) for p in baseline.module.modules())
    del result
    gc.collect()
    assert card.live == 0


@pytest.mark.slow
def test_then_one_line_says_what_was_needed(baseline, lr48):
    with SmallCard(1e6) as card:
        with pytest.raises(ResourceError) as refusal:
            sr_hooks.lam(baseline, lr48, window=WHOLE, steps=2)
        assert card.live == 0, "the error holds frames, and these hold tensors"
    message = str(refusal.value)
    assert "\n" not in message and isinstance(refusal.value, MemoryError)
    assert message.startswith("lam of CompactResNet baseline does not fit into the memory of cpu")
    assert (
        re.search(r"a gradient at 3x48x48 takes some (8|9|10)(\.\d+)? MiB", message)
        and "give a smaller image" in message
    )
    assert "--device cpu" not in message  # it ran there
    assert refusal.value.__context__ is None and refusal.value.__cause__ is None


@pytest.mark.slow
def test_the_line_says_what_a_cone_needed(baseline, lr48, monkeypatch):
    monkeypatch.setattr(integration, "calibrate", lambda *_: ExecutionPlan(False, 1))
    sr_hooks.lam(baseline, lr48, window=WINDOW, steps=2)  # the cone is proved with memory enough
    with SmallCard(2.2e6) as card:
        with pytest.raises(
            ResourceError, match="its activations computed twice: what the window depends on takes some"
        ):
            sr_hooks.lam(baseline, lr48, window=WINDOW, steps=2, picture="window")
        assert card.live == 0


@pytest.mark.slow
@pytest.mark.parametrize("analysis", ["faig", "verify", "ddr", "check", "compare"])
def test_every_analysis_refuses_in_one_line_and_leaves_nothing(baseline, target, photo, lr48, analysis):
    gt = photo[..., :64, :64]
    degradations = ("blur:4", "noise:25.5")
    filters = sr_hooks.faig(baseline, target, images=gt, degradations=degradations, steps=4)
    result = sr_hooks.lam(baseline, lr48, window=WINDOW, steps=5)
    calls = {
        "faig": lambda: sr_hooks.faig(baseline, target, images=gt, degradations=degradations, steps=4),
        "verify": lambda: sr_hooks.verify(filters, [gt], tops=(0.1,), random_seeds=2, input_points=0),
        "ddr": lambda: sr_hooks.ddr(baseline, photo, patch=64, patches=4, tsne=0),
        "check": lambda: sr_hooks.check(result, baseline, draws=3, orders=3),
        "compare": lambda: sr_hooks.compare(baseline, target, image=lr48, window=WINDOW),
    }
    state = {name: value.clone() for name, value in baseline.module.state_dict().items()}
    with SmallCard(3e5) as card:
        with pytest.raises(ResourceError, match="does not fit into the memory of cpu") as refusal:
            calls[analysis]()
        assert card.live <= 2**18, "what the degradations keep for the next call, and no more"
    assert "\n" not in str(refusal.value) and card.refusals
    assert all(torch.equal(state[name], value) for name, value in baseline.module.state_dict().items())
    assert hooks_on(baseline.module) == hooks_on(target.module) == 0


@pytest.mark.slow
def test_faig_is_equal_with_less_memory(baseline, target, photo, caplog):
    gt, degradations = photo[..., :192, :192], ("blur:4", "noise:25.5")

    def faig() -> np.ndarray:
        return sr_hooks.faig(baseline, target, images=gt, degradations=degradations, steps=4).arrays["scores"]

    with SmallCard() as card:
        plain = faig()
    with SmallCard(0.9 * card.peak) as small, caplog.at_level(logging.INFO, logger="sr_hooks"):
        assert relative(faig(), plain) < 1e-5 and small.refusals
    assert "activations of CompactResNet target are computed twice" in caplog.text
    gc.collect()
    assert small.live == 0


@pytest.mark.slow
def test_ddr_is_equal_with_less_memory_and_stores_no_graph(baseline, monkeypatch):
    graphs, forward = [], Features._forward

    def observed(*inputs):
        captured = forward(*inputs)
        graphs.extend(value.requires_grad for value in captured.values())
        return captured

    monkeypatch.setattr(Features, "_forward", observed)
    image = torch.rand(1, 3, 384, 384, generator=torch.Generator().manual_seed(0))

    def ddr() -> np.ndarray:
        return sr_hooks.ddr(baseline, image, patch=192, patches=4, tsne=0).arrays["scores_0"]

    with SmallCard() as card:
        plain = ddr()
    with SmallCard(0.9 * card.peak) as small:
        assert relative(ddr(), plain) < 1e-4 and small.refusals
    assert graphs and not any(graphs)


@pytest.mark.slow
def test_deletion_is_equal_with_less_memory(baseline, lr48):
    """Of `check`, the part that runs many images in batches."""
    subject = subject_of(sr_hooks.lam(baseline, lr48, window=WINDOW, steps=5), baseline, None, None)

    def deleted() -> np.ndarray:
        verdict = deletion.judge(subject, draws=3, seed=0, plan=ExecutionPlan(False, 4), tick=lambda: None)
        return np.array(verdict.figures["map"]["deletion"])

    with baseline.prepared():
        with SmallCard() as card:
            plain = deleted()
        with SmallCard(0.6 * card.peak) as small:
            assert relative(deleted(), plain) < 1e-4 and small.refusals


class Sensitivity(sr_hooks.Analysis):
    """An analysis of a plugin, by the public API alone: mean |gradient| of many images, in batches."""

    name = "sensitivity"
    options_type = dataclasses.make_dataclass("SensitivityOptions", [], frozen=True)
    together = True

    def run(self, network, images, options):
        def compute(part: slice) -> torch.Tensor:
            def gradient() -> torch.Tensor:
                x = images[part].clone().requires_grad_()
                with torch.enable_grad():
                    (value,) = network.gradients(network(x).square().sum(), [x])
                return value.abs().mean(dim=(1, 2, 3))

            return network.differentiate(gradient)

        values = torch.cat([value for _, value in in_batches(len(images), compute, batch=8)])
        return sr_hooks.Result(self.name, {"values": values.numpy()}, verdict="sound")


class Sensitive:
    @sr_hooks.hookimpl
    def register_analyses(self):
        return [Sensitivity]


@pytest.mark.slow
def test_a_plugins_analysis_has_all_of_it(baseline, lr48, caplog):
    images = torch.cat([lr48[..., :32, :32], lr48[..., 8:40, 8:40], lr48[..., 16:, 16:]])
    with registered(Sensitive()):
        with SmallCard() as card:
            plain = sr_hooks.run("sensitivity", baseline, images).arrays["values"]
        one = card.peak / 3
        for capacity, words in ((1.6 * one, ""), (0.93 * one, "are computed twice")):
            caplog.clear()
            with SmallCard(capacity) as card, caplog.at_level(logging.INFO, logger="sr_hooks"):
                assert relative(sr_hooks.run("sensitivity", baseline, images).arrays["values"], plain) < 1e-5
            assert card.refusals >= 1 and words in caplog.text and bool(words) == ("twice" in caplog.text)
        with SmallCard(0.2 * one) as card, pytest.raises(ResourceError, match="sensitivity of CompactResNet"):
            sr_hooks.run("sensitivity", baseline, images)
        gc.collect()
        assert card.live == 0


@pytest.mark.slow
def test_a_watched_run_goes_on_without_the_analysis_bit_for_bit(caplog):
    plain = loop(12)
    options = {"lam": {"window": (4, 4, 16), "every": 2, "budget": "off"}, "images": torch.rand(1, 3, 256, 256)}
    with SmallCard(4e6) as card, caplog.at_level(logging.INFO, logger="sr_hooks"):
        watched = loop(12, options)
    assert card.refusals and watched == plain
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(lines) == 1 and "\n" not in lines[0]
    assert "lam ran out of memory at iteration 2 and is disabled; training goes on" in lines[0]
    assert "give a smaller image" in lines[0]
    gc.collect()
    assert card.live < 1e6


@pytest.mark.slow
def test_the_command_line_says_it_in_one_line(tmp_path, lr48, capsys):
    from sr_hooks.images.image import write_image

    write_image(lr48, tmp_path / "lr.png")
    command = ["lam", "--model", "demo:baseline", "--image", str(tmp_path / "lr.png"), "--window", "0,0,192"]
    with SmallCard(1e6):
        assert main([*command, "--steps", "2", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("sr-hooks: lam of CompactResNet baseline does not fit into the memory of cpu")
    assert not (tmp_path / "out").exists()
