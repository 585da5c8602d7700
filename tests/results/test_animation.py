"""Films of watched runs: one file, or one for each name that the analysis gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sr_hooks.core.registry import registered
from sr_hooks.errors import ResultError
from sr_hooks.hookspecs import hookimpl
from sr_hooks.results.animation import film
from sr_hooks.results.result import Result
from sr_hooks.results.run_index import RunIndex
from tests.support.training import Poke


class Filmed(Poke):
    """An analysis with one film for each of its layers."""

    name = "filmed"
    layers: tuple[str, ...] = ()

    @classmethod
    def film(cls, results: list[Result]) -> dict[str, list[np.ndarray]]:
        moving = np.tile(np.arange(30, dtype=np.uint8)[None, :, None] * 8, (20, 1, 3))
        pictures = [np.roll(moving, int(result.scalars["value"]), axis=1) for result in results]
        return dict.fromkeys(cls.layers, pictures)


class Plugin:
    @hookimpl
    def register_analyses(self) -> list[Any]:
        return [Filmed]


def test_a_film_for_each_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    index = RunIndex(tmp_path)
    for iteration in (2, 1, 3):
        folder = f"{iteration}/filmed"
        Result("filmed", {}, {"value": iteration}, {}, "").save(tmp_path / folder, figure=False)
        index.add({"iteration": iteration, "analysis": "filmed", "folder": folder, "headline": {}})
    with registered(Plugin(), name="third_party"):
        monkeypatch.setattr(Filmed, "layers", ("body.3", "head/../x"))
        assert film(tmp_path, tmp_path / "film.gif") == 6
        monkeypatch.setattr(Filmed, "layers", ("body.3",))
        assert film(tmp_path, tmp_path / "one.gif") == 3
        monkeypatch.setattr(Filmed, "layers", ())
        with pytest.raises(ResultError, match="no figures"):
            film(tmp_path, tmp_path / "none.gif")
    files = {path.name for path in tmp_path.glob("*.gif")}
    assert files == {"film_body.3.gif", "film_head-..-x.gif", "one.gif"}
    with image.open(tmp_path / "film_body.3.gif") as pictures:
        assert pictures.n_frames == 3 and pictures.size == (30, 20)


def test_one_result_is_filmed_where_its_analysis_has_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    Result("filmed", {}, {"value": 4}, {}, "").save(tmp_path / "one", figure=False)
    Result("other", {}, {"value": 1}, {}, "").save(tmp_path / "other", figure=False)
    with registered(Plugin(), name="third_party"):
        monkeypatch.setattr(Filmed, "layers", ("body.3",))
        assert film(tmp_path / "one", tmp_path / "one.gif") == 1
        with pytest.raises(ResultError, match="one result of other, which has no film"):
            film(tmp_path / "other", tmp_path / "other.gif")
    with image.open(tmp_path / "one.gif") as picture:
        assert picture.size == (30, 20)
