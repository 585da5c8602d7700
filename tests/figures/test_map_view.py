"""Figures of plugins take all options by `MapView` and `compose`; what a figure does not take is refused by name."""

from __future__ import annotations

import re

import numpy as np
import pytest

import sr_hooks
from sr_hooks.core import registry
from sr_hooks.errors import OptionError
from sr_hooks.figures import FigureOptions, Look, MapView, draw_map
from sr_hooks.figures.style import new_figure
from sr_hooks.images.windows import Window
from sr_hooks.training.config import parse_block
from tests.conftest import REPOSITORY
from tests.support.figures import cut_texts, small_texts

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.fixture
def residual(monkeypatch) -> sr_hooks.Result:
    """A result of the analysis that docs/plugins.md writes down, registered as a plugin's."""
    page = (REPOSITORY / "docs/plugins.md").read_text(encoding="utf-8").split("## A figure with all options")[1]
    scope: dict = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], scope)
    known = registry.contributions("register_analyses") | {"residual": scope["Residual"]}
    monkeypatch.setattr(registry, "contributions", lambda hook: known)
    rng = np.random.default_rng(0)
    lr, output, values = rng.random((3, 20, 30)), rng.random((3, 80, 120)), np.zeros((80, 120))
    values[30:40, 50:62] = 1 + rng.random((10, 12))
    return sr_hooks.Result("residual", {"lr": lr, "output": output, "residual": values}, {}, {}, "sound: for a test.")


def drawn_map(figure, name: str = "distance"):
    (axes,) = (axes for axes in figure.axes if axes.get_title().startswith(name) and "pixels" not in axes.get_title())
    return axes


def test_the_example_of_the_page_takes_every_option(residual):
    plain = residual.figure()
    assert [bool(axes.get_images()) for axes in plain.axes[:3]] == [True, True, False]
    figure = residual.figure(
        panels=["map", "zoom", "output"], crop=(16, 24, 60, 80), zoom=True, overlay="grey", scale="log",
        colormap="cividis", font_size=9, title="", notes=False, width="double",
    )  # fmt: skip
    axes = drawn_map(figure)
    under, image = axes.get_images()
    assert axes.get_xlim() == (23.5, 103.5) and axes.get_ylim() == (75.5, 15.5)
    assert image.get_cmap().name == "cividis" and type(image.norm).__name__ == "LogNorm"
    assert under.get_array().ndim == 3 and figure._suptitle is None and figure.get_figwidth() == 7.16
    (zoom,) = (axes for axes in figure.axes if "pixels" in axes.get_title())
    (left, right), (bottom, top) = zoom.get_xlim(), zoom.get_ylim()
    assert left < 49.5 and right > 61.5 and top < 29.5 and bottom > 39.5 and right - left < 60
    red = drawn_map(residual.figure(look="paper")).get_images()
    assert len(red) == 2 and red[1].get_alpha() == 0.5 and red[1].get_cmap().name == "lam_red"
    own = new_figure(5, 4).subplots(1, 2)
    assert residual.figure(axes=own, panels=["map", "histogram"]) is own[0].get_figure() and own[1].patches


@pytest.mark.slow
@pytest.mark.parametrize("width", ["single", "double", 5])
@pytest.mark.parametrize("options", [{}, {"look": "paper", "zoom": True}])
def test_texts_of_the_example_fit(residual, width, options):
    figure = residual.figure(width=width, **options)
    assert not small_texts(figure, 6) and not cut_texts(figure)


def test_values_of_both_signs_and_blocks():
    values = np.array([[-1.0, 0.25], [np.nan, 4.0]])
    for scale, low in (("linear", 0.375), ("sqrt", 0.25), ("log", None)):
        axes = new_figure(5, 4).subplots()
        drawn = draw_map(axes, Look(FigureOptions(scale=scale), 5), values, signed=True, canvas=(16, 15), pixel=8)
        assert drawn.get_extent() == [-0.5, 15.5, 15.5, -0.5] and axes.get_xlim() == (-0.5, 14.5)
        assert np.allclose(np.asarray(drawn.get_array())[0], [-0.25, 0.0625]) and drawn.get_cmap().name == "RdBu_r"
        assert low is None or float(drawn.norm(-0.25)) == pytest.approx(low)
    drawn = draw_map(new_figure(5, 4).subplots(), Look(FigureOptions(), 5), values, ends=(-1.0, 4.0), power=1.0)
    assert np.allclose(np.asarray(drawn.get_array())[0], [0, 0.25]) and float(drawn.norm(0.25)) == 0.25


def test_the_zoom_holds_the_window_and_the_map():
    values = np.zeros((40, 60))
    values[5:8, 50:58] = 1
    view = MapView((160, 240), FigureOptions(zoom=True), window=Window(16, 180, 8, 8))
    top, left, height, width = view.around(values)
    assert top <= 16 and top + height >= 32 and left <= 180 and left + width >= 232
    assert left >= 0 and left + width <= 240 and height == width


@pytest.mark.parametrize("options", [{"zoom": True}, {"overlay": "red"}, {"crop": (0, 0, 8, 8)}, {"scale": "log"}])
def test_a_figure_without_maps_refuses_their_options_and_names_who_takes_them(options):
    (name,) = options
    ddr = sr_hooks.DdrResult("ddr", {}, {}, {}, "")
    with pytest.raises(OptionError, match=rf"{name} is no option of the figure of ddr, .*{name} is one of .*lam"):
        ddr.figure(**options)
    with pytest.raises(OptionError, match=f"{name} is no option of the figure of ddr"):
        parse_block({"ddr": {"figure": options}})
    parse_block({"figure": options, "ddr": True})  # of all analyses: those that take the option follow it


def test_columns_are_the_grids_alone(residual):
    with pytest.raises(OptionError, match=r"columns is no option of the figure of residual, .* figures of grid"):
        residual.figure(columns="networks")


def test_a_finished_figure_is_changed_as_far_as_it_can_be_and_refuses_the_rest(residual, monkeypatch):
    kind = registry.contributions("register_analyses")["residual"]
    monkeypatch.setattr(kind, "figure", classmethod(lambda cls, result: new_figure(5, 4)))
    assert residual.figure(width="single").get_figwidth() == 3.5
    with pytest.raises(OptionError, match="panels is no option of the figure of residual, which takes colormap"):
        residual.figure(panels=["map"])
