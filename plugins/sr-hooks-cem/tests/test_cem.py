"""Causal effects against whole images run one by one; what is skipped is proved; a killed run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cem_networks import NETWORKS, Global, Linear, Swallowing, msrresnet
from sr_hooks_cem import agreement, find_reach
from sr_hooks_cem.agreement import block_sums
from sr_hooks_cem.pool import Pool
from sr_hooks_cem.verdict import student
from torch.nn import functional as F

import sr_hooks
from sr_hooks.cli import main
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import Window, downsample, read_image


def one_by_one(module, hr, window, *, block, coarse, fine, tolerance, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """The procedure without any shortcut: every block, every patch, the whole image, one forward each."""
    network = sr_hooks.Network.of(module)
    pool, lr = Pool(network, None, "clean", seed), downsample(hr, network.scale)
    side = block // int(network.scale)
    top, left, height, width = window

    def psnr(x):
        with torch.no_grad():
            out = network(x).clamp(0, 1)
        error = (out - hr)[..., top : top + height, left : left + width].double().square().mean()
        return -10 * np.log10(float(error))

    def draw(number, y, x, index):
        image = lr.clone()
        spot = image[0, :, y : y + side, x : x + side]
        spot.copy_(pool.patch(number, index, *spot.shape[-2:]))
        return psnr(image)

    base = psnr(lr)
    rows, columns = range(0, lr.shape[-2], side), range(0, lr.shape[-1], side)
    effect, counts = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)), int)
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            number = i * len(columns) + j
            values = [draw(number, y, x, k) for k in range(coarse)]
            if max(abs(v - base) for v in values) >= tolerance:
                values += [draw(number, y, x, k) for k in range(coarse, fine)]
            effect[i, j], counts[i, j] = base - np.mean(values), len(values)
    return effect, counts


@pytest.mark.parametrize("name", NETWORKS)
def test_the_map_is_that_of_whole_images_one_by_one(name, hr):
    window, asked = (4, 12, 12), {"block": 8, "coarse": 2, "fine": 4, "tolerance": 0.05}
    result = sr_hooks.run("cem", NETWORKS[name](), hr, window=window, lam=False, cache="", **asked)
    effect, counts = one_by_one(NETWORKS[name](), hr, (4, 12, 12, 12), **asked)
    assert np.allclose(result.arrays["effect"], effect, atol=2e-4)
    skipped = result.arrays["draws"] == 0
    assert np.array_equal(result.arrays["draws"][~skipped], counts[~skipped])
    assert np.abs(effect[skipped]).max(initial=0) < 1e-6 and (result.arrays["high"][skipped] == 0).all()
    assert skipped.any() == (name not in ("Global", "Swallowing"))


def test_the_reach_of_known_networks(hr):
    image, window = downsample(hr, 2), Window(20, 24, 8, 8)
    reach = find_reach(sr_hooks.Network(Linear()), image, window)
    assert reach.box == Window(9, 11, 6, 6) and reach.crop == reach.box and reach.proved
    for whole in (Global(), Swallowing()):
        reach = find_reach(sr_hooks.Network(whole), image, window)
        assert reach.box == reach.crop == Window(0, 0, 32, 32) and not reach.proved
    wrapping = find_reach(sr_hooks.Network(Linear("circular")), image, Window(0, 20, 8, 8))
    assert wrapping.box == Window(0, 9, 32, 6) and wrapping.proved  # from the other edge, too


def test_a_crop_is_taken_for_the_shipped_network():
    network, photo = demo_network("target"), read_image(photographs()[0])
    lr = F.pad(downsample(photo, 4), (16, 16, 16, 16), mode="reflect")
    reach = find_reach(network, lr, Window(176, 176, 32, 32))
    assert reach.proved and reach.crop.height < 96 and reach.crop.width < 96
    window = reach.crop
    inside = network(window.crop(lr))[..., 176 - 4 * window.top :, 176 - 4 * window.left :][..., :32, :32]
    assert torch.allclose(inside, network(lr)[..., 176:208, 176:208], atol=1e-5)


def test_nothing_moves_where_patches_are_what_they_replace():
    flat = torch.full((1, 3, 32, 32), 0.5)
    result = sr_hooks.run("cem", Linear(), flat, window=(8, 8, 8), pool=flat, lam=False, cache="")
    assert np.abs(result.arrays["effect"]).max() < 1e-4 and result.verdict.startswith("degenerate")


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        draws = rng.normal(1.0, 2.0, size=5)
        covered += abs(draws.mean() - 1.0) <= student(draws)
    assert 0.92 <= covered / 400 <= 0.98 and student(np.ones(1)) == np.inf


def test_signs_are_told_apart(hr):
    """A network that copies its neighbour's mistake: the block that is wrong harms, the rest helps."""
    lr = downsample(hr, 2)
    lr[..., 8:12, 8:12] = 1 - lr[..., 8:12, 8:12]
    result = sr_hooks.run("cem", Linear(), hr, lr=lr, window=(16, 16, 16), fine=20, lam=False, cache="")
    effect = result.arrays["effect"]
    assert effect[2, 2] < 0 < effect[3, 3] and result.arrays["high"][2, 2] < 0 < result.arrays["low"][3, 3]
    assert result.scalars["own_harming"] >= 1 and result.scalars["own_helping"] >= 1  # these are the window's own
    assert result.scalars["harming"] == 0  # the block that is wrong lies in the window


