"""One plan for all workers, and what a grid will cost."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest
import torch

from sr_hooks.cli.app import main
from sr_hooks.core.options import as_plain
from sr_hooks.errors import NetworkError
from sr_hooks.grid import read_request
from sr_hooks.grid.compute import CellComputer
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.report.formats import as_text
from sr_hooks.grid.report.rows import GridRows
from sr_hooks.grid.report.tables import make_tables
from sr_hooks.grid.work import stored_plans as sharing
from sr_hooks.grid.work.costs import estimate
from sr_hooks.grid.work.tasks import run_shared
from sr_hooks.images.image import write_image
from tests.support.grids import write_grid

pytestmark = pytest.mark.slow


@pytest.fixture
def grid(tmp_path):
    """A grid with a mask among the windows, and a network that cannot be loaded before the one that can."""
    mask = np.zeros((48, 48), np.float32)
    mask[10:20, 12:30] = 1
    write_image(torch.from_numpy(mask).expand(1, 3, 48, 48), tmp_path / "mask.png")
    file = write_grid(tmp_path, networks=1, images=2, windows=["16,16,8", str(tmp_path / "mask.png")])
    text = file.read_text().replace("networks:\n", "networks:\n  broken: {model: nothing.py:None}\n", 1)
    file.write_text(text)
    return file


def plan_of(request, folder, since=0.0, **more):
    return sharing.shared_plan(request, folder, device="cpu", threads=1, since=since, **more)


def test_the_second_worker_reads_the_plan_of_the_first(grid, tmp_path, monkeypatch):
    request, folder = read_request(grid), GridFolder(tmp_path / "out")
    folder.open({})
    begin, first = folder.now() - 1, plan_of(request, folder)
    monkeypatch.setattr(sharing, "make_plan", None)
    second = plan_of(request, folder, begin)
    assert first.problems and [cell.key for cell in first.cells] == [cell.key for cell in second.cells]
    for name in ("cells", "networks", "hashes", "problems", "sizes", "seconds", "threads", "device", "together"):
        assert as_plain(getattr(first, name)) == as_plain(getattr(second, name)), name
    assert [cell.options for cell in first.cells] == [cell.options for cell in second.cells]


def test_a_plan_ends_with_its_files_request_and_run(grid, tmp_path, monkeypatch):
    request, folder = read_request(grid), GridFolder(tmp_path / "out")
    folder.open({})
    first = plan_of(request, folder)
    made = []
    real = sharing.make_plan
    monkeypatch.setattr(sharing, "make_plan", lambda *a, **k: made.append(1) or real(*a, **k))
    plan_of(request, folder)
    assert not made
    plan_of(request, folder, folder.now() + 5)  # a network failed: a new run tries it again
    together = plan_of(request, folder, together=True)
    assert len(made) == 2
    keys = [{cell.key for cell in plan.cells if cell.network == 1} for plan in (first, together)]
    assert len(keys[0]) == 4 and not keys[0] & keys[1]
    image = request.images[0].file
    plan_of(request, folder)
    os.utime(image, ns=(1, 1))
    plan_of(request, folder)
    plan_of(dataclasses.replace(request, title="another"), folder)
    assert len(made) == 5
    (folder.path / "plan_cpu.json").write_text('{"name": 3')
    assert plan_of(request, folder).cells and len(made) == 6


def test_weights_that_are_not_those_of_the_plan_are_refused(grid, tmp_path):
    request, folder = read_request(grid), GridFolder(tmp_path / "out")
    folder.open({})
    plan = plan_of(request, folder)
    other = [{**network, "sha256": "0" * 64} for network in plan.networks]
    cell = next(cell for cell in plan.cells if cell.network == 1)
    with pytest.raises(NetworkError, match="not those with which the grid was planned"):
        CellComputer(dataclasses.replace(plan, networks=tuple(other)), folder).compute(cell)


def computed(request, out, **more):
    """The plan, after all of its cells have been computed; no figure and no table."""
    folder = GridFolder(out)
    folder.open({})
    plan = plan_of(request, folder, **more)
    run_shared(CellComputer(plan, folder).tasks(), folder, since=0.0)
    return plan, folder


def test_windows_in_one_call_give_the_maps_of_single_calls(grid, tmp_path):
    """What a GPU does, on the CPU: one call an image, each window under its own key, every window in the tables."""
    request = read_request(grid)
    (apart, of_apart), (joint, of_joint) = (
        computed(request, tmp_path / f"{together}", together=together) for together in (False, True)
    )
    tables = [make_tables(GridRows(plan, folder, 0.0), []) for plan, folder in ((apart, of_apart), (joint, of_joint))]
    assert as_text(tables[0][0]) == as_text(tables[1][0])
    assert len(joint.cells) == 8 and all(task.done() for task in CellComputer(joint, of_joint).tasks())
    for cell, other_cell in zip(apart.cells, joint.cells, strict=True):
        if cell.network in apart.problems:
            continue
        one, other = of_apart.cache.get(cell.key), of_joint.cache.get(other_cell.key)
        assert np.abs(one.attribution - other.attribution).max() <= 1e-5 * np.abs(one.attribution).max()
        assert one.provenance["options"] == other.provenance["options"]
        assert ("region" in one.arrays) == ("region" in other.arrays)
    assert [line["event"] for line in of_joint.journal()] == ["begun", "begun", "finished", "finished"] * 2


def test_a_dry_run_counts_and_writes_nothing(grid, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["grid", str(grid), "--out", str(out), "--dry-run", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)["headline"]
    assert (numbers["cells"], numbers["present"], numbers["networks"], numbers["measured"]) == (4, 0, 2, 0)
    assert numbers["seconds"] > 0 and "network broken" in numbers["problems"] and not out.exists()
    assert numbers["size"] == 4 * 3 * 4 * 24 * 24 * 6  # map and input of 24x24, output of 48x48
    request = read_request(grid)
    computed(request, out)
    (next(iter(out.glob("cells/*/[!.]*"))) / "result.json").unlink()
    answer = estimate(request, out, workers=8, device="cpu")
    assert (answer.cells, answer.present, answer.measured, answer.workers) == (4, 3, 1.0, 1)
    spent = [line["cpu"] for line in GridFolder(out).journal() if line["event"] == "finished" and "," in line["what"]]
    assert answer.seconds == pytest.approx(sum(spent) / len(spent)) and "3 of them are there" in str(answer)
