"""LAM of a mask: through the cone and the checks, from every door, and exactly the rectangle's map for a rectangle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sr_hooks
from sr_hooks.attribution.objectives.window_values import GradientMagnitude
from sr_hooks.errors import OptionError, WindowError
from sr_hooks.images import Region, downsample, outline, region_psnr, upsample, window_with_most_edges
from sr_hooks.results import read_result
from tests.support.networks import Tiny

pytestmark = pytest.mark.slow

SIDE = 128
Y, X = np.mgrid[0:SIDE, 0:SIDE]
OBJECT = ((Y - 60) ** 2 / 250 + (X - 70) ** 2 / 90 <= 1) & ~((Y - 60) ** 2 + (X - 70) ** 2 < 12)
STEPS = {"steps": 5}
OBJECTIVES = ["gradient", "intensity", "channel:1", "gabor:30", "residual", "loss"]


def save(path: Path, mask: np.ndarray) -> str:
    Image.fromarray(mask).save(path)
    return str(path)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_mask_that_is_a_rectangle_gives_exactly_the_rectangles_map(lr: torch.Tensor, objective: str):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[40:56, 30:50] = True
    options = {**STEPS, "objective": objective, "gt": upsample(lr, (SIDE, SIDE)).clamp(0, 1)}
    a, b = (sr_hooks.lam(Tiny(), lr, window=window, **options) for window in ((40, 30, 16, 20), mask))
    assert np.array_equal(a.attribution, b.attribution) and a.diffusion_index == b.diffusion_index
    assert a.window == b.window and np.array_equal(b.arrays["region"], mask) and "region" not in a.arrays


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("cone", ["auto", "off"])
def test_the_maps_of_two_halves_add_up_to_the_map_of_the_whole(lr: torch.Tensor, objective: str, cone: str):
    """Objectives are sums over pixels, so attributions of disjoint masks add up; a bounding box would not."""
    left, right = OBJECT & (X + Y < 130), OBJECT & (X + Y >= 130)
    options = {**STEPS, "objective": objective, "cone": cone, "gt": upsample(lr, (SIDE, SIDE)).clamp(0, 1)}
    whole, a, b = (sr_hooks.lam(Tiny(), lr, window=mask, **options) for mask in (OBJECT, left, right))
    off = np.linalg.norm(a.attribution + b.attribution - whole.attribution) / np.linalg.norm(whole.attribution)
    assert off < 2e-6
    assert isinstance(whole.scalars["cone"], dict) == (cone == "auto"), whole.scalars["cone"]


def test_the_cone_gives_the_map_of_the_whole_network(lr: torch.Tensor):
    a, b = (sr_hooks.lam(Tiny(), lr, window=OBJECT, cone=cone, **STEPS) for cone in ("auto", "off"))
    assert np.linalg.norm(a.attribution - b.attribution) < 1e-5 * np.linalg.norm(b.attribution)
    assert a.scalars["cone"]["work"] < 0.5 and b.scalars["cone"] is None
    box = sr_hooks.lam(Tiny(), lr, window=a.window, **STEPS)
    assert np.linalg.norm(a.attribution - box.attribution) > 0.05 * np.linalg.norm(box.attribution)


def test_the_result_records_mask_hash_and_psnr(lr: torch.Tensor, tmp_path: Path):
    truth = upsample(lr, (SIDE, SIDE)).clamp(0, 1)
    result = sr_hooks.lam(Tiny(), lr, window=OBJECT, gt=truth, **STEPS)
    result.save(tmp_path / "lam", figure=False)
    for one in (result, read_result(tmp_path / "lam")):
        region = one.region
        assert isinstance(region, Region) and region.area == OBJECT.sum() and outline(region)
        assert one.provenance["region_sha256"] == region.sha256()
        expected = region_psnr(torch.from_numpy(one.arrays["output"])[None], truth, region)
        assert one.window_psnr == expected == one.headline()["window_psnr"]
        box = sr_hooks.images.Window(*one.window)
        assert abs(region_psnr(torch.from_numpy(one.arrays["output"])[None], truth, box) - expected) > 0.01


def test_of_a_part_of_the_output_the_numbers_are_the_same(lr: torch.Tensor, tmp_path: Path):
    truth = upsample(lr, (SIDE, SIDE)).clamp(0, 1)
    part, whole = (
        sr_hooks.lam(Tiny(), lr, window=OBJECT, gt=truth, picture=picture, **STEPS) for picture in ("window", "whole")
    )
    assert not part.is_whole and whole.is_whole and part.window_psnr == pytest.approx(whole.window_psnr, abs=1e-4)
    part.save(tmp_path / "part")
    earlier = sr_hooks.LamResult("lam", {**part.arrays, "output": part.output}, {**part.scalars}, part.provenance)
    del earlier.arrays["output_part"], earlier.scalars["output_part"]
    for one in (read_result(tmp_path / "part"), earlier):
        assert one.computed_box == part.computed_box and np.array_equal(one.window_output, part.window_output)
        assert one.output_size == (SIDE, SIDE) and np.array_equal(one.output, part.output, equal_nan=True)
        assert np.array_equal(one.picture, part.picture) and not one.contradictions()
    part.scalars["output_part"] = [part.window[0] + 1, *part.scalars["output_part"][1:]]
    assert "place of the part" in part.contradictions()[0]


@pytest.mark.parametrize("case", ["saved", "memory"])
def test_the_checks_follow_the_mask(lr: torch.Tensor, tmp_path: Path, case: str):
    small = lr[..., :32, :32]
    mask = OBJECT[32:96, 38:102]
    result = sr_hooks.lam(Tiny(), small, window=save(tmp_path / "mask.png", mask))
    if case == "saved":
        result.save(tmp_path / "lam", figure=False)
        (tmp_path / "mask.png").unlink()
        result = read_result(tmp_path / "lam")
    seen: list[object] = []

    def attribute(network: sr_hooks.Network, image: torch.Tensor, window: object) -> np.ndarray:
        seen.append(window)
        return np.array(result.attribution)

    card = sr_hooks.check(result, Tiny(), draws=3, orders=3)
    assert [verdict.word for verdict in card.verdicts if verdict.name == "completeness"] == ["passes"]
    sr_hooks.check(result, Tiny(), draws=3, orders=3, attribute=attribute)
    assert isinstance(seen[0], Region) and np.array_equal(seen[0].on_canvas(64, 64), mask)


def test_distances_are_to_the_mask():
    from sr_hooks.images.regions import region_of_mask
    from sr_hooks.statistics.map_correlation import distance_to_window

    corner = np.zeros((SIDE, SIDE), bool)
    corner[10:90, 20:24] = corner[86:90, 20:100] = True  # an L, whose bounding box is mostly empty
    distance = distance_to_window(64, 64, region_of_mask(corner), 2)
    assert distance[20, 11] == 0 and abs(distance[20, 30] - 19) <= 1
    assert distance_to_window(64, 64, sr_hooks.images.Window(10, 20, 80, 80), 2)[20, 30] == 0


def test_auto_is_the_liveliest_place(lr: torch.Tensor):
    place = window_with_most_edges(upsample(lr, (SIDE, SIDE)))
    assert sr_hooks.lam(Tiny(), lr, window="auto", **STEPS).window == place.as_tuple()
    several = sr_hooks.lam(Tiny(), lr, window=["auto", OBJECT, (0, 0, 8)], **STEPS)
    assert [one.window for one in several] == [place.as_tuple(), (45, 61, 31, 19), (0, 0, 8, 8)]
    with pytest.raises(WindowError, match="auto depends on the image"):
        sr_hooks.lam(Tiny(), torch.cat([lr, lr]), window="auto", **STEPS)


def test_what_cannot_follow_refuses_in_one_line(lr: torch.Tensor):
    class Other(GradientMagnitude):
        name, takes_regions = "other", False

    for options, message in (
        ({"objective": Other()}, "the objective other looks at rectangles, and the window is a mask of"),
        ({"objective": lambda pixels: pixels.sum()}, "looks at rectangles"),
        ({"compat": "lam_demo"}, "explains rectangles: not a mask"),
    ):
        with pytest.raises(OptionError, match=message):
            sr_hooks.lam(Tiny(), lr, window=OBJECT, **options)
    with pytest.raises(WindowError, match="the mask is 64x128, and the output is 128x128"):
        sr_hooks.lam(Tiny(), lr, window=OBJECT[:64], **STEPS)


@pytest.mark.slow
def test_the_doors_agree(photo: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Python, the command line, a grid's file and a watched run, of a mask's file."""
    from sr_hooks.cli.app import main
    from sr_hooks.grid import read_request, run_grid
    from sr_hooks.grid.folder import GridFolder
    from sr_hooks.grid.plan import make_plan
    from sr_hooks.grid.report.rows import GridRows
    from sr_hooks.images import luma, quantise, read_image, write_image

    monkeypatch.chdir(tmp_path)
    write_image(photo[..., :SIDE, :SIDE], "photo.png")
    lr = downsample(read_image("photo.png"), 2)
    mask = save(tmp_path / "mask.png", OBJECT)
    truth = read_image("photo.png")
    python = sr_hooks.lam(Tiny(), lr, window=mask, gt=truth, picture="whole")
    model = "tests.support.networks:Tiny"
    command = ["lam", "--model", model, "--image", "photo.png", "--hr", "--window", "mask.png", "--picture", "whole"]
    assert main([*command, "--out", "out"]) in (0, None)
    line = read_result(tmp_path / "out")
    assert line.window_psnr == python.window_psnr
    (tmp_path / "grid.yml").write_text(f"networks: [{model}]\nimages: [photo.png]\nwindows: [mask.png, auto]\n")
    with pytest.raises(OptionError, match="auto stands alone"):
        read_request(tmp_path / "grid.yml")
    (tmp_path / "grid.yml").write_text(f"networks: ['{model}']\nimages: [photo.png]\nwindows: [mask.png, '0,0,16']\n")
    monkeypatch.chdir("/")
    run_grid(read_request(tmp_path / "grid.yml"), tmp_path / "grid")
    monkeypatch.chdir(tmp_path)
    cells = [read_result(file.parent) for file in sorted((tmp_path / "grid").rglob("result.json"))]
    (cell,) = [result for result in cells if "region" in result.arrays]
    rows = GridRows(
        make_plan(read_request(tmp_path / "grid.yml"), device="cpu", threads=1), GridFolder(tmp_path / "grid")
    )
    output = quantise(torch.from_numpy(cell.arrays["output"])[None])
    expected = region_psnr(luma(output), luma(quantise(truth)), cell.region)
    assert rows.rows[0].window_numbers == {"psnr_y": expected} and "ssim_y" in rows.rows[1].window_numbers
    assert len(cells) == 2
    net = Tiny()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    with sr_hooks.watch(
        net, optimizer, lam={"windows": [mask], "image": lr, "every": 1}, folder=tmp_path / "run", budget="off"
    ):
        net(lr).mean().backward()
        optimizer.step()
    (watched,) = (read_result(file.parent) for file in (tmp_path / "run").rglob("result.json"))
    for result in (line, cell, watched):
        assert np.array_equal(result.attribution, python.attribution)
        assert np.array_equal(result.arrays["region"], OBJECT)
        assert result.provenance["region_sha256"] == python.provenance["region_sha256"]


