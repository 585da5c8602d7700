"""The options of figures: checked, merged, read from flags and blocks, and seen in the artists of a figure."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest

import sr_hooks
from sr_hooks.analyses.lam.result import LamResult
from sr_hooks.cli.app import main
from sr_hooks.demo.assets import demo_network, photographs
from sr_hooks.errors import OptionError
from sr_hooks.figures.options import COLUMN_WIDTHS, LEAST_POINTS, FigureOptions, parse_pairs
from sr_hooks.images.image import downsample, read_image
from sr_hooks.results.result import Result
from sr_hooks.training.config import parse_block
from tests.support.figures import cut_texts, small_texts

pytestmark = pytest.mark.slow

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.fixture(scope="module")
def result() -> LamResult:
    lr = downsample(read_image(photographs()[0]), 4)
    return sr_hooks.lam(demo_network(), lr, window=(64, 48, 32), steps=4)


def maps(figure) -> list:
    """The drawn images that have one value a pixel."""
    return [image for axes in figure.axes for image in axes.get_images() if image.get_array().ndim == 2]


def titles(figure) -> list[str]:
    return [" ".join(axes.get_title().split()) for axes in figure.axes if axes.get_title()]


def test_flags_and_keywords_are_the_same_options():
    options = parse_pairs(
        ["look=paper", "width=double", "panels=map,window", "crop=0,8,64,32", "zoom=true", "title=1e3"]
    )
    assert options == FigureOptions(
        look="paper", width="double", panels=("map", "window"), crop=(0, 8, 64, 32), zoom=True, title="1e3"
    )
    assert options.inches == 7.16 and FigureOptions(width=5).inches == 5
    assert FigureOptions(look="safe").over(options).look == "safe" and FigureOptions().over(options) == options
    assert parse_pairs([f"{key}={value}" for key, value in (("font-size", 6), ("notes", "false"))]).notes is False


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("widht=double", "did you mean width"),
        ("width", "give key=value"),
        ("width=triple", "width is 'triple'"),
        ("width=0.2", "between 1.5 and 60"),
        ("width=true", "between 1.5 and 60"),
        ("font_size=5", "between 6 and 72"),
        ("scale=cubic", "linear, sqrt, log"),
        ("colormap=infernal", "no such colour map"),
        ("crop=1,2,3", "top, left, height, width"),
        ("crop=0,0,-5,5", "from 1"),
        ("panels=", "names of panels"),
        ("zoom=abc", "top, left, height, width"),
    ],
)
def test_what_does_not_fit_is_refused(pair, message):
    with pytest.raises(OptionError, match=message):
        parse_pairs([pair])


def test_options_are_seen_in_the_artists(result):
    plain, figure = (
        result.figure(),
        result.figure(
            colormap="cividis",
            scale="log",
            overlay="grey",
            panels=["map", "window"],
            font_size=11,
            title="mine",
            width=6,
        ),
    )
    assert len(titles(plain)) == 5 and len(titles(figure)) == 2
    assert titles(figure)[0].startswith("LAM, DI") and titles(figure)[1].startswith("the window")
    (drawn,) = maps(figure)
    assert drawn.get_cmap().name == "cividis" and type(drawn.norm).__name__ == "LogNorm"
    assert figure.axes[0].title.get_fontsize() == 11 and figure._suptitle.get_text() == "mine"
    assert figure.get_figwidth() == 6 and len(figure.axes[0].get_images()) == 2
    assert maps(plain)[0].get_cmap().name == "inferno" and len(plain.axes[3].get_images()) == 1


def test_the_papers_look_is_red_over_the_image_and_linear(result):
    drawn = maps(result.figure(look="paper"))[0]
    assert type(drawn.norm).__name__ == "Normalize" and drawn.get_alpha() == 0.5
    low, high = drawn.get_cmap()([0.0, 1.0])
    assert low[:3] == pytest.approx((1, 1, 1), abs=0.02) and high[0] > 0.45 and high[1] == high[2] == 0


def test_no_look_changes_a_number(result):
    looks = [result.figure(**options) for options in ({}, {"look": "paper"}, {"scale": "log", "colormap": "gray"})]
    arrays = [[np.asarray(image.get_array()) for image in maps(figure)] for figure in looks]
    for other in arrays[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(arrays[0], other, strict=True))
    assert titles(looks[0]) == titles(looks[1]) == titles(looks[2])
    assert all(f"DI {result.diffusion_index:.2f}" in " ".join(titles(figure)) for figure in looks)


def test_crop_and_zoom_are_limits_of_the_axes(result):
    figure = result.figure(crop=(32, 16, 128, 96), zoom=(48, 32, 64, 64))
    output, _, lr, shown = figure.axes[:4]
    (zoom,) = (axes for axes in figure.axes if "around the window" in " ".join(axes.get_title().split()))
    assert output.get_xlim() == (15.5, 111.5) and output.get_ylim() == (159.5, 31.5)
    assert lr.get_images()[0].get_array().shape[:2] == (32, 24) and shown.get_xlim() == (3.5, 27.5)
    assert zoom.get_xlim() == (7.5, 23.5) and zoom.get_ylim() == (27.5, 11.5)
    wide = result.figure(zoom=True)
    (found,) = (axes for axes in wide.axes if "around the window" in " ".join(axes.get_title().split()))
    (left, right), (bottom, top) = found.get_xlim(), found.get_ylim()
    inside = result.map[round(top + 0.5) : round(bottom + 0.5), round(left + 0.5) : round(right + 0.5)]
    assert inside.sum() > 0.97 * result.map.sum() and right - left < 64


def test_rc_params_and_axes_of_the_user(result):
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 13, "image.cmap": "magma", "font.family": "monospace"}):
        figure = result.figure()
        assert figure.axes[0].title.get_fontsize() == 13 and maps(figure)[0].get_cmap().name == "magma"
        assert figure.axes[0].title.get_fontfamily() == ["monospace"]
    own = Figure()
    axes = own.subplots(1, 2)
    assert result.figure(axes=axes, panels=["map", "input"]) is own and axes[0].get_images() and axes[1].get_images()
    with pytest.raises(OptionError, match="2 Axes for 5 panels"):
        result.figure(axes=axes)
    with pytest.raises(OptionError, match="did you mean density"):
        result.figure(panels=["densty"])


@pytest.mark.parametrize("width", [*COLUMN_WIDTHS, 5, 14, None])
@pytest.mark.parametrize("options", [{}, {"look": "paper", "zoom": True}, {"font_size": 9, "overlay": "grey"}])
def test_text_is_large_enough_and_nothing_is_cut(result, width, options):
    figure = result.figure(width=width, **options)
    assert not small_texts(figure, LEAST_POINTS) and not cut_texts(figure)
    if width is not None:
        assert figure.get_figwidth() == pytest.approx(FigureOptions(width=width).inches)


def test_saved_as_vector_and_notes_beside_it(result, tmp_path):
    figure = result.figure(notes=False, width="single")
    for name in ("x.pdf", "x.svg", "x.png"):
        figure.save(tmp_path / name)
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF") and b"<svg" in (tmp_path / "x.svg").read_bytes()
    assert b"CreationDate" not in (tmp_path / "x.pdf").read_bytes() and b"<text" in (tmp_path / "x.svg").read_bytes()
    assert (tmp_path / "notes.txt").read_text().strip() == result.verdict
    assert figure._supxlabel is None and result.verdict[:20] in result.figure()._supxlabel.get_text()
    result.figure().save(tmp_path / "other/x.pdf")
    assert not (tmp_path / "other/notes.txt").exists()
    assert len(pickle.loads(pickle.dumps(figure)).axes) == len(figure.axes)


def test_an_old_figure_method_follows_as_far_as_it_can(result, monkeypatch):
    from sr_hooks.figures.style import caption, new_figure

    def old(kind_result):
        figure = new_figure(11, 4)
        axes = figure.subplots()
        axes.imshow(kind_result.map, cmap="inferno")
        axes.set_title("a title that is much too long for a figure of one column, " * 3, fontsize=5)
        caption(figure, kind_result.verdict)
        return figure

    monkeypatch.setattr(LamResult, "painter", lambda self: old)
    figure = result.figure(width="single", colormap="gray", notes=False, look="paper")
    assert figure.get_figwidth() == 3.5 and maps(figure)[0].get_cmap().name == "gray"
    assert not small_texts(figure, LEAST_POINTS) and not cut_texts(figure) and not figure._supxlabel.get_text()
    assert "\n" in figure.axes[0].get_title()


def test_a_training_result_names_iteration_and_image(result):
    watched = LamResult("lam", result.arrays, result.scalars, {**result.provenance}, result.verdict)
    watched.provenance |= {"watch": {"iteration": 5000}, "input_file": "baby.png", "figure": {"look": "paper"}}
    figure = watched.figure()
    assert "iteration 5000, baby.png" in " ".join(figure._suptitle.get_text().split())
    assert (
        maps(figure)[0].get_cmap().name == "lam_red"
        and maps(watched.figure(look="safe"))[0].get_cmap().name == "inferno"
    )


def test_a_watched_block_states_options():
    plan = parse_block(
        {"figure": {"look": "paper"}, "lam": {"windows": [[0, 0, 8]], "figure": {"width": "single"}}, "ddr": True}
    )
    assert plan.analyses[0].figure == FigureOptions(look="paper", width="single")
    assert plan.analyses[1].figure == FigureOptions(look="paper")
    with pytest.raises(OptionError, match="did you mean width"):
        parse_block({"lam": {"windows": [[0, 0, 8]], "figure": {"widht": 3}}})


def test_show_draws_a_saved_result_again(result, tmp_path, capsys):
    result.save(tmp_path / "lam")
    assert not (tmp_path / "lam/figure.pdf").exists()
    assert main(["show", str(tmp_path / "lam"), "--figure", "width=single", "--figure", "notes=false"]) == 0
    assert (tmp_path / "lam/figure.pdf").is_file() and (tmp_path / "lam/notes.txt").is_file()
    assert sr_hooks.load(tmp_path / "lam").diffusion_index == result.diffusion_index
    capsys.readouterr()
    assert main(["show", str(tmp_path / "lam"), "--figure", "wide=1"]) == 2 and "wide" in capsys.readouterr().err


def test_an_analysis_without_a_figure_has_none():
    assert Result("count", {}, {"n": 1}).figure(look="paper") is None


def test_the_best_is_marked_within_one_scale_only():
    from sr_hooks.grid.report.tables import _best, _Column

    column = _Column("PSNR-Y, dB", "higher", [], "psnr_y")
    assert _best(column, [40.0, 28.0, 29.0], ["", "", ""], [1, 4, 4]) == {4: 29.0}
    assert _best(column, [40.0, 28.0], ["", ""], [1, 4]) == {}
    assert _best(column, [30.0, 29.0, 31.0], ["", "", "a"], [2, 2, 2]) == {2: 30.0}


@pytest.mark.parametrize("options", [{}, {"crop": (0, 0, 20, 60)}, {"width": 18, "zoom": True}])
def test_a_colour_bar_beside_a_map_is_not_taller_than_the_map(result, options):
    figure = result.figure(**{"width": 14, **options})
    figure.canvas.draw()
    pairs = [(shown, bar) for shown, bar in pairwise(figure.axes) if bar.get_label() == "<colorbar>"]
    assert len(pairs) >= 2
    for shown, bar in pairs:
        image, box = shown.get_window_extent(), bar.get_window_extent()
        assert box.x0 > image.x1 and image.y0 - 2 <= box.y0 < box.y1 <= image.y1 + 2, (box, image)


def test_a_box_outside_of_the_output_is_refused_and_one_that_leaves_it_is_cut(result):
    with pytest.raises(OptionError, match="crop 300, 0, 10, 10 lies outside of the output, which is 256"):
        result.figure(crop=(300, 0, 10, 10))
    with pytest.raises(OptionError, match="zoom 0, 256, 10, 10 lies outside"):
        result.figure(zoom=(0, 256, 10, 10))
    output = result.figure(crop=(128, 64, 900, 900)).axes[0]
    assert output.get_xlim() == (63.5, 255.5) and output.get_ylim() == (255.5, 127.5)


def test_an_answer_is_saved_though_its_figure_options_do_not_fit(tmp_path, capsys):
    image, out = str(photographs()[1]), tmp_path / "out"
    words = ["lam", "--model", "demo:target", "--image", image, "--hr", "--window", "0,0,16", "--steps", "2"]
    assert main([*words, "--out", str(out), "--figure", "panels=map,nope"]) == 2
    assert f"no panel 'nope'; known: density, input, map, output, window; the results are in {out}" in (
        capsys.readouterr().err
    )
    assert sr_hooks.load(out).scalars["diffusion_index"] > 0 and (out / "figure.png").is_file()
