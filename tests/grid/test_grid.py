"""A grid: what is asked, what is computed, what is not computed twice."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.cli.app import main
from sr_hooks.errors import OptionError, ResultError, SRHooksError, WindowError
from sr_hooks.grid import compute, read_request, run_grid
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.plan import make_plan
from sr_hooks.grid.request import parse_request
from sr_hooks.images.image import downsample, read_image
from sr_hooks.images.windows import window_with_most_edges
from tests.support.grids import NETWORKS, content, small, write_grid, write_images
from tests.support.networks import Tiny


def plan_of(asked):
    return make_plan(asked, device="cpu", threads=1)


def keys(asked):
    return [cell.key for cell in plan_of(asked).cells]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": {}}, "unknown key 'network'; did you mean networks?"),
        ({"networks": None}, "networks must be given"),
        ({"images": []}, "images must be given"),
        ({"networks": [{"weights": "a.pth"}]}, "model must be given"),
        ({"networks": {"a": {"model": "m", "size": 3}}}, "unknown key 'size'"),
        ({"networks": {"a": {"model": "m", "analyses": {"ddr": False}}}}, "'ddr' is not among the grid's analyses"),
        ({"images": [{"name": "a"}]}, "file must be given"),
        ({"images": 3}, "images must be given"),
        ({"windows": "1,2"}, "windows: window ['1', '2'] is not understood"),
        ({"analyses": ["lamm"]}, "no analysis 'lamm'; did you mean lam"),
        ({"analyses": {"lam": {"window": "0,0,8"}}}, "windows stand at the top"),
        ({"analyses": {"lam": 3}}, "lam must be a mapping"),
        ({"analyses": ["ddr"], "hr": False}, "ddr looks at ground truth"),
        ({"check": "yes"}, "check is 'yes': it must be true or false"),
    ],
)
def test_a_mistake_is_named(tmp_path, change, message):
    with pytest.raises(OptionError) as caught:
        parse_request({**content(tmp_path), **change}, where="grid.yml")
    assert message in str(caught.value)


def test_names_are_stems_and_distinct(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_images(tmp_path / folder, 2)
    asked = parse_request(
        {"networks": {"n": "demo"}, "images": ["a", "b/photo_1.png", {"name": "mine", "file": "b/photo_0.png"}]},
        base=tmp_path,
    )
    assert [image.name for image in asked.images] == ["a/photo_0", "a/photo_1", "b/photo_1", "mine"]
    same = [{"name": "x", "file": "a/photo_0.png"}, {"name": "x", "file": "a/photo_1.png"}]
    with pytest.raises(OptionError, match="two are called 'x'"):
        parse_request({"networks": ["demo"], "images": same}, base=tmp_path)
    with pytest.raises(OptionError, match="is there twice"):
        parse_request({"networks": ["demo"], "images": ["a/photo_0.png"] * 2}, base=tmp_path)


def test_the_file_s_own_folder_comes_first(tmp_path, monkeypatch):
    write_images(tmp_path, 1)
    torch.save(Tiny().state_dict(), tmp_path / "w.pth")
    (tmp_path / "arch.py").write_text("from tests.support.networks import Tiny\n")
    (tmp_path / "grid.yml").write_text(
        "networks: {t: {model: 'arch.py:Tiny', weights: w.pth}}\nimages: photo_0.png\nanalyses: lam\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    plan = plan_of(read_request("../grid.yml"))
    assert plan.networks[0]["file"] == "w.pth" and plan.cells[0].window is not None


def test_keys_follow_from_content_alone(tmp_path):
    first = keys(small(tmp_path))
    assert len(set(first)) == 4 and keys(small(tmp_path)) == first
    renamed = content(tmp_path)
    renamed["networks"] = {f"other {n}": entry for n, entry in renamed["networks"].items()}
    (tmp_path / "moved.png").write_bytes((tmp_path / "photo_0.png").read_bytes())
    renamed["images"][0] = str(tmp_path / "moved.png")
    assert keys(parse_request(renamed)) == first
    for change in ({"analyses": {"lam": {"steps": 4}}}, {"windows": "16,16,9"}, {"hr": False}):
        assert not set(keys(small(tmp_path, **change))) & set(first)
    torch.save({k: 1.001 * v for k, v in Tiny(features=4).state_dict().items()}, tmp_path / "w.pth")
    other = content(tmp_path)
    other["networks"]["tiny 4"] = {**other["networks"]["tiny 4"], "weights": str(tmp_path / "w.pth")}
    now = keys(parse_request(other))
    assert now[2:] == first[2:] and not set(now[:2]) & set(first)
    write_images(tmp_path, 2, side=50)
    photos = {"images": [str(tmp_path / f"photo_{n}.png") for n in (0, 1)]}
    assert not set(keys(parse_request({**renamed, **photos}))) & set(first)


def test_a_file_that_options_name_counts_by_its_content(tmp_path):
    torch.save(Tiny(features=4).state_dict(), tmp_path / "before.pth")
    asked = small(tmp_path, networks=1, analyses={"faig": {"baseline": str(tmp_path / "before.pth"), "steps": 2}})
    first = keys(asked)
    torch.save({k: v + 0.01 for k, v in Tiny(features=4).state_dict().items()}, tmp_path / "before.pth")
    assert keys(asked) != first


@pytest.mark.slow
def test_cells_are_what_every_other_door_gives_and_are_not_computed_twice(tmp_path, monkeypatch):
    asked = small(tmp_path)
    summary = run_grid(asked, tmp_path / "out", jobs=1)
    assert (summary.cells, summary.computed, summary.failures) == (4, 4, ())
    cell = plan_of(asked).cells[3]
    network = sr_hooks.Network.load(str(NETWORKS["tiny 5"]["model"]), {"features": 5})
    lr = downsample(read_image(asked.images[1].file), 2)
    expected = sr_hooks.lam(network, lr, window=(16, 16, 8), steps=3)
    kept = GridFolder(tmp_path / "out").cache.get(cell.key)
    assert np.array_equal(kept.attribution, expected.attribution)
    files = ["figure.pdf", "figure.png", "table.csv", "table.md", "table.tex", "report.html", "grid.json"]
    before = {name: ((tmp_path / "out" / name).stat().st_mtime_ns) for name in files[:-1]}

    def nothing(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(compute, "execute", nothing)
    again = run_grid(asked, tmp_path / "out", jobs=2)
    assert again.computed == 0 and before == {n: (tmp_path / "out" / n).stat().st_mtime_ns for n in before}
    steps = [line["event"] for line in GridFolder(tmp_path / "out").journal()]
    assert steps.count("begun") == steps.count("finished") == 4 + 3


@pytest.mark.slow
def test_a_grid_that_grows_computes_what_is_new(tmp_path):
    run_grid(small(tmp_path, networks=1, images=1), tmp_path / "out", jobs=1)
    summary = run_grid(small(tmp_path, networks=2, images=2), tmp_path / "out", jobs=1)
    assert (summary.cells, summary.computed) == (4, 3)
    rows = list(csv.DictReader((tmp_path / "out/table.csv").open(newline="")))
    assert len(rows) == 4 and all(float(row["diffusion_index"]) > 0 for row in rows)


@pytest.mark.slow
def test_one_cell_that_fails_costs_no_other(tmp_path, monkeypatch):
    asked, real = small(tmp_path), compute.execute

    def failing(kind, network, images, options):
        if network.name == "tiny 5":
            raise RuntimeError("<b>out of luck</b>")
        return real(kind, network, images, options)

    monkeypatch.setattr(compute, "execute", failing)
    summary = run_grid(asked, tmp_path / "out", jobs=1)
    assert summary.computed == 2 and len(summary.failures) == 2
    assert summary.failures[0] == ("lam of tiny 5, photo_0, window 16,16,8,8", "RuntimeError: <b>out of luck</b>")
    report = (tmp_path / "out/report.html").read_text()
    assert "out of luck" in report and "<b>out of luck" not in report
    assert "Failed: RuntimeError" in (tmp_path / "out/table.md").read_text()
    monkeypatch.setattr(compute, "execute", real)
    mended = run_grid(asked, tmp_path / "out", jobs=1)  # what failed is tried again, and the outputs follow
    assert mended.computed == 2 and not mended.failures
    assert "out of luck" not in (tmp_path / "out/report.html").read_text()


@pytest.mark.slow
def test_a_damaged_result_is_computed_again(tmp_path):
    asked = small(tmp_path)
    run_grid(asked, tmp_path / "out", jobs=1)
    place, (key, *_) = GridFolder(tmp_path / "out"), keys(asked)
    before = place.cache.get(key).attribution
    (place.cache.path(key) / "arrays.npz").write_bytes(b"PK")
    assert run_grid(asked, tmp_path / "out", jobs=1).computed == 1
    assert np.array_equal(place.cache.get(key).attribution, before)


@pytest.mark.slow
def test_what_cannot_be_answered_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(WindowError, match=r"network tiny 4: image photo_0: .*leaves the output"):
        run_grid(small(tmp_path, windows="44,0,8"), tmp_path / "out")
    assert not (tmp_path / "out/cells").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("years of work")
    with pytest.raises(ResultError, match="holds other files"):
        run_grid(small(tmp_path), tmp_path / "mine")
    with pytest.raises(SRHooksError, match=r"network n: no weights file absent\.pth"):
        run_grid(parse_request({**content(tmp_path), "networks": {"n": "absent.pth"}}), tmp_path / "o")


def test_an_image_that_changes_meanwhile_is_refused(tmp_path):
    from sr_hooks.grid.compute import CellComputer

    asked = small(tmp_path, networks=1, images=1)
    plan = plan_of(asked)
    write_images(tmp_path, 1, side=52)
    with pytest.raises(SRHooksError, match="has changed while the grid was running"):
        CellComputer(plan, GridFolder(tmp_path / "out")).compute(plan.cells[0])


@pytest.mark.slow
def test_all_images_together_and_all_kinds_of_analyses(tmp_path):
    torch.save({k: v + 0.01 for k, v in Tiny(features=4).state_dict().items()}, tmp_path / "before.pth")
    asked = small(
        tmp_path,
        analyses={
            "lam": {"steps": 3},
            "ddr": {"patch": 16, "patches": 8, "tsne": 0, "permutations": 19, "subsamples": 5},
            "faig": {"steps": 2, "any_order": True},
        },
    )
    entries = content(tmp_path)["networks"]
    entries["tiny 4"] = {**entries["tiny 4"], "analyses": {"faig": {"baseline": str(tmp_path / "before.pth")}}}
    entries["tiny 5"] = {**entries["tiny 5"], "analyses": {"faig": False}}
    asked = parse_request({**content(tmp_path), "networks": entries, "analyses": asked.analyses})
    summary = run_grid(asked, tmp_path / "out", jobs=1)
    assert summary.cells == 4 + 2 + 1 and not summary.failures
    report = (tmp_path / "out/report.html").read_text()
    assert 'class="scatter"' in report and 'class="histogram"' in report


@pytest.mark.slow
def test_every_map_is_checked_once(tmp_path):
    asked = small(tmp_path, networks=1, images=1, check=True)
    first = run_grid(asked, tmp_path / "out", jobs=1)
    assert (first.computed, first.checked, first.failures) == (1, 1, ())
    (key,) = keys(asked)
    card = GridFolder(tmp_path / "out").cache.get(key).card
    assert [verdict.name for verdict in card.verdicts][1:3] == ["model randomisation", "deletion and insertion"]
    assert card.overall in (tmp_path / "out/report.html").read_text()
    assert "maps that pass all checks" in (tmp_path / "out/table.md").read_text()
    again = run_grid(asked, tmp_path / "out", jobs=1)
    assert (again.computed, again.checked) == (0, 0)
    assert keys(small(tmp_path, networks=1, images=1)) == [key]  # the check is no part of the map's key


def test_a_folder_that_another_worker_has_just_begun_is_no_stranger_s(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.grid.json.123.part").write_text("{")
    GridFolder(tmp_path / "out").open({})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/.grid.json.123.part").write_text("{")
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(ResultError, match="holds other files"):
        GridFolder(tmp_path / "mine").open({})


@pytest.mark.slow
def test_the_command(tmp_path, capsys, monkeypatch):
    file = write_grid(tmp_path)
    assert main(["grid", str(file), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 0
    printed = capsys.readouterr()
    assert "4 cells, 4 computed" in printed.out and "figure.pdf" in printed.out and printed.err == ""
    assert main(["grid", str(file), "--out", str(tmp_path / "out")]) == 0
    assert "nothing to compute" in capsys.readouterr().out
    assert main(["grid", str(file), "--model", "demo"]) == 2
    assert "not both" in capsys.readouterr().err
    assert main(["grid", "--model", "demo"]) == 2
    assert "--image" in capsys.readouterr().err
    assert main(["grid", str(tmp_path / "none.yml")]) == 2
    assert "cannot read the grid file" in capsys.readouterr().err
    record = json.loads((tmp_path / "out/grid.json").read_text())
    assert record["asked"]["analyses"] == {"lam": {"steps": 3}}


def test_the_window_nobody_named_is_where_the_edges_are():
    image = torch.full((1, 3, 256, 256), 0.5)
    image[..., 100:120, 180:200] = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    top, left, height, width = window_with_most_edges(image).as_tuple()
    assert height == width == 32 and top <= 100 and top + 32 >= 120 and left <= 180 and left + 32 >= 200
    assert window_with_most_edges(torch.full((1, 1, 20, 9), 0.3)).as_tuple()[2:] == (9, 9)


def test_every_network_that_cannot_be_used_is_named(tmp_path):
    networks = {f"net {n}": {"model": f"{tmp_path}/none_{n}.py:Net"} for n in range(6)}
    request = parse_request(
        {"networks": {**networks, "good": "demo:target"}, "images": [str(write_images(tmp_path, 1)[0])]}
    )
    plan = make_plan(request, device="cpu", threads=1)
    sentence = plan.problems_sentence()
    assert sentence.startswith("6 of 7 networks cannot be used")
    assert all(f"network net {n}: " in sentence for n in range(6)) and len(sentence) < 1000
    bad_alone = dataclasses.replace(request, networks=request.networks[:6])
    with pytest.raises(SRHooksError, match="6 of 6 networks cannot be used") as caught:
        make_plan(bad_alone, device="cpu", threads=1)
    assert all(f"network net {n}: " in str(caught.value) for n in range(6)) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x.png", "x" * 5000, "a\0b.png"])
def test_names_of_images_that_no_file_can_have(tmp_path, name):
    request = parse_request({"networks": ["demo:target"], "images": [name]})
    with pytest.raises(SRHooksError, match="cannot read the image"):
        make_plan(request, device="cpu", threads=1)
