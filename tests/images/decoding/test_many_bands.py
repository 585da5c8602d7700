"""Image files with any number of bands: .npy and TIFF, through Python, the command line, grids and watched runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks import Network
from sr_hooks.adapters.watch import watch
from sr_hooks.cli.app import main
from sr_hooks.errors import ImageError
from sr_hooks.grid.folder import GridFolder
from sr_hooks.grid.plan import make_plan
from sr_hooks.grid.report.rows import GridRows
from sr_hooks.grid.request import read_request
from sr_hooks.grid.run import run_grid
from sr_hooks.images import image_files, read_image
from sr_hooks.networks.pixel_range import channels_in_words

BANDS = np.random.default_rng(0).random((8, 24, 20), np.float32)
BYTES = (BANDS * 255).round().astype(np.uint8)


class Bands(nn.Module):
    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head, self.tail = nn.Conv2d(channels, 8, 3, padding=1), nn.Conv2d(8, channels * 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, scale_factor=2) + 0.1 * F.pixel_shuffle(self.tail(F.relu(self.head(x))), 2)


def _tiff(path: Path, array: np.ndarray, **options: str) -> None:
    pytest.importorskip("tifffile").imwrite(path, array, **options)


def _rows_last(array: np.ndarray) -> np.ndarray:
    return np.moveaxis(array, 0, -1)


FILES = {
    "first.npy": lambda p: np.save(p, BANDS),
    "last.npy": lambda p: np.save(p, _rows_last(BANDS)),
    "fortran.npy": lambda p: np.save(p, np.asfortranarray(_rows_last(BANDS))),
    "double.npy": lambda p: np.save(p, BANDS.astype(np.float64)),
    "one_in_a_batch.npy": lambda p: np.save(p, BANDS[None]),
    "interleaved.tif": lambda p: _tiff(p, _rows_last(BANDS), photometric="minisblack", planarconfig="contig"),
    "planes.tif": lambda p: _tiff(p, BANDS, photometric="minisblack", planarconfig="separate"),
    "big_endian.tif": lambda p: _tiff(p, _rows_last(BANDS), photometric="minisblack", planarconfig="contig",
                                      byteorder=">"),
    "bigtiff.tif": lambda p: _tiff(p, _rows_last(BANDS), photometric="minisblack", planarconfig="contig", bigtiff=True),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_eight_bands_is_the_tensor(name: str, tmp_path: Path) -> None:
    FILES[name](tmp_path / name)
    for bands in (None, 8):
        assert torch.equal(read_image(tmp_path / name, bands=bands)[0], torch.from_numpy(BANDS))
    network, window = Network(Bands()), (8, 8, 8)
    of_file = sr_hooks.lam(network, tmp_path / name, window=window, steps=4)
    of_tensor = sr_hooks.lam(network, torch.from_numpy(BANDS)[None], window=window, steps=4)
    np.testing.assert_array_equal(of_file.attribution, of_tensor.attribution)


@pytest.mark.slow
def test_pages_of_a_tiff_are_bands_where_the_network_takes_as_many(tmp_path: Path) -> None:
    _tiff(tmp_path / "pages.tif", BANDS)
    assert torch.equal(read_image(tmp_path / "pages.tif", bands=8)[0], torch.from_numpy(BANDS))
    with pytest.raises(ImageError, match="holds 8 images"):
        read_image(tmp_path / "pages.tif")


@pytest.mark.slow
def test_four_bands_and_alpha_are_told_apart(tmp_path: Path) -> None:
    four, rgb = _rows_last(BYTES[:4]), _rows_last(BYTES[:3])
    _tiff(tmp_path / "grey.tif", four, photometric="minisblack", planarconfig="contig")
    _tiff(tmp_path / "infrared.tif", four, photometric="rgb", extrasamples=["unspecified"])
    _tiff(tmp_path / "alpha.tif", np.dstack([rgb, np.full((24, 20), 255, np.uint8)]), photometric="rgb",
          extrasamples=["unassalpha"])  # fmt: skip
    for name in ("grey.tif", "infrared.tif"):
        assert torch.equal(read_image(tmp_path / name, bands=4)[0], torch.from_numpy(BYTES[:4]).float() / 255)
    assert read_image(tmp_path / "grey.tif").shape[1] == 4, "not one channel of mixed bands, as OpenCV reads it"
    for bands in (3, 4):
        assert torch.equal(
            read_image(tmp_path / "alpha.tif", bands=bands)[0], torch.from_numpy(BYTES[:3]).float() / 255
        )


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 9, 8), np.float32), "may be the first axis or the last"),
        (np.zeros((2, 3, 8, 9), np.float32), r"has shape \(2, 3, 8, 9\)"),
        (np.zeros(5, np.float32), r"an image is \(h,w\), \(h,w,c\) or \(c,h,w\)"),
        (np.zeros((8, 9), np.uint16), "values of type uint16, whose white is not known"),
        (np.zeros((8, 9), np.int64), "values of type int64"),
        (np.full((8, 9), 200.0), "values from 200 to 200"),
        (np.full((8, 9), np.nan), "NaN or infinite"),
        (np.array([{"a": 1}], object), "Python objects, which are not unpickled"),
    ],
)
def test_arrays_that_are_no_image(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "a.npy")


@pytest.mark.slow
def test_the_network_tells_the_axis_and_a_cut_file_is_damaged(tmp_path: Path) -> None:
    square = np.random.default_rng(1).random((5, 9, 20)).astype(np.float32)
    np.save(tmp_path / "a.npy", square)
    assert read_image(tmp_path / "a.npy", bands=20).shape == (1, 20, 5, 9)
    assert read_image(tmp_path / "a.npy", bands=5).shape == read_image(tmp_path / "a.npy").shape == (1, 5, 9, 20)
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-7])
    with pytest.raises(ImageError, match="damaged"):
        read_image(tmp_path / "b.npy")


@pytest.mark.slow
def test_a_folder_of_arrays_is_a_set_and_beside_pictures_arrays_are_none(tmp_path: Path) -> None:
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, BANDS)
    assert [file.name for file in image_files(tmp_path)] == ["a.npy", "b.npy"]
    sr_hooks.images.write_image(torch.from_numpy(BANDS[:3]), tmp_path / "c.png")
    assert [file.name for file in image_files(tmp_path)] == ["c.png"]


@pytest.mark.slow
def test_the_command_line(tmp_path: Path) -> None:
    np.save(tmp_path / "field.npy", _rows_last(BANDS))
    out = tmp_path / "out"
    flags = ["--bands", "7,0,4", "--image", str(tmp_path / "field.npy"), "--window", "8,8,8", "--out", str(out)]
    assert main(["lam", "--model", f"{__file__}:Bands", *flags, "--device", "cpu", "--quiet"]) == 0
    result = sr_hooks.load(out if (out / "result.json").is_file() else out / "field")
    assert result.provenance["network"]["channels_are"] == "8 bands, shown 7, 0, 4"
    np.testing.assert_array_equal(result.arrays["lr"], BANDS)


@pytest.mark.slow
def test_a_grid_of_bands(tmp_path: Path) -> None:
    np.save(tmp_path / "field.npy", np.tile(_rows_last(BANDS), (2, 2, 1)))
    _tiff(tmp_path / "pages.tif", np.tile(BANDS, (1, 2, 2)))
    (tmp_path / "grid.yml").write_text(
        f"networks:\n  one: {{model: '{__file__}:Bands', channels: 8, bands: [7, 0, 4]}}\n"
        "images: {field: field.npy, pages: {file: pages.tif, channels: 8}}\nwindows: [[16, 16, 16]]\n"
    )
    request = read_request(tmp_path / "grid.yml")
    assert run_grid(request, tmp_path / "out", jobs=1).failures == ()
    plan = make_plan(request, device="cpu", threads=1)
    rows = GridRows(plan, GridFolder(tmp_path / "out"), 0.0).rows
    assert [row.failure for row in rows] == [None, None]
    assert {"psnr", "ssim"} <= rows[0].numbers.keys() and "psnr_y" not in rows[0].numbers
    assert plan.request.shown_bands == [7, 0, 4]
    for file in ("figure.png", "report.html", "table.csv"):
        assert (tmp_path / "out" / file).is_file()


@pytest.mark.slow
def test_a_watched_run_of_bands(tmp_path: Path) -> None:
    np.save(tmp_path / "field.npy", BANDS)
    net, x = Bands().train(), torch.from_numpy(BANDS)[None]
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with watch(net, optimizer, image=str(tmp_path / "field.npy"), folder=str(tmp_path / "run"), sinks=["folder"],
               lam={"windows": [[8, 8, 8]], "at": [1], "steps": 4}):  # fmt: skip
        net(x).mean().backward()
        optimizer.step()
    (record,) = [json.loads(p.read_text()) for p in (tmp_path / "run").rglob("result.json")]
    assert record["provenance"]["network"]["channels"] == 8


@pytest.mark.slow
def test_a_stereo_pair_is_named(capsys) -> None:
    network = Network(Bands(6))
    result = sr_hooks.lam(network, torch.from_numpy(BANDS[:6])[None], window=(8, 8, 8), steps=4)
    assert result.provenance["network"]["channels_are"] == "a stereo pair, shown left"
    titles = [axes.get_title().replace("\n", " ") for axes in result.figure().axes]
    assert "input 24×20, a stereo pair, shown left" in titles
    assert main(["doctor", f"{__file__}:Bands", "--arguments", "{channels: 6}", "--device", "cpu"]) == 0
    assert "channels     6 (a stereo pair, shown left)" in capsys.readouterr().out
    words = [channels_in_words(channels) for channels in (1, 3, 2, 4)]
    assert words == ["grey", "RGB", "2 bands, shown their mean", "4 bands, shown 0, 1, 2"]
    assert channels_in_words(6, (5, 1, 0)) == "6 bands, shown 5, 1, 0"


@pytest.mark.slow
def test_ground_truth_of_bands() -> None:
    truth = torch.rand(1, 8, 48, 40, generator=torch.Generator().manual_seed(2))
    x, network = torch.from_numpy(BANDS)[None], Network(Bands())
    result = sr_hooks.lam(network, x, window=(8, 8, 8), steps=4, gt=truth)
    with torch.no_grad():
        error = (network(x)[..., 8:16, 8:16] - truth[..., 8:16, 8:16]).double().square().mean()
    assert result.scalars["window_psnr"] == pytest.approx(float(-10 * error.log10()), abs=1e-4)
    assert sr_hooks.lam(network, x, window=(8, 8, 8), steps=4, gt=truth, objective="loss:l1").map.max() > 0
