"""One analysis divided among workers: equal bits for any number of them, and after a kill."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.cli.app import main
from sr_hooks.errors import OptionError, ResultError, TapError
from sr_hooks.grid import run_in_parts
from sr_hooks.grid.folder import GridFolder
from sr_hooks.images import image_sources, write_image
from sr_hooks.results.result import RESULT_FILE
from tests.support.grids import NETWORKS, environment, write_images

DDR = {"patch": 8, "patches": 140, "degradations": ["clean", "noise:30"], "tsne": 0, "permutations": 99, "seed": 3}
DDR |= {"layers": ["act", "auto"], "subsamples": 20}
SKETCHED = DDR | {"sketch": 64}  # of 128 values


@pytest.fixture
def tiny() -> sr_hooks.Network:
    return sr_hooks.Network.load(NETWORKS["tiny 7"]["model"], {"features": 8}, scale=2)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "files").mkdir()
    write_images(tmp_path / "files", 5)
    return tmp_path / "files"


def parts_of(out) -> list[str]:
    return [line["key"] for line in GridFolder(out).journal() if line["event"] == "finished"]


def test_parts_give_what_one_process_gives(tiny, files, tmp_path):
    """Exact features: the same patches, and the same numbers but for rounding."""
    whole = sr_hooks.ddr(tiny, files, **DDR)
    parts = run_in_parts("ddr", tiny, files, out=tmp_path / "out", **DDR)
    assert len(parts_of(tmp_path / "out")) == 2 + 1  # 280 samples, and the result
    assert set(parts.arrays) == set(whole.arrays) and parts.verdict == whole.verdict
    for name in ("labels", "groups", "examples", "thumbnails"):
        assert np.array_equal(parts.arrays[name], whole.arrays[name]), name
    for one, other in zip(parts.layers, whole.layers, strict=True):
        assert one.chi == pytest.approx(other.chi, rel=1e-4) and one.p == other.p
    again = run_in_parts("ddr", tiny, files, out=tmp_path / "out", **DDR)
    assert len(parts_of(tmp_path / "out")) == 3 and np.array_equal(again.arrays["scores_0"], parts.arrays["scores_0"])


def test_what_cannot_be_divided_is_refused(tiny, files, tmp_path):
    with pytest.raises(OptionError, match="lam cannot be divided"):
        run_in_parts("lam", tiny, files, out=tmp_path / "a", window=(0, 0, 4))
    with pytest.raises(OptionError, match="workers and threads must be at least 1"):
        run_in_parts("ddr", tiny, files, out=tmp_path / "b", workers=0)
    with pytest.raises(OptionError, match="keep_features"):
        run_in_parts("ddr", tiny, files, out=tmp_path / "c", keep_features=tmp_path / "kept", **DDR)
    with pytest.raises(TapError, match="no layer"):
        run_in_parts("ddr", tiny, files, out=tmp_path / "d", layers="nowhere", patch=8)
    with pytest.raises(ResultError, match="holds other files"):
        run_in_parts("ddr", tiny, files, out=files)


def contents(out) -> dict[str, bytes]:
    """The arrays of the result, as they are on disk."""
    (path,) = [path for path in (out / "cells").rglob(RESULT_FILE) if '"ddr-part"' not in path.read_text()]
    return {"arrays": (path.parent / "arrays.npz").read_bytes()}


@pytest.mark.slow
@pytest.mark.parametrize(("options", "counts"), [(DDR, [2]), (SKETCHED, [2, 3])], ids=["exact", "sketched"])
def test_the_number_of_workers_changes_no_bit(options, counts, tiny, files, tmp_path, monkeypatch):
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    results = []
    for workers in (1, *counts):
        results.append(run_in_parts("ddr", tiny, files, out=tmp_path / str(workers), workers=workers, **options))
    one = results[0]
    for workers, other in zip(counts, results[1:], strict=True):
        assert contents(tmp_path / str(workers)) == contents(tmp_path / "1")
        assert one.scalars == other.scalars and one.verdict == other.verdict
    assert (one.layers[0].sketch is not None) == ("sketch" in options)


@pytest.mark.slow
@pytest.mark.parametrize("door", ["processes of this machine", "executor"])
def test_a_worker_that_is_killed_costs_nothing(door, tiny, files, tmp_path, request, monkeypatch):
    """The first process that begins a part, other than this one, is killed by SIGKILL at once."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    undisturbed = run_in_parts("ddr", tiny, files, out=tmp_path / "undisturbed", **SKETCHED)
    out, killed = tmp_path / "out", []

    def wait_and_kill() -> None:
        end = time.monotonic() + 200
        while not killed and time.monotonic() < end:
            begun = [line["pid"] for line in GridFolder(out).journal() if line["event"] == "begun"]
            for pid in [pid for pid in begun if pid != os.getpid()][:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.005)

    executor = None
    if door == "executor":
        executor = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
        request.addfinalizer(lambda: executor.shutdown(wait=True, cancel_futures=True))
    else:  # this process leaves the parts to the other one until that is killed
        own = GridFolder.claimed
        monkeypatch.setattr(GridFolder, "claimed", lambda self, key: (_wait_for(killed), own(self, key))[1])
    thread = threading.Thread(target=wait_and_kill)
    thread.start()
    result = run_in_parts("ddr", tiny, files, out=out, workers=2, executor=executor, **SKETCHED)
    thread.join(10)
    assert killed and killed[0] != os.getpid()
    assert contents(out) == contents(tmp_path / "undisturbed") and result.scalars == undisturbed.scalars
    finished = parts_of(out)
    assert len(finished) == len(set(finished)) == 1 + 1 + 1  # the exact part, 140 patches and the result


def _wait_for(killed: list[int]) -> None:
    end = time.monotonic() + 120
    while not killed and time.monotonic() < end:
        time.sleep(0.01)


@pytest.mark.slow
def test_a_file_that_changes_meanwhile_fails_by_name(tiny, files, tmp_path):
    sources = image_sources(files)
    write_image(torch.zeros(1, 3, 48, 48), files / "photo_1.png")
    with pytest.raises(sr_hooks.SRHooksError, match=r"photo_1\.png has changed"):
        run_in_parts("ddr", tiny, sources, out=tmp_path / "out", **DDR)


@pytest.mark.slow
def test_the_command_shares_parts_and_continues(files, tmp_path, monkeypatch, capsys):
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    model = ["--model", NETWORKS["tiny 7"]["model"], "--arguments", "{features: 8}", "--scale", "2"]
    options = ["--patch", "8", "--patches", "140", "--degradations", "clean", "noise:30", "--layers", "act", "auto"]
    options += ["--tsne", "0", "--permutations", "99", "--subsamples", "20", "--seed", "3", "--sketch", "64"]
    command = ["ddr", *model, "--image", str(files), *options, "--out", str(tmp_path / "out"), "--workers", "2"]
    assert main(command) == 0
    assert "are sketched to 64 numbers" in capsys.readouterr().out
    assert (tmp_path / "out/figure.png").is_file() and len(parts_of(tmp_path / "out.parts")) == 3
    result = sr_hooks.load(tmp_path / "out")
    assert main([*command[:-4], "--out", str(tmp_path / "more"), "--parts", str(tmp_path / "out.parts")]) == 0
    again = sr_hooks.load(tmp_path / "more")
    assert len(parts_of(tmp_path / "out.parts")) == 3 and again.scalars == result.scalars
