"""The checks of a map catch planted lies, pass true maps, and say what they cannot tell."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import nn
from torch.nn import functional as F

import sr_hooks
from sr_hooks.cli.app import main
from sr_hooks.errors import ImageError, NetworkError, OptionError, ResultError
from sr_hooks.faithfulness import deletion, randomisation
from sr_hooks.faithfulness.subject import subject_of
from sr_hooks.images.image import write_image
from sr_hooks.images.windows import Window
from sr_hooks.inference.calibration import ExecutionPlan
from sr_hooks.networks.network import Network
from sr_hooks.results.card import Card, Verdict
from sr_hooks.statistics.map_correlation import (
    distance_to_window,
    half_width,
    local_correlation,
    rank_correlation_or_zero,
    similarity,
)
from tests.conftest import hooks_on
from tests.support.networks import Answering, LinearUp

FEW = {"draws": 3, "orders": 4}
NAMES = ["completeness", "model randomisation", "deletion and insertion", "other baselines"]


class Linear(nn.Module):
    """Three convolutions and nothing between them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.Conv2d(8, 8, 5, padding=2), nn.Conv2d(8, 12, 3))
        self.layers[2].padding = (1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pixel_shuffle(self.layers(x), 2)


def edges(network, image, window):
    grey = image[0].mean(dim=0).numpy()
    return np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1))


def signed_edges(network, image, window):
    return ndimage.laplace(image[0].mean(dim=0).numpy())


def noise(network, image, window):
    return np.random.default_rng(0).normal(size=image.shape[1:])


def blob(network, image, window):
    distance = distance_to_window(*image.shape[-2:], window, network.scale)
    return np.exp(-distance / 2) * (1 + 1e-6 * np.random.default_rng(0).random(distance.shape))


@pytest.fixture(scope="module")
def linear_case():
    """A linear network, a corner of a photograph, its true map."""
    from sr_hooks.demo.assets import photographs
    from sr_hooks.images.image import downsample, read_image

    lr = downsample(read_image(photographs()[2]), 4)[..., 8:40, 8:40].contiguous()
    module = Linear()
    return module, lr, sr_hooks.lam(module, lr, window=(24, 26, 12), objective="intensity")


@pytest.mark.slow
@pytest.mark.parametrize("network", [Linear, LinearUp])
@pytest.mark.parametrize("objective", ["intensity", "gradient"])
def test_true_map_of_a_linear_network_passes_all(lr, network, objective):
    result = sr_hooks.lam(network(), lr[..., 8:40, 8:40].contiguous(), window=(26, 24, 12), objective=objective)
    card = sr_hooks.check(result)
    assert [verdict.name for verdict in card.verdicts] == NAMES
    assert [verdict.word for verdict in card.verdicts] == ["passes"] * 4, str(card)
    assert card.overall.startswith("faithful as far as checked")
    assert result.card is card


@pytest.mark.parametrize("lie", [edges, signed_edges])
def test_edge_detector_fails_randomisation(linear_case, lie):
    card = sr_hooks.check(linear_case[2], attribute=lie, **FEW)
    verdict = card.verdict("model randomisation")
    assert verdict.word == "fails" and verdict.figures["correlation"] == pytest.approx([1.0] * 4)
    assert "fails" in card.overall and "model randomisation" in card.overall
    assert linear_case[2].card is None or linear_case[2].card is not card


def test_random_map_fails_deletion(linear_case):
    card = sr_hooks.check(linear_case[2], attribute=noise, **FEW)
    assert card.verdict("deletion and insertion").word == "fails"
    assert card.verdict("other baselines").word == "fails"


@pytest.mark.slow
def test_random_maps_fail_deletion_whatever_the_draw(linear_case):
    """Forty of them: one in forty may be taken for ranked by chance, none may pass."""
    module, lr, result = linear_case
    subject = subject_of(result, module, None, None)
    words = []
    for draw in range(40):
        planted = dataclasses.replace(subject, attribution=np.random.default_rng(draw).normal(size=lr.shape[1:]))
        plan = ExecutionPlan(False, 32)
        words.append(deletion.judge(planted, draws=4, seed=draw, plan=plan, tick=lambda: None).word)
    assert words.count("passes") == 0 and words.count("fails") >= 36, words


@pytest.mark.slow
@pytest.mark.parametrize("lie", ["edges", "noise", "another network"])
def test_replaced_array_is_not_this_networks(linear_case, lie):
    module, lr, result = linear_case
    planted = copy.copy(result)
    planted.origin = result.origin
    if lie == "another network":
        torch.manual_seed(9)
        other = Linear()
        for part in other.layers:
            part.reset_parameters()
        fake = sr_hooks.lam(other, lr, window=(24, 26, 12), objective="intensity").attribution
    else:
        fake = np.broadcast_to({"edges": edges, "noise": noise}[lie](None, lr, None), result.attribution.shape)
    planted.arrays = {**result.arrays, "attribution": np.ascontiguousarray(fake, dtype=np.float32)}
    card = sr_hooks.check(planted, network=module, **FEW)
    verdict = card.verdict("model randomisation")
    assert verdict.word == "fails" and "not what this network gives" in verdict.sentence
    assert card.verdict("completeness").word != "passes"


