"""Image files as people have them are read as they are seen, or refused by name; arrays and PIL images too."""

from __future__ import annotations

import logging
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import sr_hooks
from sr_hooks.errors import ImageError, OptionError
from sr_hooks.grid.request import parse_request
from sr_hooks.images import read_clip, read_image, single_images
from sr_hooks.results import read_result
from tests.support.networks import Tiny

H, W = 40, 56
Y, X = np.mgrid[0:H, 0:W]
RGB = np.stack([Y * 6, X * 4, (Y + X) * 2], axis=2).astype(np.uint8)
"""Smooth, without a symmetry: turned or mirrored it is another image, and lossy formats keep it nearly."""
GREY = RGB[:, :, 1].copy()
DEEP = (RGB.astype(np.uint16) << 8) + 37
OPAQUE = np.full((H, W), 255, np.uint8)
HOLED = np.where(X < 20, 0, 255).astype(np.uint8)

Written = tuple[np.ndarray, float]
CASES: dict[str, Callable[[Path], Written]] = {}
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {}


def unit(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) / np.iinfo(array.dtype).max if array.dtype.kind == "u" else array


def saved(name: str, image: Image.Image, expected: np.ndarray, tolerance: float = 0, **keywords: object) -> None:
    def write(path: Path) -> Written:
        image.save(path, **keywords)
        return unit(expected), tolerance

    assert name not in CASES
    CASES[name] = write


def by_opencv(name: str, array: np.ndarray, expected: np.ndarray) -> None:
    def write(path: Path) -> Written:
        ordered = array if array.ndim == 2 else np.dstack([array[:, :, 2::-1], array[:, :, 3:]])
        assert cv2.imwrite(str(path), ordered)
        return unit(expected), 0

    CASES[name] = write


def exif(orientation: int) -> Image.Exif:
    entries = Image.Exif()
    entries[0x0112] = orientation
    return entries


rgb, grey = Image.fromarray(RGB), Image.fromarray(GREY)
palette = rgb.quantize(200)
saved("rgb.png", rgb, RGB)
saved("grey.png", grey, GREY)
saved("palette.png", palette, np.asarray(palette.convert("RGB")))
saved("palette4.png", rgb.quantize(4), np.asarray(rgb.quantize(4).convert("RGB")))
saved("black_and_white.png", Image.fromarray(GREY > 90), np.where(GREY > 90, 255, 0).astype(np.uint8))
saved("opaque.png", Image.fromarray(np.dstack([RGB, OPAQUE])), RGB)
saved("grey_opaque.png", Image.fromarray(np.dstack([GREY, OPAQUE])), GREY)
saved("unused_key.png", rgb, RGB, transparency=(1, 2, 3))
by_opencv("deep.png", DEEP, DEEP)
by_opencv("deep_grey.png", DEEP[:, :, 0], DEEP[:, :, 0])
by_opencv("deep_opaque.png", np.dstack([DEEP, np.full((H, W), 65535, np.uint16)]), DEEP)
saved("turned.png", rgb, np.rot90(RGB, -1), exif=exif(6))
saved("plain.jpg", rgb, RGB, 0.05, quality=95)
saved("grey.jpg", grey, GREY, 0.05, quality=95)
saved("progressive.jpeg", rgb, RGB, 0.05, quality=95, progressive=True)
for number, seen in {
    2: RGB[:, ::-1],
    3: RGB[::-1, ::-1],
    4: RGB[::-1],
    5: RGB.swapaxes(0, 1),
    6: np.rot90(RGB, -1),
    7: np.rot90(RGB, 2).swapaxes(0, 1),
    8: np.rot90(RGB),
}.items():
    saved(f"exif{number}.jpg", rgb, seen, 0.05, quality=95, exif=exif(number))
