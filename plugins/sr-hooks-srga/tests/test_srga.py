"""Generalised Gaussians against scipy, the index against the published procedure, and the floor against chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from sr_hooks_srga.gaussian import GeneralisedGaussian, fit, index_of, kl_divergence
from sr_hooks_srga.sets import draw_sets
from torch import nn

import sr_hooks
from sr_hooks.demo import demo_network, photographs
from sr_hooks.grid import run_in_parts
from sr_hooks.hooks import features
from sr_hooks.images import read_image, write_image
from sr_hooks.networks import import_basicsr


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def photos() -> list[torch.Tensor]:
    return [read_image(path) for path in photographs()]


@pytest.fixture(scope="module")
def found(photos) -> sr_hooks.Result:
    return sr_hooks.run(
        "srga", demo_network("baseline"), photos, patch=8, patches=120, splits=20, degradations=["blur:1", "noise:30"]
    )


@pytest.mark.parametrize("shape", [0.6, 1.0, 2.0, 5.0])
def test_fit_finds_what_was_drawn(shape):
    drawn = stats.gennorm.rvs(shape, scale=3.0, size=200_000, random_state=1)
    found = fit(drawn, sigmas=1e9)
    assert found.shape == pytest.approx(shape, rel=0.02)
    assert found.sigma == pytest.approx(stats.gennorm.std(shape, scale=3.0), rel=0.01)
    x = np.linspace(-9, 9, 50)
    np.testing.assert_allclose(found.density(x), stats.gennorm.pdf(x, found.shape, scale=found.scale), rtol=1e-9)


@pytest.mark.parametrize(("p", "q"), [((1, 1), (2, 2)), ((3, 0.7), (2, 1.4)), ((0.5, 4), (0.6, 1))])
def test_divergence_is_the_integral(p, q):
    p, q = GeneralisedGaussian(*p), GeneralisedGaussian(*q)
    a, b = (stats.gennorm(each.shape, scale=each.scale) for each in (p, q))
    integral, _ = integrate.quad(lambda x: 2 * a.pdf(x) * (a.logpdf(x) - b.logpdf(x)), 0, 60 * p.sigma, limit=400)
    assert kl_divergence(p, q) == pytest.approx(integral, rel=1e-5)
    assert kl_divergence(p, p) == pytest.approx(0, abs=1e-12) and index_of(0) == pytest.approx(0)


def test_outliers_are_dropped_and_constants_refused():
    values = np.random.default_rng(0).normal(size=5000)
    spoilt = fit(np.append(values, [80.0, -90.0]))
    assert spoilt.dropped == pytest.approx(2 / 5002) and spoilt.shape == pytest.approx(2, abs=0.15)
    with pytest.raises(ValueError, match="all the same"):
        fit(np.ones(10))


def published(features: np.ndarray, components: int) -> tuple[float, float]:
    """Sigma and shape as the paper's section III-C describes: scikit-learn's PCA, 5 sigma, moments on a grid."""
    from sklearn.decomposition import PCA

    values = PCA(components, svd_solver="full").fit_transform(features.astype(np.float64)).ravel()
    values = values[np.abs(values - values.mean()) < 5 * values.std()]
    grid = np.arange(0.2, 10, 0.001)
    ratios = special.gamma(1 / grid) * special.gamma(3 / grid) / special.gamma(2 / grid) ** 2
    wanted = np.mean(values**2) / np.mean(np.abs(values - values.mean())) ** 2
    return float(np.sqrt(np.mean(values**2))), float(grid[np.abs(ratios - wanted).argmin()])


def test_equal_to_the_published_procedure(photos, found):
    pytest.importorskip("sklearn")
    network = demo_network("baseline")
    sets = draw_sets(network, photos, "clean", ["blur:1", "noise:30"], {}, patch=8, patches=120, seed=0)
    fits = []
    for each in sets:
        with torch.no_grad(), network.prepared():
            kept = features(network.module, lambda each=each: network(each.inputs), ["conv_last:in"])
        fits.append(published(kept["conv_last:in"].flatten(1).numpy(), found.scalars["components"]))
    assert found.scalars["components"] == 59 and found.scalars["layer"] == "conv_last:in"
    for row, (sigma, shape) in zip(found.scalars["sets"], fits[1:], strict=True):
        expected = index_of(kl_divergence(GeneralisedGaussian(*fits[0]), GeneralisedGaussian(sigma, shape)))
        assert row["shape"] == pytest.approx(shape, abs=4e-3)  # the components' signs move the published one so far
        assert row["spread"] == pytest.approx(sigma / fits[0][0], rel=1e-4)
        assert row["srga"] == pytest.approx(expected, abs=0.02)


def public_code(reference: np.ndarray, other: np.ndarray, components: int) -> float:
    """The public script, written out: fits by moments on a grid, KL of generalised Gaussians, log10(KL + 1e-5) + 5."""
    from sklearn.decomposition import PCA

    fits = []
    for values in (reference, other):
        x = PCA(n_components=components, random_state=0).fit_transform(values).reshape(-1)
        mean, std = np.mean(x), np.std(x)
        x = np.array([v for v in x if mean - 5 * std < v < mean + 5 * std])
        g = special.gamma
        grid = np.arange(0.2, 10.0, 0.001)
        rho = np.mean(x**2) / np.mean(np.abs(x - np.mean(x))) ** 2
        fits.append(
            (np.sqrt(np.mean(x**2)), grid[np.argmin(np.abs(rho - g(1 / grid) * g(3 / grid) / g(2 / grid) ** 2))])
        )
    b1, b2 = (b for _, b in fits)
    a1, a2 = (s * np.sqrt(g(1 / b) / g(3 / b)) for s, b in fits)
    kl = np.log(b1 * a2 * g(1 / b2) / (b2 * a1 * g(1 / b1))) + (a1 / a2) ** b2 * g((b2 + 1) / b1) / g(1 / b1) - 1 / b1
    return float(np.log10(kl + 1e-5) + 5)


@pytest.fixture(scope="module")
def public_case(photos):
    """Features in float32 of two sets at the deep tap, and what the public script makes of them."""
    network = demo_network("baseline")
    kept = []
    for each in draw_sets(network, photos, "clean", ["noise:30"], {}, patch=8, patches=120, seed=0):
        with torch.no_grad(), network.prepared():
            features_of = features(network.module, lambda each=each: network(each.inputs), ["conv_last:in"])
        kept.append(features_of["conv_last:in"].flatten(1).numpy())
    return public_code(*kept, components=40)


GIVEN = {"patch": 8, "patches": 120, "components": 40, "splits": 10, "degradations": ["noise:30"]}


def test_compat_is_the_public_code(photos, public_case):
    result = sr_hooks.run("srga", demo_network("baseline"), photos, compat="srga", **GIVEN)
    assert result.scalars["srga/noise:30"] == pytest.approx(public_case, abs=1e-4)
    assert result.scalars["components"] == 40 and "grid of 0.001" in result.verdict
    assert result.verdict.startswith("published procedure")
    with pytest.raises(sr_hooks.SRHooksError, match="components of 120 patches"):
        sr_hooks.run("srga", demo_network("baseline"), photos, compat="srga", **{**GIVEN, "components": 300})


def test_without_the_published_steps_the_index_is_another(photos, public_case):
    """The comparison above can fail: with our own fit (about zero, off the grid), and with fewer outliers dropped."""
    own = sr_hooks.run("srga", demo_network("baseline"), photos, **GIVEN).scalars["srga/noise:30"]
    assert abs(own - public_case) > 1e-4
    wider = sr_hooks.run("srga", demo_network("baseline"), photos, compat="srga", sigmas=4, **GIVEN)
    assert abs(wider.scalars["srga/noise:30"] - public_case) > 1e-4


def test_heavy_noise_is_above_the_floor_and_the_reference_itself_is_not(photos, found):
    by_name = {row["set"]: row for row in found.scalars["sets"]}
    assert by_name["noise:30"]["floor"] == "above" and "unlike the reference: noise:30" in found.verdict
    same = sr_hooks.run(
        "srga",
        demo_network("baseline"),
        photos,
        patch=8,
        patches=120,
        splits=20,
        degradations=(),
        folders={"again": [image.flip(-1) for image in sr_hooks_lr(photos)]},
    )
    assert same.scalars["sets"][0]["floor"] != "above"


def sr_hooks_lr(photos: list[torch.Tensor]) -> list[torch.Tensor]:
    from sr_hooks.degradations import make_lr

    return [make_lr(photo, "clean", scale=4) for photo in photos]


def test_chance_is_not_taken_for_a_difference():
    """Sets of one and the same distribution, of patches of very different contrast, as photographs have them."""
    network = sr_hooks.Network(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)), scale=1, multiple=1, channels=3)
    rng = np.random.default_rng(5)
    above, published = [], []
    for trial in range(30):
        contrast = rng.lognormal(-3, 0.7, (120, 1, 1, 1))
        images = torch.from_numpy(rng.normal(0.5, contrast, (120, 3, 8, 8)).clip(0, 1).astype(np.float32))
        given = {"reference": images[:60], "folders": {"other": images[60:]}, "layer": "0:in", "patch": 8, "splits": 20}
        result = sr_hooks.run("srga", network, None, **given, seed=trial)
        above.append(result.scalars["sets"][0]["floor"] == "above")
        published.append(result.scalars["srga/other"])
    assert np.mean(published) > 1.5  # the index alone says that they differ
    assert sum(above) <= 3


def test_same_seed_same_answer_and_batches_do_not_matter(photos, found):
    again = sr_hooks.run(
        "srga",
        demo_network("baseline"),
        photos,
        patch=8,
        patches=120,
        splits=20,
        degradations=["blur:1", "noise:30"],
        batch=8,
    )
    assert all(np.array_equal(found.arrays[key], again.arrays[key]) for key in found.arrays)
    other = sr_hooks.run(
        "srga",
        demo_network("baseline"),
        photos,
        patch=8,
        patches=120,
        splits=20,
        degradations=["blur:1", "noise:30"],
        batch=7,
        memory=2e-3,
    )
    for name in ("srga/blur:1", "srga/noise:30"):
        assert other.scalars[name] == pytest.approx(found.scalars[name], abs=1e-3)


def test_folders_are_read_file_by_file(tmp_path: Path, photos):
    network = demo_network("baseline")
    for index, lr in enumerate(sr_hooks_lr(photos)):
        for name in ("plain", "dark"):
            (tmp_path / name).mkdir(exist_ok=True)
            write_image(lr * (0.3 if name == "dark" else 1), tmp_path / name / f"{index}.png")
    result = sr_hooks.run(
        "srga", network, None, reference=tmp_path / "plain", folders=f"dark={tmp_path / 'dark'}", patch=8, splits=10
    )
    assert result.scalars["patches"] == 256 and result.scalars["sets"][0]["set"] == "dark"
    result.save(tmp_path / "result")
    assert (tmp_path / "result/figure.png").is_file()
    assert sr_hooks.load(tmp_path / "result").scalars["floor"] == result.scalars["floor"]


def test_bad_input(photos, tmp_path: Path):
    network = demo_network("baseline")
    for options, words in (
        ({"patch": 80}, "smaller than a patch"),
        ({"patch": 40}, "4 patches are too few"),
        ({"degradations": ()}, "nothing to compare"),
        ({"degradations": ["clean"]}, "clean is there twice"),
        ({"degradations": ["blurr:2"]}, "did you mean blur"),
        ({"reference": "nowhere"}, "no degradation 'nowhere'"),
        ({"folders": f"x={tmp_path / 'none'}"}, "is no folder"),
        ({"layer": "body.99"}, "no layer 'body.99'"),
        ({"layer": "body.*", "patch": 8}, "36 taps: give one"),
        ({"splits": 2}, "at least 10"),
    ):
        with pytest.raises(sr_hooks.SRHooksError, match=words):
            sr_hooks.run("srga", network, photos, **options)
    with pytest.raises(sr_hooks.SRHooksError, match="images are needed"):
        sr_hooks.run("srga", network, None, folders={"x": photos})
    with pytest.raises(sr_hooks.SRHooksError, match="constant over the patches of clean"):
        sr_hooks.run("srga", network, [torch.full((3, 256, 256), 0.5)], patch=8, splits=10)


def test_watched_in_a_basicsr_training(tmp_path: Path):
    try:
        import_basicsr()
    except sr_hooks.SRHooksError as error:
        pytest.skip(str(error))
    runs = pytest.importorskip(
        "tests.integration.basicsr.runs", reason="started outside the repository, whose runs this borrows"
    )
    data = runs.make_data(tmp_path / "pictures")
    srga = {"every": 2, "patch": 8, "splits": 10, "folders": {"train": "pictures/train/lq"}, "budget": "off"}
    content = runs.options(data, runs.NETWORKS["MSRResNet"], train={"total_iter": 4}, sr_hooks={"srga": srga})
    runs.train(runs.write(content, tmp_path / "x.yml"), tmp_path / "run", sr_hooks.analyze)
    results = sorted((tmp_path / "run").rglob("result.json"))
    assert [path.parent.parent.name for path in results] == ["2", "4"]
    assert all((path.parent / "figure.png").is_file() for path in results)
    content["sr_hooks"]["srga"] = {"every": 2}
    with pytest.raises(sr_hooks.SRHooksError, match="2 patches are too few"):
        runs.train(runs.write(content, tmp_path / "y.yml"), tmp_path / "refused", sr_hooks.analyze)


def test_many_patches_are_sketched_and_the_error_is_stated(found, monkeypatch):
    """As above 20,000 patches, with the threshold at 100: 120 patches of 2,048 values, in 700 numbers."""
    monkeypatch.setattr("sr_hooks.statistics.sketched_pca.ABOVE", 100)
    monkeypatch.setattr("sr_hooks.statistics.sketched_pca.CHECKED", 80)
    options = {"patch": 8, "patches": 120, "splits": 20, "degradations": ["blur:1", "noise:30"]}
    many = sr_hooks.run("srga", demo_network("baseline"), photographs(), **options, memory=700 * 4 * 120 / 1e9)
    assert (many.scalars["sketch"]["size"], many.scalars["sketch"]["patches"]) == (700, 80)
    for row, exact in zip(many.scalars["sets"], found.scalars["sets"], strict=True):
        stated = many.scalars["sketch"]["sets"][row["set"]]
        assert 0 < abs(stated["error"]) < 0.2 and row["srga"] == pytest.approx(exact["srga"], abs=0.3)
        assert row["floor"] == exact["floor"]
    assert "features are sketched to 700 numbers: on 80 patches that changes SRGA by" in many.verdict
    whole = sr_hooks.run("srga", demo_network("baseline"), photographs(), **options)  # 2,048 values fit
    for row, exact in zip(whole.scalars["sets"], found.scalars["sets"], strict=True):
        assert row["srga"] == pytest.approx(exact["srga"], abs=2e-3)


@pytest.mark.parametrize("sketch", [0, 700])
def test_parts_give_what_one_process_gives(sketch, tmp_path):
    options = {"patch": 8, "patches": 60, "splits": 10, "degradations": ["noise:30"], "sketch": sketch}
    whole = sr_hooks.run("srga", demo_network("baseline"), photographs(), **options)
    parts = run_in_parts("srga", demo_network("baseline"), photographs(), out=tmp_path / "out", **options)
    assert parts.scalars == whole.scalars and parts.verdict == whole.verdict
    assert all(np.array_equal(parts.arrays[name], whole.arrays[name]) for name in whole.arrays)
    assert len(list((tmp_path / "out/cells").rglob("result.json"))) == 2 + (2 if sketch else 0) + 1
