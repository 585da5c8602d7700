"""A plan outlives the networks that cannot be used, and holds one network at a time."""

from __future__ import annotations

import csv
import weakref

import pytest

from sr_hooks.cli.app import main
from sr_hooks.core import progress as progress_module
from sr_hooks.errors import NetworkError, SRHooksError
from sr_hooks.grid import plan as planning
from sr_hooks.grid import run_grid
from sr_hooks.grid.loading import load_network
from sr_hooks.grid.plan import make_plan
from sr_hooks.grid.request import parse_request
from tests.conftest import REPOSITORY
from tests.support.grids import content, write_grid

TINY = f"{REPOSITORY}/tests/support/networks.py:Tiny"


def with_networks(tmp_path, **networks):
    asked = content(tmp_path)
    return parse_request({**asked, "networks": {**asked["networks"], **networks}})


@pytest.mark.slow
def test_networks_that_cannot_be_used_cost_no_other_network(tmp_path, caplog):
    (tmp_path / "arch.py").write_text(
        "import torch\nclass Raises(torch.nn.Module):\n    def __init__(self): raise KeyError('depth')\n"
    )
    asked = with_networks(tmp_path, absent="absent.pth", raises=f"{tmp_path}/arch.py:Raises")
    summary = run_grid(asked, tmp_path / "out", jobs=1)
    assert (summary.cells, summary.computed) == (4, 4)
    assert [label for label, _ in summary.failures] == ["network absent", "network raises"]
    assert "2 of 4 networks cannot be used: network absent: no weights file" in caplog.text
    rows = list(csv.DictReader((tmp_path / "out/table.csv").open(newline="")))
    assert [row["network"] for row in rows] == [n for n in ("tiny 4", "tiny 5", "absent", "raises") for _ in range(2)]
    assert all("no weights file" in row["failure"] for row in rows[4:6])
    assert all("KeyError" in row["failure"] and row["window"] == "16,16,8,8" for row in rows[6:])
    assert all(float(row["diffusion_index"]) > 0 and not row["failure"] for row in rows[:4])
    assert "Failed: no weights file" in (tmp_path / "out/table.md").read_text()
    assert "no weights file" in (tmp_path / "out/report.html").read_text()
    again = run_grid(asked, tmp_path / "out", jobs=1)
    assert again.computed == 0 and len(again.failures) == 2
    assert run_grid(with_networks(tmp_path), tmp_path / "out", jobs=1).failures == ()
    assert "no weights file" not in (tmp_path / "out/table.csv").read_text()


def test_any_error_of_a_network_s_own_code_is_its_own(tmp_path, monkeypatch):
    def failing(entry, device):
        if entry.name == "tiny 4":
            raise ZeroDivisionError("in its own code")
        return load_network(entry, device)

    monkeypatch.setattr(planning, "load_network", failing)
    plan = make_plan(with_networks(tmp_path), device="cpu", threads=1)
    assert plan.problems == {0: "ZeroDivisionError: in its own code"}
    assert [cell.network for cell in plan.cells] == [0, 0, 1, 1]


@pytest.mark.slow
def test_one_network_is_in_memory_at_a_time_and_planning_is_counted(tmp_path, monkeypatch):
    loaded, states = [], []

    def loading(entry, device):
        assert [reference() for reference in loaded if reference() is not None] == []
        network = load_network(entry, device)
        network.module.itself = [network.module]  # a circle, as hooks and compiled graphs make
        loaded.append(weakref.ref(network.module))
        states.append(progress_module._counts[-1].state())
        return network

    monkeypatch.setattr(planning, "load_network", loading)
    asked = parse_request(content(tmp_path, networks=3))
    make_plan(asked, device="cpu", threads=1)
    assert states == [f"planning: {n} of 3 networks" for n in range(3)]


def test_arguments_by_position(tmp_path):
    asked = with_networks(tmp_path, **{"by position": {"model": TINY, "arguments": [2, 3, 4]}})
    plan = make_plan(asked, device="cpu", threads=1)
    assert plan.networks[2]["sha256"] == plan.networks[0]["sha256"] != plan.networks[1]["sha256"]
    too_many = parse_request({**content(tmp_path), "networks": {"n": {"model": TINY, "arguments": list(range(30))}}})
    with pytest.raises(NetworkError, match=r"network n: Tiny takes \d arguments by position, and 30 are given"):
        make_plan(too_many, device="cpu", threads=1)
    with pytest.raises(SRHooksError, match="must be a mapping or a list"):
        parse_request({**content(tmp_path), "networks": {"n": {"model": TINY, "arguments": 4}}})


@pytest.mark.slow
def test_cells_of_other_grids_are_taken_over(tmp_path):
    first = parse_request(content(tmp_path, networks=1, images=1, check=True))
    run_grid(first, tmp_path / "first", jobs=1)
    union = parse_request(content(tmp_path, networks=2, images=1, check=True))
    summary = run_grid(union, tmp_path / "union", jobs=1, earlier=[tmp_path / "first"])
    assert (summary.cells, summary.computed, summary.checked) == (2, 1, 1)
    lines = [csv.DictReader((tmp_path / f"{name}/table.csv").open(newline="")) for name in ("first", "union")]
    first_row, union_row = next(lines[0]), next(lines[1])
    assert {**first_row, "cautions": ""} == {**union_row, "cautions": ""}
    with pytest.raises(SRHooksError, match="no folder of a grid"):
        run_grid(union, tmp_path / "union", jobs=1, earlier=[tmp_path])


@pytest.mark.slow
def test_the_command_names_the_network_and_ends_with_status_2(tmp_path, capsys):
    image = str(write_grid(tmp_path).parent / "photo_0.png")
    flags = ["--image", image, "--window", "16,16,8", "--out", str(tmp_path / "out"), "--jobs", "1"]
    assert main(["grid", "--model", TINY, "absent.pth", "--arguments", "[2, 3, 4]", *flags]) == 2
    printed = capsys.readouterr()
    assert "1 cells, 1 computed" in printed.out and "network absent failed: absent.pth is a checkpoint" in printed.err