saved("print.jpg", rgb.convert("CMYK"), RGB, 0.05, quality=95)
saved("print.tif", rgb.convert("CMYK"), RGB, 0.01)
saved("plain.tif", rgb, RGB)
saved("lzw.tiff", rgb, RGB, compression="tiff_lzw")
saved("turned.tif", rgb, np.rot90(RGB), tiffinfo={274: 8})
saved("bilevel.tif", Image.fromarray(GREY > 90), np.where(GREY > 90, 255, 0).astype(np.uint8))
by_opencv("deep.tif", DEEP, DEEP)
saved("deep_grey.tif", Image.fromarray(DEEP[:, :, 1]), DEEP[:, :, 1])
saved("float.tif", Image.fromarray(GREY.astype(np.float32) / 255), GREY.astype(np.float32) / 255, 1e-7)
by_opencv("float_rgb.tif", RGB.astype(np.float32) / 255, RGB.astype(np.float32) / 255)
saved("plain.bmp", rgb, RGB)
saved("lossless.webp", rgb, RGB, lossless=True)
saved("opaque.webp", Image.fromarray(np.dstack([RGB, OPAQUE])), RGB, lossless=True)
saved("turned.webp", rgb, np.rot90(RGB, 2), exif=exif(3), lossless=True)
saved("phone.avif", rgb, RGB, 0.06, quality=95)
saved("one.gif", palette, np.asarray(palette.convert("RGB")))
saved("lossless.jp2", rgb, RGB)
saved("plain.ppm", rgb, RGB)
saved("plain.pgm", grey, GREY)
by_opencv("deep.ppm", DEEP, DEEP)
by_opencv("deep.jp2", DEEP, DEEP)
saved("plain.tga", rgb, RGB)


def case(name: str) -> Callable[[Callable[[Path], Written]], Callable[[Path], Written]]:
    def register(write: Callable[[Path], Written]) -> Callable[[Path], Written]:
        CASES[name] = write
        return write

    return register


@case("ten_bits.pgm")
def ten_bits(path: Path) -> Written:
    values = (GREY.astype(np.uint16) * 4 + 3).astype(">u2")
    path.write_bytes(b"P5\n# of a camera\n%d %d\n1023\n" % (W, H) + values.tobytes())
    return values / 1023, 1e-7


@case("deep_grey_opaque.png")
def deep_grey_opaque(path: Path) -> Written:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pairs = np.dstack([DEEP[:, :, 0], np.full((H, W), 65535)]).astype(">u2").reshape(H, -1)
    header = struct.pack(">IIBBBBB", W, H, 16, 4, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pairs))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return unit(DEEP[:, :, 0]), 0


@case("phone.heic")
def heic(path: Path) -> Written:
    import pillow_heif

    pillow_heif.from_pillow(rgb).save(path, quality=95)
    return unit(RGB), 0.08


@case("motion_photo.jpg")
def motion_photo(path: Path) -> Written:
    rgb.save(path, quality=95)
    path.write_bytes(path.read_bytes() + b"\0\0\0\x18ftypmp42" + bytes(9000))
    return unit(RGB), 0.05


@case("stereo.jpg")
def mpo(path: Path) -> Written:
    rgb.save(path.with_suffix(".mpo"), save_all=True, append_images=[rgb.resize((28, 20))], quality=95)
    path.with_suffix(".mpo").rename(path)
    return unit(RGB), 0.05


@case("lab.tif")
def lab(path: Path) -> Written:
    srgb = ImageCms.createProfile("sRGB")
    image = ImageCms.profileToProfile(rgb, srgb, ImageCms.createProfile("LAB"), outputMode="LAB")
    image.save(path)
    return unit(RGB), 0.13  # 8 bits of LAB are coarse near black