class Stop(KeyboardInterrupt):
    pass


def test_a_run_that_broke_off_goes_on_and_ends_the_same(hr, tmp_path):
    asked = {"window": (20, 24, 8), "fine": 20, "lam": False, "cache": str(tmp_path / "parts")}
    whole = sr_hooks.run("cem", msrresnet(), hr, **{**asked, "cache": ""})
    breaking = msrresnet()

    def stop(*_):
        if list((tmp_path / "parts").glob("*/*/result.json")):
            raise Stop

    breaking.register_forward_hook(stop)
    with pytest.raises(Stop):
        sr_hooks.run("cem", breaking, hr, **asked)
    result = sr_hooks.run("cem", msrresnet(), hr, **asked)
    assert 0 < result.scalars["from_cache"] < result.scalars["forwards"] == whole.scalars["forwards"]
    assert all(np.array_equal(result.arrays[k], whole.arrays[k], equal_nan=True) for k in whole.arrays)
    again = sr_hooks.run("cem", msrresnet(), hr, **asked)
    assert again.scalars["from_cache"] == again.scalars["forwards"]
    other = msrresnet()
    with torch.no_grad():
        other.conv_last.bias += 0.01
    for network, changed in ((other, {}), (msrresnet(), {"seed": 1}), (msrresnet(), {"window": (20, 28, 8)})):
        assert sr_hooks.run("cem", network, hr, **{**asked, **changed}).scalars["from_cache"] == 0


KILLED = """
import os, pathlib, signal, sys, threading, time, torch, sr_hooks
from sr_hooks.demo import demo_network, photographs
from sr_hooks.images import read_image

def kill_after_two_parts():
    while len(list(pathlib.Path(sys.argv[1]).glob("*/[!.]*/result.json"))) < 2:  # an unfinished part begins with a dot
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill_after_two_parts, daemon=True).start()
torch.set_num_threads(1)
hr = read_image(photographs()[1])[..., 60:124, 40:104]
sr_hooks.run("cem", demo_network("target"), hr, window=(24, 24, 16), lam=False, cache=sys.argv[1], coarse=12, fine=12)
"""


def test_a_killed_process_loses_one_part_at_most(hr, tmp_path):
    parts = tmp_path / "parts"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run([sys.executable, "-c", KILLED, str(parts)], env=environment, timeout=300)
    assert process.returncode == -signal.SIGKILL
    asked = {"window": (24, 24, 16), "lam": False, "coarse": 12, "fine": 12}
    result = sr_hooks.run("cem", demo_network("target"), hr, cache=str(parts), **asked)
    assert 2 * 96 <= result.scalars["from_cache"] < result.scalars["forwards"]
    whole = sr_hooks.run("cem", demo_network("target"), hr, cache="", **asked)
    assert all(np.array_equal(result.arrays[k], whole.arrays[k], equal_nan=True) for k in whole.arrays)