def test_the_figure_draws_the_outline_and_says_the_psnr_of_the_mask(lr: torch.Tensor):
    from matplotlib.patches import PathPatch, Rectangle

    truth = upsample(lr, (SIDE, SIDE)).clamp(0, 1)
    figure = sr_hooks.lam(Tiny(), lr, window=OBJECT, gt=truth, **STEPS).figure()
    titles = [axes.get_title() for axes in figure.axes]
    assert any(f"mask of {OBJECT.sum()} pixels" in title for title in titles)
    assert any(title.startswith("the mask, PSNR ") for title in titles)
    drawn = {
        axes.get_title().split(",")[0]: [p for p in axes.patches if isinstance(p, PathPatch)] for axes in figure.axes
    }
    assert all(drawn[name] for name in ("output 128×128", "the mask", "input 64×64", "LAM"))
    corners = drawn["output 128×128"][0].get_path().vertices + 0.5
    for border in outline(sr_hooks.lam(Tiny(), lr, window=OBJECT, **STEPS).region):
        assert {tuple(point) for point in border[:, ::-1]} <= {tuple(point) for point in corners}
    boxes = sr_hooks.lam(Tiny(), lr, window=(8, 8, 16), **STEPS).figure().axes[0].patches
    assert boxes and all(isinstance(box, Rectangle) for box in boxes)


class Frames(torch.nn.Module):
    """The middle frame, twice as large, a little mixed with its neighbours."""

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        mixed = 0.8 * clip[:, 1] + 0.1 * (clip[:, 0] + clip[:, 2])
        return torch.nn.functional.interpolate(mixed, scale_factor=2, mode="bilinear")


def test_a_clip_takes_masks_and_auto(lr: torch.Tensor):
    small = lr[..., :32, :32]
    clip = torch.stack([small.roll(shift, -1) for shift in range(3)], 1)
    network = sr_hooks.Network(Frames(), frames=3, scale=2)
    mask = OBJECT[32:96, 38:102]
    full = np.zeros_like(mask)
    full[8:24, 8:24] = True
    result, box, square, auto = sr_hooks.lam(network, clip, window=[mask, full, (8, 8, 16), "auto"], **STEPS)
    assert result.is_clip and np.array_equal(result.arrays["region"], mask)
    assert np.array_equal(box.attribution, square.attribution)
    assert auto.window == window_with_most_edges(upsample(clip[:, 1], (64, 64))).as_tuple()
    assert result.figure() is not None