holed = Image.fromarray(np.dstack([RGB, HOLED]))
REFUSED |= {
    "cut_out.png": (holed.save, "4 channels.*35.7 % of its pixels are transparent.*--background white"),
    "cut_out.webp": (holed.save, "transparent"),
    "grey_cut_out.png": (Image.fromarray(np.dstack([GREY, HOLED])).save, "2 channels.*transparent"),
    "key.png": (lambda p: rgb.save(p, transparency=tuple(map(int, RGB[3, 5]))), "transparent"),
    "glass.png": (lambda p: palette.save(p, transparency=int(np.asarray(palette)[0, 0])), "transparent"),
    "moving.gif": (lambda p: rgb.save(p, save_all=True, append_images=[rgb.rotate(90)]), "2 images.*GIF"),
    "pages.tif": (lambda p: rgb.save(p, save_all=True, append_images=[rgb, rgb]), "3 images.*TIFF"),
    "whole.tif": (lambda p: Image.fromarray(GREY.astype(np.int32) * 9000).save(p), "whole numbers of 32 bits"),
    "bright.tif": (lambda p: Image.fromarray(GREY.astype(np.float32)).save(p), "values from 0 to 220"),
    "planes.tif": (lambda p: _in_planes(DEEP, p), "separate planes"),
    "float_planes.tif": (lambda p: _in_planes(RGB.astype(np.float32) / 255, p), "separate planes"),
    "photo.jxl": (lambda p: p.write_bytes(b"\xff\x0a" + bytes(50)), "JPEG XL"),
    "photo.nef": (lambda p: p.write_bytes(b"II*\0" + bytes(50)), "raw file"),
    "light.exr": (lambda p: p.write_bytes(b"\x76\x2f\x31\x01" + bytes(50)), "OpenEXR"),
    "logo.svg": (lambda p: p.write_text("<?xml version='1.0'?><svg/>"), "SVG"),
    "paper.pdf": (lambda p: p.write_bytes(b"%PDF-1.7"), "PDF"),
    "page.jpg": (lambda p: p.write_text("<!DOCTYPE html><html>"), "web page"),
    "pointer.png": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "clip.mp4": (lambda p: p.write_bytes(b"\0\0\0\x18ftypisom" + bytes(50)), "video"),
    "short.webp": (lambda p: _cut(rgb, p), "damaged|truncated"),
    "short.tif": (lambda p: _cut(rgb, p), "damaged|truncated"),
    "short.jp2": (lambda p: _cut(rgb, p), "damaged|truncated"),
}


def _in_planes(array: np.ndarray, path: Path) -> None:
    """A TIFF that says that its channels are in separate planes, which OpenCV does not heed."""
    cv2.imwrite(str(path), array)
    entry = struct.pack("<HHIH", 284, 3, 1, 1)
    data = path.read_bytes()
    assert data.count(entry) == 1
    path.write_bytes(data.replace(entry, struct.pack("<HHIH", 284, 3, 1, 2)))