def test_blob_at_the_window_passes_for_no_map(linear_case):
    card = sr_hooks.check(linear_case[2], attribute=blob, **FEW)
    assert card.verdict("model randomisation").word == "fails"
    assert card.verdict("deletion and insertion").word == "undecided"


@pytest.mark.slow
def test_real_network_on_a_real_photograph(baseline, small_lr):
    """Also: nothing of the user's network changes."""
    result = sr_hooks.lam(baseline, small_lr, window=(40, 40, 16))
    before, digest = baseline.module.training, baseline.sha256()
    card = sr_hooks.check(result, **FEW)
    curve = card.verdict("model randomisation").figures
    assert curve["correlation"][0] > 0.85 and curve["correlation"][-1] < 0.2
    assert card.verdict("completeness").word == "passes"
    assert card.verdict("deletion and insertion").figures["area"]["random"] > 0.3
    assert (baseline.module.training, baseline.sha256(), hooks_on(baseline.module)) == (before, digest, 0)
    assert all(parameter.requires_grad for parameter in baseline.module.parameters())


@pytest.mark.slow
def test_card_is_kept_with_the_result(linear_case, tmp_path):
    module, _, result = linear_case
    card = sr_hooks.check(result, **FEW)
    result.save(tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"card.json", "card.png", "figure.png", "result.json"}
    loaded = sr_hooks.load(tmp_path / "out")
    assert loaded.card.as_record() == json.loads((tmp_path / "out/card.json").read_text()) == card.as_record()
    assert card.overall in " ".join(loaded.figure()._supxlabel.get_text().split())
    again = sr_hooks.check(loaded, network=module, **FEW)
    assert again.as_record() == card.as_record()


def test_loaded_result_finds_its_network_or_says_so(linear_case, tmp_path, small_lr, target):
    _, lr, result = linear_case
    result.save(tmp_path / "bare", figure=False)
    with pytest.raises(NetworkError, match="does not say how its network can be loaded"):
        sr_hooks.check(sr_hooks.load(tmp_path / "bare"))
    with pytest.raises(NetworkError, match="not those that the result was computed from"):
        sr_hooks.check(sr_hooks.load(tmp_path / "bare"), network=target)
    with pytest.raises(ImageError, match="not the input"):
        sr_hooks.check(result, image=lr.flip(-1))
    named = sr_hooks.lam(Network.load("tests.support.networks:LinearUp"), small_lr, window=(16, 16, 16), steps=5)
    named.save(tmp_path / "named", figure=False)
    assert sr_hooks.check(sr_hooks.load(tmp_path / "named"), **FEW).verdicts


def test_weights_that_changed_since_are_refused(lr):
    module = LinearUp()
    result = sr_hooks.lam(module, lr, window=(20, 24, 8), steps=3)
    with torch.no_grad():
        module.conv.weight.mul_(1.1)
    with pytest.raises(NetworkError, match="changed since"):
        sr_hooks.check(result)


def test_bad_questions_are_answered_in_words(linear_case, photo):
    result = linear_case[2]
    with pytest.raises(OptionError, match="at least 3"):
        sr_hooks.check(result, draws=2)
    with pytest.raises(OptionError, match="must return an attribution"):
        sr_hooks.check(result, attribute=lambda network, image, window: np.zeros((3, 3)))
    with pytest.raises(OptionError, match="NaN or infinite"):
        sr_hooks.check(result, attribute=lambda n, image, w: np.full(image.shape[-2:], np.nan))
    with pytest.raises(OptionError, match="one of mine"):
        sr_hooks.check(sr_hooks.Result("mine"))
    clip = copy.copy(result)
    clip.arrays = {**result.arrays, "lr": np.zeros((5, 3, 8, 8), np.float32)}
    with pytest.raises(OptionError, match="of a clip"):
        sr_hooks.check(clip)
    with pytest.raises(OptionError, match="of a clip"):
        sr_hooks.compare(result, clip)


@pytest.mark.slow
def test_zero_map_and_network_without_weights(lr):
    zero = sr_hooks.lam(Answering(lambda y: y * 0), lr[..., :24, :24].contiguous(), window=(4, 4, 8))
    words = {verdict.name: verdict.word for verdict in sr_hooks.check(zero, **FEW).verdicts}
    assert words["deletion and insertion"] == "undecided" and words["other baselines"] == "fails"

    class Bare(nn.Module):
        def forward(self, x):
            return F.interpolate(x, scale_factor=2, mode="bicubic")

    result = sr_hooks.lam(Network(Bare(), scale=2, channels=3, multiple=1), lr, window=(60, 60, 8))
    verdict = sr_hooks.check(result, **FEW).verdict("model randomisation")
    assert verdict.word == "undecided" and "no learned layer" in verdict.sentence


