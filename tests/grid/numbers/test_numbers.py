"""The numbers of grids: read as one table, merged, and one against another over networks."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from sr_hooks.cli.app import main
from sr_hooks.errors import OptionError, ResultError
from sr_hooks.grid import GridTable, read, run_grid, scatter
from sr_hooks.grid.numbers import table as tables
from sr_hooks.grid.request import parse_request
from sr_hooks.statistics import rank_correlation_interval
from tests.support.grids import content

HEAD = ["analysis", "network", "group", "image", "window", "diffusion_index", "psnr_y", "verdict", "cautions", "key"]


def write_table(folder, rows, head=HEAD):
    folder.mkdir(exist_ok=True)
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return folder


def cells(values, group="", start=0):
    """A row for each network and image: values[n][i] are (DI, PSNR)."""
    return [
        [
            "lam",
            f"net {start + n}",
            group,
            f"image {i}",
            "0,0,8,8",
            repr(di),
            repr(quality),
            "sound",
            "",
            f"{start + n}-{i}",
        ]
        for n, images in enumerate(values)
        for i, (di, quality) in enumerate(images)
    ]


def test_a_table_with_pandas_and_without(tmp_path, monkeypatch):
    folder = write_table(tmp_path / "a", [*cells([[(1.5, 30.0)]]), ["lam", "'=net", "", "i", "", "", "", "", "", "k"]])
    pandas = pytest.importorskip("pandas", reason="the test extra has pandas")
    frame = read(folder)
    assert isinstance(frame, pandas.DataFrame) and list(frame.columns) == HEAD
    assert frame["diffusion_index"].tolist()[0] == 1.5 and np.isnan(frame["psnr_y"].tolist()[1])
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    table = read(folder)
    assert (
        isinstance(table, GridTable) and table.columns == tuple(HEAD) and table.numbers == ("diffusion_index", "psnr_y")
    )
    assert table.rows[0][5] == 1.5 and table.rows[1][1] == "=net" and table.rows[1][5] is None
    assert table.to_csv(tmp_path / "copy.csv") == (tmp_path / "copy.csv").read_text()
    assert (tmp_path / "copy.csv").read_text() == (folder / "table.csv").read_text().replace("\r\n", "\n")


def test_grids_merged(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    first = write_table(tmp_path / "a", cells([[(1.0, 30.0)], [(2.0, 31.0)]]))
    other_head = [name.replace("diffusion_index", "chi") for name in HEAD if name != "group"]
    rows = [row[:2] + row[3:] for row in cells([[(7.0, 30.0)], [(9.0, 32.0)]], start=1)]
    merged = read(first, write_table(tmp_path / "b", rows, other_head)).records()
    assert [(r["network"], r["grid"]) for r in merged] == [("net 0", "a"), ("net 1", "a"), ("net 2", "b")]
    assert merged[2]["chi"] == 9.0 and merged[2]["diffusion_index"] is None and merged[2]["group"] == ""


@pytest.mark.parametrize("text", [None, "", "a,b\n1,2\n", "network,key\n1\n"])
def test_a_folder_without_a_table_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / "table.csv").write_text(text)
    with pytest.raises(ResultError, match="no table"):
        read(tmp_path)


def test_scatter_takes_the_cells_that_all_networks_have(tmp_path):
    values = [[(1.0, 30.0), (100.0, 20.0)], [(2.0, 31.0), (200.0, 10.0)], [(3.0, 29.0)]]
    result = scatter(write_table(tmp_path / "a", cells(values, "CNN")), "psnr_y", "diffusion_index")
    assert [(p.network, p.group, p.x, p.y) for p in result.points] == [
        ("net 0", "CNN", 30.0, 1.0),
        ("net 1", "CNN", 31.0, 2.0),
        ("net 2", "CNN", 29.0, 3.0),
    ]
    assert result.cells == (1, 1) and result.left_out == 1 and "1 cells are left out" in result.verdict
    assert result.correlation == -0.5 and result.interval == (-1.0, 1.0)
    with pytest.raises(OptionError, match="no number 'psnr' in the grid; did you mean psnr_y"):
        scatter(tmp_path / "a", "psnr", "diffusion_index")
    with pytest.raises(OptionError, match="0 networks have both"):
        scatter(tmp_path / "a", "psnr_y", "diffusion_index", analysis="ddr")


def test_the_interval_of_a_rank_correlation_covers_the_true_one():
    rng, true, count = np.random.default_rng(3), 0.6, 12
    spearman = 6 / np.pi * np.arcsin(true / 2)  # of a normal distribution with correlation `true`
    covered = 0
    for _ in range(1500):
        x = rng.standard_normal(count)
        y = true * x + np.sqrt(1 - true**2) * rng.standard_normal(count)
        ranks = [np.argsort(np.argsort(values)) for values in (x, y)]
        low, high = rank_correlation_interval(float(np.corrcoef(*ranks)[0, 1]), count)
        covered += low <= spearman <= high
    assert 0.93 < covered / 1500 < 0.98
    assert rank_correlation_interval(0.9, 3) == rank_correlation_interval(float("nan"), 9) == (-1.0, 1.0)
    low, high = rank_correlation_interval(1.0, 5)
    assert high == 1.0 and -0.2 < low < 0.9 and rank_correlation_interval(-1.0, 5) == (-1.0, -low)


@pytest.mark.slow
def test_the_command_draws_a_scatter_of_a_computed_grid(tmp_path, capsys):
    asked = content(tmp_path, networks=4)
    for name, entry in asked["networks"].items():
        asked["networks"][name] = {**entry, "group": "small" if name < "tiny 6" else "large"}
    run_grid(parse_request(asked), tmp_path / "out", jobs=1)
    assert main(["grid", "--out", str(tmp_path / "out"), "--scatter", "psnr_y", "diffusion_index"]) == 0
    printed = capsys.readouterr().out
    assert "over 4 networks" in printed and "scatter_psnr_y_diffusion_index.pdf" in printed
    assert (tmp_path / "out/scatter_psnr_y_diffusion_index.png").stat().st_size > 5000
    frame = read(tmp_path / "out")
    assert list(frame["group"]) == ["small"] * 4 + ["large"] * 4
    result = scatter(tmp_path / "out", "psnr_y", "diffusion_index")
    expected = frame[frame["network"] == "tiny 5"]["psnr_y"].mean()
    assert result.points[1].x == pytest.approx(expected, abs=1e-12) and result.cells == (2, 2)
