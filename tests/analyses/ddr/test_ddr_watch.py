"""DDR in a training run: one probe set, one frame, curves for TensorBoard, a film, and a resume that goes on in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import sr_hooks
from sr_hooks.cli.app import main
from sr_hooks.demo.assets import photographs
from sr_hooks.errors import ImageError, OptionError, TapError
from sr_hooks.results.run_index import read_index
from sr_hooks.statistics.random_projection import SIZE, Sketch, principal_frame
from tests.conftest import hooks_on
from tests.support.networks import Tiny

LAYERS = ["head", "tail:in"]


def train(folder: Path | None, steps: range = range(6), net: Tiny | None = None, **options: Any) -> Tiny:
    """A few steps of a two-layer network, watched at every second."""
    net = net or Tiny()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    block = {"layers": LAYERS, "every": 2, "budget": "off", "patches": 12, "patch": 32, "permutations": 99,
             "subsamples": 20, "image": [str(path) for path in photographs()], "on_error": "raise"}  # fmt: skip
    block |= options
    extra = {"tensorboard": block.pop("tensorboard")} if "tensorboard" in block else {}
    with sr_hooks.watch(net, optimizer, ddr=block, folder=folder, start=steps.start, **extra):
        for step in steps:
            x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            F.l1_loss(net(x), F.interpolate(x, scale_factor=2)).backward()
            optimizer.step()
    assert hooks_on(net) == 0
    return net


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(folder)
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without a folder writes below the working directory."""
    monkeypatch.chdir(tmp_path)


def results(folder: Path) -> list[Any]:
    return [sr_hooks.load(folder / entry["folder"]) for entry in read_index(folder)]


@pytest.mark.slow
def test_every_due_iteration_has_the_index_of_every_layer(run: Path) -> None:
    entries = read_index(run)
    assert [entry["iteration"] for entry in entries] == [2, 4, 6]
    for entry, result in zip(entries, results(run), strict=True):
        assert [layer.layer for layer in result.layers] == LAYERS
        for layer in result.layers:
            assert entry["headline"][f"chi/{layer.layer}"] == pytest.approx(layer.chi)


@pytest.mark.slow
def test_probe_set_and_frame_are_the_same_throughout(run: Path) -> None:
    found = results(run)
    assert len({result.provenance["inputs_sha256"] for result in found}) == 1
    mean, axes = principal_frame(found[0].arrays["sketch_1"].astype(np.float64))
    for result in found:
        sketch = result.arrays["sketch_1"]
        assert sketch.shape == (36, SIZE)
        assert np.allclose(result.arrays["frame_1"], (sketch - mean) @ axes, atol=1e-5)
        assert np.array_equal(result.coordinates("tail:in"), result.arrays["frame_1"])


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_frame(run: Path, tmp_path: Path) -> None:
    net = train(tmp_path, range(4))
    train(tmp_path, range(4, 6), net)
    whole, parted = results(run), results(tmp_path)
    assert [r.provenance["watch"]["iteration"] for r in parted] == [2, 4, 6]
    for one, other in zip(whole, parted, strict=True):
        assert np.allclose(one.arrays["frame_1"], other.arrays["frame_1"], atol=1e-6)
        assert one.layers[1].chi == pytest.approx(other.layers[1].chi)


@pytest.mark.slow
def test_what_is_watched_is_what_is_asked_directly(run: Path) -> None:
    options = {"layers": LAYERS, "patches": 12, "patch": 32, "permutations": 99, "subsamples": 20, "tsne": 0}
    last = results(run)[-1]
    direct = sr_hooks.ddr(train(None), photographs(), seed=last.provenance["seed"], **options)
    assert direct.layers == last.layers and np.array_equal(direct.arrays["scores_1"], last.arrays["scores_1"])


@pytest.mark.slow
def test_curves_reach_tensorboard(tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = tensorboard.SummaryWriter(str(tmp_path / "tb"))
    train(tmp_path / "run", tensorboard=writer)
    writer.close()
    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    for layer in LAYERS:
        endings = (f"chi/{layer}", f"chi/{layer.replace(':', '_')}")  # as TensorBoard allows
        tags = [tag for tag in events.Tags()["scalars"] if tag.endswith(endings)]
        assert len(tags) == 1
        curve = events.Scalars(tags[0])
        assert [event.step for event in curve] == [2, 4, 6]
        expected = [result.layer(layer).chi for result in results(tmp_path / "run")]
        assert [event.value for event in curve] == pytest.approx(expected, rel=1e-5)
    assert events.Tags()["images"]


@pytest.mark.slow
def test_film(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert main(["show", str(run), "--gif", str(tmp_path / "film.gif")]) == 0
    assert "3 pictures" in capsys.readouterr().out
    with image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 3 and film.size[0] > 300
    assert not list(tmp_path.glob(".*"))
    assert main(["show", str(run), "--gif", str(tmp_path / "x.gif"), "--analysis", "lam"]) == 2
    assert "no results of 'lam'" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    assert main(["show", str(tmp_path / "none"), "--gif", str(tmp_path / "x.gif")]) == 2
    assert "no watched run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_shown_as_a_table(run: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["show", str(run)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:3] == ["iteration", "folder", "chi"] and "chi/head" in printed[0]
    assert [line.split()[:2] for line in printed[2:]] == [["2", "2/ddr"], ["4", "4/ddr"], ["6", "6/ddr"]]
    assert main(["show", str(run), "--analysis", "lan"]) == 2
    assert "no results of 'lan'" in capsys.readouterr().err


@pytest.mark.slow
def test_films_of_one_run_have_common_axes(run: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from sr_hooks.analyses.ddr.figure import common_frame, ddr_film

    found = results(run)
    coordinates = common_frame(found, 0)
    assert np.concatenate(coordinates).mean(axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert len(ddr_film(found)) == 3 and ddr_film([]) == []


def test_sketches_keep_distances() -> None:
    features = torch.randn(20, 30000, generator=torch.Generator().manual_seed(0))
    sketch = Sketch(30000, 3)(features).numpy()
    again = Sketch(30000, 3)(features).numpy()
    assert np.array_equal(sketch, again) and not np.array_equal(sketch, Sketch(30000, 4)(features).numpy())
    exact = torch.cdist(features, features).numpy()
    near = np.linalg.norm(sketch[:, None] - sketch[None], axis=-1)
    rows, columns = np.triu_indices(20, 1)
    assert near[rows, columns] == pytest.approx(exact[rows, columns], rel=0.2)
    assert np.allclose(Sketch(30000, 3)(2 * features[:1] - features[1:2]), 2 * sketch[0] - sketch[1], atol=1e-2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layers": "hed"}, TapError, "ddr: .*no layer 'hed'; did you mean head"),
        ({"patch": 500}, ImageError, "smaller than a patch"),
        ({"degradations": ["clean"]}, OptionError, "one class"),
        ({"patchs": 5}, OptionError, "unknown key 'patchs'; did you mean"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_before_training(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        train(None, **options)
