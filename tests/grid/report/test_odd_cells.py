"""A cell whose result has other shapes than its kind costs that cell alone; PSNR is compared within a scale only."""

from __future__ import annotations

import numpy as np
import pytest

from sr_hooks.analyses.ddr.result import LayerSeparability
from sr_hooks.analyses.ddr.verdict import judge
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.plan import make_plan
from sr_hooks.grid.report import make_report
from sr_hooks.grid.report.outputs import Outputs
from sr_hooks.grid.report.rows import _misfit
from sr_hooks.grid.request import read_request
from sr_hooks.grid.run import run_grid
from sr_hooks.results.cache import Cache
from tests.support.grids import write_grid

pytestmark = pytest.mark.slow

ODD = {
    "a map of three numbers": ("attribution", lambda a: np.zeros(3, np.float32)),
    "an output of another size": ("output", lambda a: a[:, :1, :1]),
    "a map of a clip": ("attribution", lambda a: np.stack([a] * 2)),
    "an input of two bands": ("lr", lambda a: a[:2]),
    "no output": ("output", None),
}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    file = write_grid(folder, networks=2, images=1)
    run_grid(read_request(file), folder / "out", jobs=1)
    return file, folder / "out"


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_cell_costs_itself(grid, odd, monkeypatch):
    file, out = grid
    name, change = ODD[odd]
    monkeypatch.setattr(LamResult, "contradictions", lambda self: [])  # as if the shapes had passed on reading
    plan = make_plan(read_request(file), device="cpu", threads=1)
    outputs = Outputs(plan, GridFolder(out), 0.0)
    read = Cache.get

    def odd_get(self, key):
        result = read(self, key)
        if key == plan.cells[0].key:
            arrays = dict(result.arrays)
            if change is None:
                del arrays[name]
            else:
                arrays[name] = change(arrays[name])
            result.arrays = arrays
        return result

    monkeypatch.setattr(Cache, "get", odd_get)
    for task in outputs.tasks():
        task.run()
    assert (out / "figure.png").is_file()
    text = (out / "report.html").read_text()
    assert "cannot be shown" in text
    failures = [row.failure is not None for row in outputs.rows.rows]
    assert failures == [True] + [False] * (len(failures) - 1)


@pytest.mark.parametrize(
    "change", [lambda r: r.scalars.update(window=[0, 0, 1, 1]), lambda r: setattr(r, "analysis", "x")]
)
def test_a_result_of_another_cell_is_none_of_this(grid, change):
    file, out = grid
    plan = make_plan(read_request(file), device="cpu", threads=1)
    rows = Outputs(plan, GridFolder(out), 0.0).rows
    result = rows.result(plan.cells[0].key)
    assert result is not None and _misfit(plan.cells[0], result) is None
    change(result)
    assert "its result is" in str(_misfit(plan.cells[0], result))


def test_of_a_figure_with_many_pages_the_first_are_linked(grid):
    file, out = grid
    rows = Outputs(make_plan(read_request(file), device="cpu", threads=1), GridFolder(out), 0.0).rows
    files = [f"figure_{number}.pdf" for number in range(2, 22)] + ["table.tex"]
    text = make_report(rows, [], files)
    assert text.count('.pdf"') == 8 and 'href="figure_9.pdf"' in text and 'href="table.tex"' in text
    assert "and 12 further pages" in text


def test_no_separation_is_said_plainly():
    facts = {"chi": 1.2, "low": 1.0, "high": 1.4, "p": 0.5, "null_median": 1.0, "null_95": 1.5, "share": 0.01}
    layers = [LayerSeparability(**facts, undefined=None, layer=name) for name in "ab"]
    words = judge(layers, counts=[50, 50], wanted=50, permutations=999, apart=[])
    assert words.startswith("features do not separate by degradation at any of 2 layers (no p < 0.01;")
