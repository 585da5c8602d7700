"""Comparisons: closed forms, what is refused, what is warned of, the command line."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import sr_hooks
from sr_hooks.cli.app import main
from sr_hooks.comparison.differences import TOPS, faig_change, lam_change
from sr_hooks.demo.assets import photographs
from sr_hooks.errors import NetworkError, OptionError
from sr_hooks.images.image import read_image
from sr_hooks.networks.network import Network
from tests.support.networks import LinearUp, Tiny

WINDOW = (40, 40, 16)


@pytest.fixture(scope="module")
def pair(baseline, target):
    from sr_hooks.images.image import downsample

    lr = downsample(read_image(photographs()[1]), 4)[..., 10:34, 10:34].contiguous()
    return [sr_hooks.lam(network, lr, window=WINDOW, steps=5, tolerance=10.0) for network in (baseline, target)]


@pytest.fixture(scope="module")
def filters(baseline, target):
    """FAIG on two photographs' pieces; degradations as they come."""
    photos = [read_image(path)[..., 96:160, 96:160] for path in photographs()]
    return [
        sr_hooks.faig(baseline, target, images=photos[part], degradations=("blur:4", "noise:25.5"), steps=4)
        for part in (slice(0, 1), slice(1, 2))
    ]


def test_maps_differ_as_their_shares_do(pair):
    change = sr_hooks.compare(*pair)
    shares = [result.map.astype(np.float64) / result.map.sum(dtype=np.float64) for result in pair]
    assert np.allclose(change.arrays["difference"], shares[1] - shares[0], atol=1e-12)
    assert change.scalars["moved"] == pytest.approx(np.maximum(shares[1] - shares[0], 0).sum())
    assert change.scalars["diffusion_index_change"] == pair[1].diffusion_index - pair[0].diffusion_index
    assert change.verdict.startswith("alike but for weights") and change.reservations == ()
    same = sr_hooks.compare(pair[0], pair[0])
    assert same.scalars["moved"] == 0 and same.scalars["rank_correlation"] == pytest.approx(1)


def test_brighter_is_not_different(pair):
    brighter = copy.copy(pair[0])
    brighter.arrays = {**pair[0].arrays, "attribution": pair[0].attribution * 7}
    assert lam_change(pair[0], brighter)[1]["moved"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda r: r.scalars.update(window=[0, 0, 16, 16]), "windows: (40, 40, 16, 16) and (0, 0, 16, 16)"),
        (lambda r: r.provenance["network"].update(input_range=255.0), "input range: 1.0 and 255.0"),
        (lambda r: r.provenance["network"].update(weights="params_ema"), "moving average (EMA) against raw"),
        (lambda r: r.provenance["options"].update(objective="intensity"), "objective: gradient and intensity"),
        (lambda r: r.provenance.update(input_sha256="0"), "the images are not the same"),
        (lambda r: setattr(r, "verdict", "degenerate: the map is zero"), "the second is degenerate"),
    ],
)
def test_what_else_differs_is_said(pair, spoil, said):
    other = copy.deepcopy(pair[1])
    spoil(other)
    change = sr_hooks.compare(pair[0], other)
    assert change.verdict.startswith("with reservations") and any(said in doubt for doubt in change.reservations)
    assert said in change.verdict


@pytest.mark.slow
def test_what_has_no_common_ground_is_refused(pair, filters, lr, tmp_path, baseline):
    larger = sr_hooks.lam(baseline, lr, window=WINDOW, steps=3)
    with pytest.raises(OptionError, match="inputs of 24x24 and 64x64"):
        sr_hooks.compare(pair[0], larger)
    with pytest.raises(OptionError, match="lam and faig"):
        sr_hooks.compare(pair[0], filters[0])
    with pytest.raises(OptionError, match="compare knows results of lam, ddr, faig"):
        sr_hooks.compare(sr_hooks.Result("mine"), sr_hooks.Result("mine"))
    with pytest.raises(OptionError, match="a result and a network"):
        sr_hooks.compare(pair[0], baseline)
    with pytest.raises(OptionError, match="without a result"):
        sr_hooks.compare(tmp_path, tmp_path)
    with pytest.raises(OptionError, match="give image= and window="):
        sr_hooks.compare(LinearUp(), LinearUp())
    with pytest.raises(OptionError, match="both an image and a window"):
        sr_hooks.compare(LinearUp(), LinearUp(), image=lr)
    with pytest.raises(NetworkError, match="not two checkpoints of one network"):
        sr_hooks.compare(LinearUp(), Tiny(), image=lr, window=WINDOW)


