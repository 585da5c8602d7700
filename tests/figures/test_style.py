"""What figures and pages share: text, outlines, pictures as data."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from sr_hooks.figures.data_uri import map_uri, pixels_uri, ramp
from sr_hooks.figures.sheet import TEXT, Sheet, fitted


def decoded(uri: str) -> np.ndarray:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/png;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def test_a_picture_in_a_page_is_exact_and_no_larger_than_the_page_shows():
    image = np.random.default_rng(0).integers(0, 256, (3, 20, 30)).astype(np.float32) / 255
    assert np.array_equal(decoded(pixels_uri(image)), np.round(255 * image).astype(np.uint8).transpose(1, 2, 0))
    assert np.array_equal(decoded(pixels_uri(image[:1]))[:, :, 2], np.round(255 * image[0]).astype(np.uint8))
    assert decoded(pixels_uri(np.zeros((3, 100, 1280), np.float32))).shape == (50, 640, 3)


def test_a_map_and_its_legend_have_the_same_colours():
    values = np.array([[0.0, 2.0, 8.0]])  # the square root is shown: 0, a half, all
    colours = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in decoded(map_uri(values))[0]]
    assert [colours[0], colours[2]] == [ramp()[0], ramp()[-1]]
    assert colours[1] == f"#{cv2_inferno(128)}" and ramp(published=True) != ramp()


def cv2_inferno(level: int) -> str:
    (b, g, r) = cv2.applyColorMap(np.full((1, 1), level, np.uint8), cv2.COLORMAP_INFERNO)[0, 0]
    return f"{r:02x}{g:02x}{b:02x}"


def test_text_is_drawn_as_it_stands():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from sr_hooks.figures.style import plain

    assert plain("a $x^2$\tb") == r"a \$x^2\$ b" and plain("x" * 100) == "x" * 57 + "..."
    assert plain("\N{CJK UNIFIED IDEOGRAPH-540D}") == "[U+540D]", "which matplotlib's font lacks"


def test_an_outline_lies_around_its_pixels():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from sr_hooks.figures.style import WINDOW_COLOUR, image_of, new_figure, pixels, window_box

    figure = new_figure(2, 2)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image_of(np.zeros((1, 20, 20))))
    axes.axis("off")
    window_box(axes, (5, 10, 4, 8))
    picture = pixels(figure).astype(int)
    red = np.array([int(WINDOW_COLOUR[at : at + 2], 16) for at in (1, 3, 5)])
    rows, columns = np.nonzero(np.abs(picture - red).max(axis=2) < 30)
    side = picture.shape[0] / 20
    assert rows.min() / side == pytest.approx(5, abs=0.3) and rows.max() / side == pytest.approx(9, abs=0.3)
    assert columns.min() / side == pytest.approx(10, abs=0.3) and columns.max() / side == pytest.approx(18, abs=0.3)


def test_a_sheet_measures_in_inches_and_long_names_are_cut():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    sheet = Sheet(4.0)
    axes = sheet.axes(1, 0.5, 2, 1)
    box = axes.get_position()
    width, height = sheet.figure.get_size_inches()
    assert (box.width * width, box.height * height) == pytest.approx((2, 1))
    assert (1 - box.y1) * height == pytest.approx(0.5)
    assert fitted("EDSR", 2.0) == ("EDSR", TEXT)
    text, size = fitted("long " * 40, 1.0, " (x4)")
    assert text.endswith("... (x4)") and len(text) * 0.62 * size <= 72 * 1.0 + 1e-6