def _cut(image: Image.Image, path: Path) -> None:
    image.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_there_are_forty_kinds():
    assert len(CASES) >= 40


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_read_as_it_is_seen(tmp_path: Path, name: str):
    expected, tolerance = CASES[name](tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.dtype == torch.float32 and image.is_contiguous()
    expected = expected.reshape(*expected.shape[:2], -1).transpose(2, 0, 1).astype(np.float32)
    assert image.shape == (1, *expected.shape)
    assert float((image[0] - torch.from_numpy(expected)).abs().max()) <= tolerance


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_named(tmp_path: Path, name: str):
    write, message = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("number", range(1, 9))
def test_orientation_is_that_of_the_reader_of_basicsr(tmp_path: Path, suffix: str, number: int):
    """BasicSR reads by cv2.imdecode with IMREAD_COLOR."""
    file = tmp_path / f"photo.{suffix}"
    rgb.save(file, exif=exif(number))
    theirs = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert torch.equal(read_image(file)[0], torch.from_numpy(theirs.transpose(2, 0, 1).copy()).float() / 255)


def test_heic_without_its_extra_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    heic(tmp_path / "phone.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"HEIC file.*pip install 'sr_hooks\[heif\]'"):
        read_image(tmp_path / "phone.heic")


def test_transparent_pixels_are_composed_on_a_named_colour(tmp_path: Path):
    holed.save(tmp_path / "logo.png")
    expected = np.where(HOLED[:, :, None] > 0, RGB / 255, np.array([1.0, 128 / 255, 0.0]))
    image = read_image(tmp_path / "logo.png", background="#ff8000")
    assert np.allclose(image[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)
    with pytest.raises(OptionError, match="'whit' is no colour"):
        read_image(tmp_path / "logo.png", background="whit")
    with pytest.raises(OptionError, match="is no colour"):
        read_image(tmp_path / "logo.png", background=0)  # type: ignore[arg-type]
    half = Image.fromarray(np.dstack([GREY, np.full((H, W), 51, np.uint8)]))
    half.save(tmp_path / "half.png")
    assert np.allclose(read_image(tmp_path / "half.png", background="white")[0, 0], GREY / 255 * 0.2 + 0.8, atol=1e-6)


def test_frames_of_a_clip_are_turned_too(tmp_path: Path):
    for number in range(2):
        rgb.save(tmp_path / f"{number}.jpg", exif=exif(6))
    assert read_clip(tmp_path).shape == (1, 2, 3, W, H)


def test_arrays_and_pil_images_are_what_the_file_is(tmp_path: Path):
    rgb.save(tmp_path / "image.png")
    image = read_image(tmp_path / "image.png")
    turned = rgb.copy()
    turned.getexif()[0x0112] = 6
    for source in (RGB, RGB.transpose(2, 0, 1), rgb, (RGB / 255).astype(np.float32), np.dstack([RGB, OPAQUE])):
        assert torch.equal(single_images(source)[0], image)
    assert torch.equal(single_images(np.stack([RGB, RGB[::-1]]))[1], image.flip(-2))
    assert torch.equal(single_images(GREY)[0], image[:, 1:2])
    assert torch.equal(single_images(turned)[0], image.swapaxes(-1, -2).flip(-1))
    assert [one.shape[-2:] for one in single_images([rgb, RGB[:10]])] == [(H, W), (10, W)]
    with pytest.raises(ImageError, match="transparent"):
        single_images(np.dstack([RGB, HOLED]))
    with pytest.raises(ImageError, match="divide by 65535"):
        single_images(DEEP)


def test_grey_is_repeated_for_a_network_of_rgb_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    grey.save(tmp_path / "grey.png")
    network = sr_hooks.Network(Tiny(), name=f"Tiny of {tmp_path.name}")
    with caplog.at_level(logging.WARNING, "sr_hooks"):
        result = sr_hooks.lam(network, tmp_path / "grey.png", window=(8, 8, 8), steps=3)
    note = f"the image is grey, and {network.name} takes RGB: the grey channel is repeated three times"
    assert result.provenance["input_notes"] == [note] and note in caplog.text
    rgb_input = torch.cat([read_image(tmp_path / "grey.png")] * 3, 1)
    same = sr_hooks.lam(network, rgb_input, window=(8, 8, 8), steps=3)
    assert np.array_equal(result.attribution, same.attribution) and "input_notes" not in same.provenance


@pytest.mark.slow
def test_a_grid_composes_transparent_pixels_on_its_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from sr_hooks.cli.app import main

    monkeypatch.chdir(tmp_path)
    holed.save("logo.png")
    command = [
        "grid",
        "--model",
        "tests.support.networks:Tiny",
        "--image",
        "logo.png",
        "--window",
        "8,8,8",
        "--jobs",
        "1",
    ]
    assert main([*command, "--lr", "--out", "refused"]) != 0 and not list(tmp_path.rglob("result.json"))
    assert main([*command, "--lr", "--background", "white"]) in (0, None)
    (file,) = tmp_path.rglob("result.json")
    lr = torch.from_numpy(read_result(file.parent).arrays["lr"])
    assert torch.equal(lr, read_image("logo.png", background="white")[0])
    entries = {"a": {"file": "logo.png", "background": "black"}, "b": "logo.png"}
    images = parse_request({"networks": ["x"], "images": entries, "background": "white"}).images
    assert [image.background for image in images] == ["black", "white"]


@pytest.mark.slow
def test_the_command_line_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from sr_hooks.cli.app import main

    monkeypatch.chdir(tmp_path)
    holed.save("logo.png")
    rgb.save("turned.jpg", exif=exif(6))
    grey.save("grey.png")
    command = ["lam", "--model", "tests.support.networks:Tiny", "--window", "8,8,8", "--steps", "3"]
    assert main([*command, "--image", "logo.png"]) != 0
    assert "--background white" in capsys.readouterr().err
    for number, extra in enumerate((["logo.png", "--background", "white"], ["turned.jpg"], ["grey.png"])):
        assert main([*command, "--out", str(number), "--image", *extra]) in (0, None), capsys.readouterr().err
    shapes = [read_result(tmp_path / str(number)).arrays["lr"].shape for number in range(3)]
    assert shapes == [(3, H, W), (3, W, H), (3, H, W)]
