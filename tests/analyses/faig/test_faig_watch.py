"""FAIG along a real training: complete by construction, free from the run's gradients, resumable, on real BasicSR."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed
from torch.nn import functional as F

import sr_hooks
from sr_hooks import FaigResult, Network
from sr_hooks.analyses.faig.analysis import Faig
from sr_hooks.analyses.faig.watcher import FaigWatcher, FaigWatchOptions
from sr_hooks.analyses.watch_context import WatchContext
from sr_hooks.degradations.parsing import make_lr
from sr_hooks.errors import ImageError, NetworkError, OptionError
from sr_hooks.images.image import downsample, read_image, write_image
from sr_hooks.results.run_index import read_index
from tests.conftest import REPOSITORY
from tests.integration.basicsr import runs
from tests.integration.basicsr.test_distributed import torchrun
from tests.support.networks import Tiny

PROBES = ("blur:2", "noise:25.5")


@pytest.fixture(scope="module")
def gt(photo):
    return torch.cat([photo[..., 80:112, 80:112], photo[..., 40:72, 100:132]])


def watcher(gt, **options) -> FaigWatcher:
    context = WatchContext(
        images=tuple(gt.split(1)),
        image_names=("a", "b"),
        seed=3,
        folder=None,
        base=Path(),
        make_network=lambda: Tiny(2),
    )
    return FaigWatcher(Faig, FaigWatchOptions(**options), context)


def steps(module, gt, count, optimizer=None):
    """Adam on noisy inputs; yields after each step, seeded."""
    optimizer = optimizer or torch.optim.Adam(module.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        lr = downsample(gt, 2)
        lr = lr + 0.1 * torch.randn(lr.shape, generator=generator)
        optimizer.zero_grad()
        F.l1_loss(module(lr), gt).backward()
        yield optimizer
        optimizer.step()


def test_the_sum_is_the_probe_losses_change(gt):
    module = Tiny(2)
    network, watch = Network(module), watcher(gt)
    watch.check(network)
    start = copy.deepcopy(module)
    for _ in range(3):
        for _ in steps(module, gt, 8):
            pass
        (result,) = watch.due(network, 0)
    assert isinstance(result, FaigResult) and result.degradations == list(PROBES)
    assert "trajectory" in result.verdict and result.scalars["completeness_gaps"][1] < 0.01
    for row, name in enumerate(PROBES):
        lr = torch.cat([watch.inputs.lr[i][row] for i in range(2)])
        with torch.no_grad():
            change = float((module(lr) - gt).square().sum() - (start(lr) - gt).square().sum())
        # The blur's loss goes up and down and ends within 1 % of where it began.
        near = {"rel": 0.01} if name.startswith("noise") else {"abs": 0.002 * watch.trajectory.start_losses[row]}
        assert result.scalars["attributed"][row] == pytest.approx(change, **near), name
    assert result.arrays["scores"].max() > 0 and result.figure() is not None
    with pytest.raises(NetworkError, match="holds no networks"):
        result.mask("blur")


def test_without_refinement_it_is_the_plain_trapezoid(gt):
    module = Tiny(2)
    network, watch = Network(module), watcher(gt, refine=0, degradations=("noise:25.5",), crop=None)
    watch.check(network)
    lr = torch.cat([row[0] for row in watch.inputs.lr])

    def look():
        probe = copy.deepcopy(module)
        (probe(lr) - gt).square().sum().backward()
        return probe.tail.weight.grad, probe.tail.weight.detach()

    points = [look()]
    for _ in range(3):
        for _ in steps(module, gt, 3):
            pass
        points.append(look())
        (result,) = watch.due(network, 0)
    total = sum((a[0] + b[0]) / 2 * (b[1] - a[1]) for a, b in pairwise(points))
    assert np.allclose(result.scores["noise"]["tail"], total.abs().sum(dim=(2, 3)), rtol=1e-3, atol=1e-6)
    assert result.steps == 4


def test_free_is_the_trapezoid_of_the_runs_own_gradients(gt):
    module = Tiny(2)
    network, watch = Network(module), watcher(gt, free=True, probes=False)
    watch.check(network)
    seen, before = [], []
    stranger = torch.optim.SGD(Tiny(2).parameters(), 1.0)
    for optimizer in steps(module, gt, 6):
        seen.append((module.tail.weight.grad.clone(), module.tail.weight.detach().clone()))
        before.append([p.grad.clone() for p in module.parameters()])
        watch.before_step(network, optimizer, 0)
        watch.before_step(network, stranger, 0)
        assert all(torch.equal(a, p.grad) for a, p in zip(before[-1], module.parameters(), strict=True))
    (result,) = watch.due(network, 6)
    total = sum((a[0] + b[0]) / 2 * (b[1] - a[1]) for a, b in pairwise(seen))
    assert result.degradations == ["training loss"] and result.steps == 6
    assert np.allclose(result.scores["training loss"]["tail"], total.abs().sum(dim=(2, 3)), rtol=1e-3, atol=1e-7)
    assert result.scalars["attributed"][0] < 0 and np.isnan(result.completeness_gap)


def test_resumed_sums_are_those_of_an_unbroken_run(gt, tmp_path):
    def run(broken: bool) -> list[FaigResult]:
        module = Tiny(2)
        network, watch = Network(module), watcher(gt, free=True)
        watch.check(network)
        for part in range(2):
            sgd = torch.optim.SGD(module.parameters(), 1e-2)
            for optimizer in steps(module, gt, 4, sgd):
                watch.before_step(network, optimizer, 0)
            results = watch.due(network, 4 * part)
            if broken and part == 0:
                torch.save(watch.state_dict(), tmp_path / "state")
                watch = watcher(gt, free=True)
                watch.check(network)
                watch.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
        return results

    for whole, resumed in zip(run(False), run(True), strict=True):
        assert np.array_equal(whole.arrays["scores"], resumed.arrays["scores"])
        assert whole.scalars == resumed.scalars


def test_other_ranks_hold_nothing(gt):
    watch = watcher(gt, free=True)
    watch.context = replace(watch.context, rank=1)
    network = Network(Tiny(2))
    watch.check(network)
    for optimizer in steps(network.module, gt, 1):
        watch.before_step(network, optimizer, 0)
    assert watch.state_dict() == {} and watch.trajectory is None and not watch.free.sums


def test_bad_requests(gt):
    for request, message in (
        ({"refine": 9}, "refine is 9"),
        ({"crop": 0}, "crop is 0"),
        ({"probes": False}, "nothing to do"),
    ):
        with pytest.raises(ValueError, match=message):
            FaigWatchOptions(**request)
    with pytest.raises(ImageError, match="channel"):
        watcher(gt[:, :2]).check(Network(Tiny(2)))
    with pytest.raises(OptionError, match="ground-truth"):
        FaigWatcher(Faig, FaigWatchOptions(), replace(watcher(gt).context, images=())).check(Network(Tiny(2)))


@pytest.mark.slow
def test_a_real_basicsr_fine_tuning_of_60_iterations(basicsr, tmp_path):
    """The sums over all parameters are the probe losses' changes within 1 %, from an option file, at every due step."""
    data = runs.make_data(tmp_path / "pictures")
    first = runs.options(
        data,
        runs.NETWORKS["MSRResNet"],
        train={"total_iter": 20, "optim_g": {"lr": 2e-3}},
        val={"val_freq": 1000},
        logger={"save_checkpoint_freq": 1000},
    )
    model = runs.train(runs.write(first, tmp_path / "first.yml"), tmp_path / "first")
    torch.save({"params": model.net_g.state_dict()}, tmp_path / "start.pth")
    for file in sorted((data / "train/gt").glob("*.png")):  # now the inputs are noisy, and it learns to remove that
        write_image(make_lr(read_image(file), "noise:25.5", scale=2), data / "train/lq" / file.name)
    content = runs.deep(
        first,
        {
            "path": {"pretrain_network_g": str(tmp_path / "start.pth")},
            "train": {"total_iter": 60, "optim_g": {"lr": 1e-3}},
            "sr_hooks": {
                "faig": {"every": 15, "budget": "off", "free": True, "crop": 32, "degradations": ["noise:25.5"]},
                "sinks": ["folder"],
            },
        },
    )
    file = runs.write(content, tmp_path / "second.yml")
    runs.train(file, tmp_path / "second", around=sr_hooks.analyze)
    place = tmp_path / "second/experiments/tiny/sr_hooks"
    found = [sr_hooks.load(place / entry["folder"]) for entry in read_index(place)]
    probes = [r for r in found if r.degradations == ["noise:25.5"]]
    free = [r for r in found if r.degradations == ["training loss"]]
    assert len(probes) == 4 and len(free) == 4 and free[-1].steps == 60
    for result in probes:
        assert result.completeness_gap < 0.01, result.verdict
    changed = np.subtract(probes[-1].scalars["target_loss"], probes[-1].scalars["baseline_loss"])
    assert np.abs(changed).max() > 0.1