def test_origin_does_not_travel(linear_case):
    result = linear_case[2]
    assert result.origin is not None
    assert pickle.loads(pickle.dumps(result)).origin is None and copy.deepcopy(result).origin is None


@pytest.mark.parametrize(
    ("random", "nearest", "word"),
    [
        ((0.5, 0.1), (0.05, 0.02), "passes"),
        ((0.5, 0.1), (0.01, 0.02), "undecided"),
        ((0.5, 0.1), (-0.2, 0.02), "undecided"),
        ((0.3, 0.6), (0.5, 0.1), "undecided"),
        ((0.05, 0.1), (-0.5, 0.02), "fails"),
        ((-0.4, 0.1), (-0.5, 0.02), "fails"),
    ],
)
def test_words_of_deletion(random, nearest, word):
    area, width = ({"random": one, "nearest": other} for one, other in zip(random, nearest, strict=True))
    assert deletion._judged(area, width, True)[0] == word


def test_cards_word_and_sentence():
    def card(*words):
        return Card(tuple(Verdict(f"check {i}", word, "") for i, word in enumerate(words)))

    assert card("passes", "passes").overall == "faithful as far as checked: passes check 0 and check 1."
    assert card("passes", "undecided").overall == "not contradicted: passes 1 of 2 checks; check 1 undecided."
    assert card("fails", "undecided", "fails").overall.startswith("not to be relied on: fails check 0 and check 2;")
    assert [card(*w).word for w in (["passes"], ["passes", "undecided"], ["undecided", "fails"])] == [
        "passes",
        "undecided",
        "fails",
    ]
    odd = Card((Verdict("a", "passes", "", {"x": np.float32(1.5), "y": float("inf"), "z": np.arange(2)}),))
    assert odd.as_record()["verdicts"][0]["figures"] == {"x": 1.5, "y": None, "z": [0, 1]}
    with pytest.raises(ResultError, match="newer"):
        Card.from_record({**odd.as_record(), "format": 99})


def test_statistics_against_scipy():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 6, 200), rng.integers(0, 6, 200) + rng.integers(0, 2, 200)
    assert rank_correlation_or_zero(a, b) == pytest.approx(stats.spearmanr(a, b)[0])
    assert rank_correlation_or_zero(a, np.ones(200)) == 0
    values = rng.normal(size=6).tolist()
    low, high = stats.t.interval(0.95, 5, np.mean(values), stats.sem(values))
    assert half_width(values) == pytest.approx((high - low) / 2, rel=2e-3)
    assert half_width(values, of_next=True) > half_width(values) and half_width([1.0]) == np.inf


def test_local_correlation_sees_past_the_distance():
    """Two maps that share only their fall with distance: alike everywhere, not alike at equal distance."""
    rng = np.random.default_rng(0)
    distance = distance_to_window(40, 40, Window(16, 16, 8, 8), 1)
    one, two = (np.exp(-np.rint(distance)) * rng.random((40, 40)) for _ in range(2))
    assert rank_correlation_or_zero(one, two) > 0.9
    assert abs(local_correlation(one, two, distance)) < 0.1
    assert similarity(one[None], one[None], distance) == pytest.approx(1)
    assert distance[20, 20] == 0 and distance[20, 10] == pytest.approx(5.5)


def test_redrawn_weights_keep_their_size():
    module = Linear()
    module.layers[1].weight.data.zero_()
    before = copy.deepcopy(module.state_dict())
    randomisation.redraw(module, ["layers.2", "layers.1"], torch.Generator().manual_seed(0))
    after = module.state_dict()
    assert torch.equal(before["layers.0.weight"], after["layers.0.weight"])
    size = after["layers.2.weight"].square().mean() / before["layers.2.weight"].square().mean()
    assert 0.8 < float(size) < 1.25
    assert sorted(after["layers.2.bias"].tolist()) == sorted(before["layers.2.bias"].tolist())
    assert float(after["layers.1.weight"].std()) == pytest.approx(200**-0.5, rel=0.1)


@pytest.mark.slow
def test_command_line_checks(tmp_path, small_lr, capsys):
    write_image(small_lr, tmp_path / "lr.png")
    out = tmp_path / "out"
    arguments = [
        "--model",
        "tests.support.networks:LinearUp",
        "--image",
        str(tmp_path / "lr.png"),
        "--window",
        "16,16,16",
    ]
    assert main(["lam", *arguments, "--check", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "model randomisation  passes:" in printed and "checks " in printed
    assert sr_hooks.load(out).card.word in ("passes", "undecided")
    assert main(["show", str(out)]) == 0 and "model randomisation" in capsys.readouterr().out
