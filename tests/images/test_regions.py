"""Regions: all that names a part of the output, its outline, its PSNR, and the liveliest place."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sr_hooks.errors import WindowError
from sr_hooks.images import Region, Window, outline, parse_regions, parse_windows, psnr, region_psnr

H, W = 24, 30
Y, X = np.mgrid[0:H, 0:W]
DISK = (Y - 11) ** 2 + (X - 17) ** 2 <= 40
RECTANGLE = (Y >= 4) & (Y < 10) & (X >= 7) & (X < 20)


def one(value: object, base: Path | None = None) -> Region:
    (region,), several = parse_regions(value, base=base)
    assert isinstance(region, Region) and not several
    return region


def run_lengths(mask: np.ndarray) -> list[int]:
    flat = np.concatenate([[False], mask.T.ravel(), [not mask.T.ravel()[-1]]])
    ends = np.flatnonzero(np.diff(flat.astype(int)))
    return np.diff([0, *ends]).tolist()


def compressed(counts: list[int]) -> str:
    """As COCO's rleToString has it."""
    text = ""
    for index, count in enumerate(counts):
        number = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            piece = number & 0x1F
            number >>= 5
            more = number != -1 if piece & 0x10 else number != 0
            text += chr((piece | 0x20 if more else piece) + 48)
    return text


def write(path: Path, array: np.ndarray) -> str:
    Image.fromarray(array).save(path)
    return str(path)


def sources(folder: Path) -> list[object]:
    labels = np.where(DISK, 3, np.where(RECTANGLE, 7, 0)).astype(np.uint8)
    palette = Image.fromarray(labels)
    palette.putpalette([40, 40, 40] * 256)  # colours that tell nothing
    palette.save(folder / "palette.png")
    np.save(folder / "mask.npy", DISK)
    deep = write(folder / "deep.png", labels.astype(np.uint16) * 300)
    rgb = np.repeat(DISK[:, :, None], 3, axis=2).astype(np.uint8) * 255
    return [
        DISK,
        DISK.astype(np.uint8),
        DISK.astype(np.uint8) * 255,
        torch.from_numpy(DISK),
        write(folder / "mask.png", DISK.astype(np.uint8) * 255),
        Path(write(folder / "one_bit.png", DISK)),
        write(folder / "rgb.png", rgb),
        str(folder / "mask.npy"),
        write(folder / "labels.png", labels) + ":3",
        f"{folder / 'palette.png'}:3",
        f"{deep}:900",
        {"size": [H, W], "counts": run_lengths(DISK)},
        {"size": [H, W], "counts": compressed(run_lengths(DISK))},
        {"size": [H, W], "counts": compressed(run_lengths(DISK)).encode()},
    ]


def test_every_source_names_the_same_region(tmp_path: Path):
    for source in sources(tmp_path):
        region = one(source)
        assert region == one(DISK) and np.array_equal(region.on_canvas(H, W), DISK), source
        assert region.as_tuple() == (5, 11, 13, 13) and region.area == DISK.sum()
        region.check(H, W)
    assert one("mask.png", tmp_path) == one(DISK)
    assert one(DISK).sha256() != one(RECTANGLE).sha256() and hash(one(DISK)) == hash(one(DISK.copy()))


def test_polygons_are_of_y_and_x_and_cover_centres_of_pixels():
    corners = [[4, 7], [4, 20], [10, 20], [10, 7]]
    assert np.array_equal(one(corners).on_canvas(H, W), RECTANGLE)
    assert one(corners).is_rectangle and one(corners).as_tuple() == (4, 7, 6, 13)
    assert one([corners]) == one(corners) == one(np.array(corners, dtype=float))
    triangle = one([[0, 0], [0, 10.5], [10.5, 0]])
    assert np.array_equal(triangle.on_canvas(H, W), (Y + X + 1 < 10.5))
    both = one([corners, [[12, 1], [12, 3], [20, 3], [20, 1]]])
    assert np.array_equal(both.on_canvas(H, W), RECTANGLE | ((Y >= 12) & (Y < 20) & (X >= 1) & (X < 3)))