def test_rankings_in_common(filters):
    same = faig_change(filters[0], filters[0])[1]["faig_overlap"]
    assert all(row["overlap"] == [1.0] * len(TOPS) for row in same.values())
    change = sr_hooks.compare(*filters)
    for name, row in change.scalars["faig_overlap"].items():
        tops = [set(result.ranking(name)[: round(0.1 * result.scalars["filters"])]) for result in filters]
        assert row["overlap"][-1] == pytest.approx(len(tops[0] & tops[1]) / len(tops[0]))
    assert any("the images are not the same" in doubt for doubt in change.reservations)
    other = copy.deepcopy(filters[1])
    other.scalars["degradations"] = ["jpeg:10", "rain:2"]
    with pytest.raises(OptionError, match="no degradation in common"):
        sr_hooks.compare(filters[0], other)


def test_separability_before_and_after(baseline, target):
    photos = [read_image(path) for path in photographs()[:2]]
    common = {
        "degradations": ("clean", "noise:25.5"),
        "layers": ["body.8", "auto"],
        "patch": 64,
        "patches": 8,
        "tsne": 0,
    }
    results = [sr_hooks.ddr(network, photos, **common) for network in (baseline, target)]
    change = sr_hooks.compare(*results)
    row = change.scalars["chi_layers"][0]
    assert row["layer"] == "body.8" and row["chi"] == [result.layer("body.8").chi for result in results]
    assert row["clear"] == (row["interval"][1] < row["interval"][2] or row["interval"][3] < row["interval"][0])
    fewer = sr_hooks.ddr(target, photos, **{**common, "patches": 6})
    with pytest.raises(OptionError, match="numbers of patches"):
        sr_hooks.compare(results[0], fewer)


@pytest.mark.slow
def test_two_checkpoints_and_the_figure(tmp_path, capsys):
    photo = str(photographs()[1])
    out = tmp_path / "out"
    arguments = ["--image", photo, "--window", "84", "64", "32", "--out", str(out)]
    assert main(["compare", "demo:baseline", "demo:target", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "di change" in printed and "alike but for weights" in printed
    assert {path.name for path in out.iterdir()} == {"result.json", "arrays.npz", "figure.png"}
    loaded = sr_hooks.load(out)
    assert loaded.scalars["compared"] == ["lam"] and loaded.scalars["moved"] > 0.1
    assert main(["show", str(out)]) == 0
    assert main(["compare", str(out), str(out)]) == 2 and "compare knows results of" in capsys.readouterr().err


@pytest.mark.slow
def test_all_of_two_networks_in_one_picture(baseline, target, small_lr):
    photos = [read_image(path)[..., 96:224, 96:224] for path in photographs()]
    change = sr_hooks.compare(
        baseline,
        target,
        image=small_lr,
        window=WINDOW,
        images=photos,
        crop=24,
        degradations=("blur:4", "noise:25.5"),
        layers="body.8",
        patch=48,
    )
    assert change.scalars["compared"] == ["lam", "ddr", "faig"]
    assert 0 <= change.scalars["faig_overlap"]["blur:4 and noise:25.5"]["overlap"][0] <= 1
    figure = change.figure()
    titles = [axes.get_title() for axes in figure.axes]
    assert {"separability by degradation", "filters in common", "input, window"} <= set(titles)
    assert "DI" in change.verdict and "CHI" in change.verdict


def test_checkpoints_of_an_architecture_by_weights(tmp_path, small_lr, capsys):
    from sr_hooks.images.image import write_image

    for name, seed in (("a", 1), ("b", 2)):
        torch.manual_seed(seed)
        state = {key: torch.randn_like(value) * 0.1 for key, value in LinearUp().state_dict().items()}
        torch.save(state, tmp_path / f"{name}.pth")
    write_image(small_lr, tmp_path / "lr.png")
    source = "tests.support.networks:LinearUp"
    given = ["--arch", source, "--image", str(tmp_path / "lr.png"), "--lr", "--window", "8,8,16"]
    assert (
        main(["compare", str(tmp_path / "a.pth"), str(tmp_path / "b.pth"), *given, "--out", str(tmp_path / "o")]) == 0
    )
    assert "LinearUp a" in str(sr_hooks.load(tmp_path / "o").scalars["names"])
    assert Network.load(source, weights=tmp_path / "a.pth").source["weights"] == str(tmp_path / "a.pth")