@pytest.mark.slow
def test_two_processes(basicsr, tmp_path):
    """Rank 0 holds sums of gradients that are already the mean over ranks; the other is not kept waiting."""
    if not (distributed.is_available() and distributed.is_gloo_available()):
        pytest.skip("this torch has no gloo")
    content = runs.options(
        runs.make_data(tmp_path / "pictures"),
        runs.NETWORKS["MSRResNet"],
        train={"total_iter": 6},
        logger={"print_freq": 5, "save_checkpoint_freq": 100},
        val={"val_freq": 100},
    )
    block = {"faig": {"every": 3, "budget": "off", "free": True, "crop": 32}, "sinks": ["folder"]}
    file = runs.write({**content, "sr_hooks": block}, tmp_path / "two.yml")
    script = str(REPOSITORY / "tests/integration/basicsr/ddp_basicsr.py")
    flags = ["-m", "sr_hooks", "train", script, "-opt", str(file), "--launcher", "pytorch"]
    done = torchrun(tmp_path / "two", *flags)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    place = tmp_path / "two/experiments/tiny/sr_hooks"
    found = [sr_hooks.load(place / entry["folder"]) for entry in read_index(place)]
    assert [r.steps for r in found if r.degradations == ["training loss"]] == [3, 6]
    assert all(np.isfinite(r.arrays["scores"]).all() and r.arrays["scores"].any() for r in found)


def test_tensorboard_shows_answers(gt):
    """For each degradation the share of filters with half of the score, the top layer, and the dB lost when masked."""
    module = Tiny(2)
    network, watch = Network(module), watcher(gt)
    watch.check(network)
    for _ in steps(module, gt, 8):
        pass
    (result,) = watch.due(network, 8)
    answers = result.answers()
    for row, name in enumerate(PROBES):
        scores = np.sort(result.arrays["scores"][row].astype(np.float64))[::-1]
        count = round(answers[f"filters_with_half_of_the_score_%/{name}"] * len(scores) / 100)
        assert scores[:count].sum() >= scores.sum() / 2 > scores[: count - 1].sum()
        assert answers[f"top_layer/{name}"].split(",")[0] in ("head", "tail")
        assert answers[f"dB_lost_when_masked/{name}"] == result.scalars["masked_db_lost"][row]
    assert any(abs(lost) > 1e-4 for lost in result.scalars["masked_db_lost"])
    assert "gradients" not in answers and "gradients" in result.headline()