def test_several_and_one_are_told_apart(tmp_path: Path):
    triangle = [[0, 0], [0, 9], [9, 0]]
    mask = write(tmp_path / "mask.png", DISK)
    for value, count in (
        ([(0, 0, 8), (1, 2, 3, 4)], 2),
        ([[0, 0, 8]], 1),
        ([mask, (0, 0, 8), triangle, DISK, "auto"], 5),
        ([[triangle], [triangle, triangle]], 2),
        (np.stack([DISK, RECTANGLE]), 2),
        (f"{mask};0,0,8;auto", 3),
    ):
        regions, several = parse_regions(value)
        assert several and len(regions) == count, value
    for value in ((0, 0, 8), "0 0 8", ["0", "0", "8"], np.array([0, 0, 8]), Window(0, 0, 8, 8)):
        assert parse_regions(value) == ([Window(0, 0, 8, 8)], False)
    assert parse_regions("auto") == (["auto"], False)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((H, W), bool), "empty"),
        (np.where(DISK, 3, Y).astype(np.uint8), r"values \(0, 1, 2.*labels.png:3"),
        (DISK.astype(np.float32), "mask > 127"),
        ("no_such.png", "there is no mask file no_such.png"),
        ("here", "not understood"),
        ("n" * 5000 + ".png", "there is no mask file nnn"),
        ("null\0.png", "there is no mask file"),
        ("/dev/zero", "not understood"),
        ([(0, 0, 8)] * 1001, "1001 windows"),
        ([[0, 0], [0, 9]], "not understood"),
        ([[[0, 0], [0, 9]]], "at least three corners"),
        ([[0, 0], [0, -9], [9, 0]], "negative"),
        ([[0, 0], [0, 0.2], [0.2, 0]], "empty"),
        ({"size": [4, 4], "counts": [3, 2]}, "add up to 5 pixels.*4x4"),
        ({"segmentation": []}, "a mapping with segmentation"),
        ({"size": [4, 4], "counts": "~"}, "COCO's run lengths"),
        ([[1, 2, 3, 4, 5, 6]], "not understood"),
    ],
)
def test_what_is_no_region_is_refused_in_one_line(value: object, message: str):
    with pytest.raises(WindowError, match=message) as caught:
        parse_regions(value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_files_that_are_no_masks_are_refused(tmp_path: Path):
    photo = write(tmp_path / "photo.png", np.random.default_rng(0).integers(0, 255, (H, W, 3)).astype(np.uint8))
    labels = write(tmp_path / "labels.png", np.where(DISK, 3, 0).astype(np.uint8))
    (tmp_path / "text.png").write_text("no image")
    for value, message in (
        (photo, "colours"),
        (labels + ":4", "no label 4: its labels are 0, 3"),
        (str(tmp_path / "text.png"), "not a readable"),
    ):
        with pytest.raises(WindowError, match=message):
            parse_regions(value)


def test_a_mask_is_of_the_outputs_size_and_no_rectangle_where_only_rectangles_are_taken():
    with pytest.raises(WindowError, match="the mask is 24x30, and the output is 48x60"):
        one(DISK).check(48, 60)
    with pytest.raises(WindowError, match="only rectangles"):
        parse_windows(one(DISK))
    for value in ("mask.png", DISK, "auto"):
        with pytest.raises(WindowError, match="a mask can be given to analyses that take one, as lam does"):
            parse_windows(value)
    assert parse_windows(one(RECTANGLE))[0][0].as_tuple() == (4, 7, 6, 13)


def test_the_outline_runs_along_the_edges_of_pixels():
    (line,) = outline(Window(4, 7, 6, 13))
    assert {tuple(corner) for corner in line.tolist()} == {(4, 7), (4, 20), (10, 20), (10, 7)} and len(line) == 5
    ring = DISK & ~((Y - 11) ** 2 + (X - 17) ** 2 <= 9)
    lines = outline(one(ring))
    assert len(lines) == 2 and all((line[0] == line[-1]).all() for line in lines)
    areas = [0.5 * float(np.sum(a[:-1, 1] * a[1:, 0] - a[1:, 1] * a[:-1, 0])) for a in lines]
    assert abs(sum(areas)) == ring.sum()  # the hole runs the other way round
    touching = np.eye(2, dtype=bool)
    assert sum(len(line) - 1 for line in outline(one(touching))) == 8


def test_psnr_of_a_mask_counts_its_pixels_only():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(1, 3, H, W, generator=generator)
    output = target + 0.1 * torch.from_numpy(DISK)
    assert math.isclose(region_psnr(output, target, one(DISK)), 20, abs_tol=1e-4)
    box = one(DISK)
    expected = float(psnr(box.crop(output), box.crop(target)))
    assert (
        math.isclose(region_psnr(output, target, Window(*box.as_tuple())), expected, abs_tol=1e-9) and expected > 20.5
    )
    assert region_psnr(target, target, one(DISK)) == 120
