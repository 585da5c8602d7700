"""Windows from the mouse, a text and another size: always inside the output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_hooks.errors import WindowError
from sr_hooks.explorer.windows import around, of_mouse, of_text, resized
from sr_hooks.images.windows import Window

SHARE = st.floats(-0.5, 1.5)
SIDE = st.integers(2, 400)


def event(top, left, bottom, right):
    return {"top": top, "left": left, "bottom": bottom, "right": right}


def test_a_click_asks_for_the_square_around_it():
    assert of_mouse(event(0.5, 0.25, 0.5, 0.25), 32, 200, 400) == Window(84, 84, 32, 32)
    assert of_mouse(event(0, 1, 0, 1), 32, 200, 400) == Window(0, 368, 32, 32)


def test_a_drag_asks_for_the_rectangle_in_every_direction():
    expected = Window(20, 40, 30, 60)
    corners = (0.1, 0.1), (0.25, 0.25)
    for first, second in ((corners[0], corners[1]), (corners[1], corners[0])):
        assert of_mouse(event(first[0], first[1], second[0], second[1]), 32, 200, 400) == expected
        assert of_mouse(event(first[0], second[1], second[0], first[1]), 32, 200, 400) == expected


@given(SHARE, SHARE, SHARE, SHARE, st.integers(-5, 900), SIDE, SIDE)
def test_no_mouse_event_leaves_the_output(top, left, bottom, right, size, height, width):
    window = of_mouse(event(top, left, bottom, right), size, height, width)
    window.check(height, width)
    assert window.height >= 1 and window.width >= 1


@given(st.floats(-50, 450), st.floats(-50, 450), st.integers(1, 500), SIDE, SIDE)
def test_the_square_around_a_point_is_inside(y, x, size, height, width):
    window = around(y, x, size, height, width)
    window.check(height, width)
    assert window.height == window.width == min(size, height, width)


def test_another_size_keeps_the_middle():
    assert resized(Window(40, 60, 20, 40), 10, 200, 200) == Window(45, 75, 10, 10)
    assert resized(Window(0, 0, 20, 20), 60, 200, 200) == Window(0, 0, 60, 60)


@pytest.mark.parametrize("text", ["", "1,2", "a", "190, 0, 32", "0, 0, 0"])
def test_a_text_that_is_no_window_of_the_output_is_refused(text):
    with pytest.raises(WindowError):
        of_text(text, 200, 200)


def test_a_text_has_three_numbers_or_four():
    assert of_text("8, 9, 10", 200, 200) == Window(8, 9, 10, 10)
    assert of_text("8 9 10 11", 200, 200) == Window(8, 9, 10, 11)


@pytest.mark.parametrize("wrong", [{}, event("x", 0, 0, 0), event(None, 0, 0, 0)])
def test_an_event_that_is_none_is_refused(wrong):
    with pytest.raises(WindowError, match="not understood"):
        of_mouse(wrong, 32, 200, 200)