def test_reruns_are_equal_and_seeds_count(hr):
    first, again, other = (
        sr_hooks.run("cem", Linear(), hr, window=(20, 24, 8), seed=seed, cache="", fine=6) for seed in (0, 0, 1)
    )
    assert np.array_equal(first.arrays["effect"], again.arrays["effect"]) and first.scalars == again.scalars
    assert not np.array_equal(first.arrays["effect"], other.arrays["effect"])


def test_agreement_with_a_lam(hr):
    network = demo_network("target")
    result = sr_hooks.run("cem", network, hr, window=(24, 24, 16), fine=5, cache="")
    lam = sr_hooks.lam(network, downsample(hr, 4), window=(24, 24, 16))
    found = agreement(lam, result)
    assert found.correlation == result.scalars["lam_correlation"] and 0.3 < found.correlation <= 1
    assert found.sums.sum() == pytest.approx(float(lam.map.sum()), rel=1e-5)
    twin = sr_hooks.Result("cem", {**result.arrays, "effect": -found.sums}, result.scalars, result.provenance)
    assert agreement(lam, twin).correlation == pytest.approx(1) and agreement(lam, twin).p == pytest.approx(0.001)
    with pytest.raises(sr_hooks.SRHooksError, match="compare the same"):
        agreement(sr_hooks.lam(network, downsample(hr, 4), window=(24, 28, 16), steps=3), result)
    assert block_sums(np.ones((5, 7)), 3).tolist() == [[9, 9, 3], [6, 6, 2]]


def test_mistakes_are_named(hr):
    for wrong, said in (
        ({"window": (60, 0, 8)}, "leaves the output"),
        ({"window": (0, 0, 8), "block": 3}, "multiple of the scale"),
        ({"window": (0, 0, 8), "coarse": 0}, "coarse is 0"),
        ({"window": (0, 0, 8), "pool": torch.rand(1, 3, 6, 6)}, "less than a block"),
        ({"window": (0, 0, 8), "pool": torch.rand(1, 2, 64, 64)}, "channel"),
        ({}, "window must be given"),
    ):
        with pytest.raises(sr_hooks.SRHooksError, match=said):
            sr_hooks.run("cem", Linear(), hr, **wrong)


def test_the_command_with_its_figure(tmp_path: Path):
    asked = ["--image", str(photographs()[1]), "--crop", "64", "--fine", "4", "--out", str(tmp_path / "cem")]
    assert main(["cem", "--model", "demo:target", *asked, "--window", "24", "24", "16"]) == 0
    assert (tmp_path / "cem/figure.png").is_file() and sr_hooks.load(tmp_path / "cem").arrays["lam"].shape == (8, 8)
    several = [*asked[:-1], str(tmp_path / "two")]
    assert main(["cem", "--model", "demo:target", *several, "--window", "24,24,16;0,0,8", "--no-lam"]) == 0
    assert len(list((tmp_path / "two").glob("*/figure.png"))) == 2


def test_counts_leave_out_the_windows_own_blocks(hr):
    """The window owes most to its own blocks: counted with the others they would hide these."""
    result = sr_hooks.run("cem", demo_network("target"), hr, window=(24, 24, 16), fine=12, lam=False, cache="")
    own, low, high = (result.arrays[name] for name in ("own", "low", "high"))
    assert own.sum() == result.scalars["own_blocks"] == 4 and own[3:5, 3:5].all()
    fine = (result.arrays["draws"] > 3) & (np.abs(result.arrays["effect"]) >= 0.01)
    assert result.scalars["helping"] == (fine & (low > 0) & ~own).sum()
    assert result.scalars["own_helping"] == (fine & (low > 0) & own).sum() > 0
    assert result.scalars["harming"] == (fine & (high < 0) & ~own).sum()
    assert "own 4 blocks, left out" in result.verdict
