"""The figures of the plugins in every width: no text below 6 points, none cut; crop, zoom and overlay are followed."""

from __future__ import annotations

import importlib

import pytest

import sr_hooks
from sr_hooks.core import registered
from sr_hooks.demo import demo_network, photographs
from sr_hooks.errors import OptionError
from sr_hooks.images import downsample, read_image
from tests.conftest import REPOSITORY
from tests.support.figures import cut_texts, small_texts

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
pytestmark = pytest.mark.slow

PLUGINS = {  # analysis: package, options
    "erf": ("sr_hooks_erf", {"size": 32}),
    "cem": ("sr_hooks_cem", {"window": (24, 24, 16), "fine": 4}),
    "csm": ("sr_hooks_csm", {}),
    "importance": ("sr_hooks_csm", {"steps": 2, "layers": ["body.0", "auto"]}),
    "dropout": ("sr_hooks_csm", {"rates": (0.25, 0.5), "draws": 2}),
    "difficulty": ("sr_hooks_difficulty", {"patch": 16, "step": 16}),
    "chunks": ("sr_hooks_difficulty", {"patch": 8}),
    "srga": ("sr_hooks_srga", {"patch": 8, "patches": 60, "splits": 10, "degradations": ["blur:1", "noise:30"]}),
}


@pytest.fixture(scope="module", params=PLUGINS)
def result(request, tmp_path_factory):
    package, options = PLUGINS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SR_HOOKS_CACHE", str(tmp_path_factory.mktemp("cache")))
        for folder in (REPOSITORY / "plugins").iterdir():
            patch.syspath_prepend(folder)
        with registered(importlib.import_module(package)):
            photos = [read_image(path)[..., 64:160, 64:160] for path in photographs()[:2]]
            images = {"erf": [downsample(p, 2) for p in photos], "cem": photos[0][..., :64, :64]}
            answer = sr_hooks.run(request.param, demo_network("target"), images.get(request.param, photos), **options)
            yield answer[0] if isinstance(answer, list) else answer


@pytest.mark.parametrize("width", ["single", "double", None])
def test_texts_fit(result, width):
    maps = {"zoom": True, "overlay": "grey", "crop": (8, 8, 40, 40)}
    taken = {name: value for name, value in maps.items() if name in result.figure_options()}
    for options in ({}, {"look": "paper", "notes": False, **taken}):
        figure = result.figure(width=width, **options)
        assert not small_texts(figure, 6) and not cut_texts(figure)
        assert width is None or figure.get_figwidth() == {"single": 3.5, "double": 7.16}[width]
        assert (figure._supxlabel is None) == ("notes" in options)


def test_panels_and_axes_are_followed_and_nonsense_is_refused(result):
    from sr_hooks.figures.style import new_figure

    with pytest.raises(OptionError, match="no panel 'nothing'"):
        result.figure(panels=["nothing"])
    with pytest.raises(OptionError, match="columns is no option of the figure of"):
        result.figure(columns="networks")
    first = {"erf": "map", "cem": "map", "csm": "map_1", "dropout": "psnr", "difficulty": "classes_1"} | {
        "importance": "kept",
        "chunks": "psnr",
    }
    name = first.get(result.analysis, "indices")
    own = new_figure(4, 4).subplots()
    assert result.figure(axes=own, panels=[name]) is own.get_figure() and own.has_data()
