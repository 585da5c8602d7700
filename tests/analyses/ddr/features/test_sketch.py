"""DDR of many samples: sketches of features, and what they cost in accuracy."""

from __future__ import annotations

import pytest
import torch

import sr_hooks
from sr_hooks.analyses.ddr.features import Features, sketched_part, tables_of
from sr_hooks.analyses.ddr.samples import draw_samples
from sr_hooks.degradations import parse_degradations
from sr_hooks.demo.assets import photographs
from sr_hooks.errors import OptionError
from sr_hooks.hooks.taps import parse_tap
from sr_hooks.statistics import Sketcher, sketched_pca
from tests.support.networks import Tiny


def test_parts_make_the_table_of_all_samples():
    network = sr_hooks.Network(Tiny(), scale=2)
    images = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    degradations = parse_degradations(["clean", "noise:20"])
    samples = draw_samples(network, images, degradations, {"own": images}, patch=16, patches=7, seed=0)
    features = Features(network, samples, [parse_tap("act")], measured=False)
    parts = samples.parts()
    tables = tables_of(samples, ["act"], lambda number: sketched_part(features, parts[number], Sketcher(100, 0)))
    whole = features(0, len(samples.labels))["act"]
    assert [len(part) for part in parts] == [14, 7] and tables["act"].dimensions == 8 * 8 * 8
    torch.testing.assert_close(tables["act"].rows, Sketcher(100, 0)(whole), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_many_samples_are_sketched_and_the_error_is_stated(target, tmp_path, monkeypatch) -> None:
    """As above 20,000 samples, with the threshold at 100."""
    monkeypatch.setattr(sketched_pca, "ABOVE", 100)
    monkeypatch.setattr(sketched_pca, "CHECKED", 90)
    options = {
        "tsne": 0,
        "permutations": 199,
        "subsamples": 60,
        "layers": ["body.8.conv1", "auto"],
        "patches": 49,
        "patch": 48,
    }
    many = sr_hooks.ddr(target, photographs(), **options, memory=1.3e-3)
    exact = sr_hooks.ddr(target, photographs(), **options, sketch=0)
    assert [layer.sketch["size"] for layer in many.layers] == [1105, 1105] and not exact.layers[0].sketch
    for sketched, right in zip(many.layers, exact.layers, strict=True):
        assert sketched.sketch["samples"] == 90 and sketched.dimensions == right.dimensions == 32 * 12 * 12
        assert sketched.chi == pytest.approx(right.chi, rel=0.15) and sketched.chi != right.chi
        assert 0 < sketched.sketch["error"] < 0.15
    assert "are sketched to 1105 numbers: on 90 samples that changes CHI from" in many.verdict
    assert many.figure() is not None
    with pytest.raises(OptionError, match="keep_features is for features that are not sketched"):
        sr_hooks.ddr(target, photographs(), **options, keep_features=tmp_path / "kept")
    with pytest.raises(OptionError, match="raise memory"):
        sr_hooks.ddr(target, photographs(), **options, memory=1e-6)
